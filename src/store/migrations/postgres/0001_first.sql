-- A chain is a line of responses, each continuing the one before. `next` is the place that the
-- next one takes; no place is given out twice, not even after a deletion.
CREATE TABLE chains (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    next BIGINT NOT NULL,
    newest BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE INDEX chains_by_age ON chains (newest, id);

-- A chain that forked off begins with the parts of others: their places up to `upto`.
CREATE TABLE chain_parts (
    chain BIGINT NOT NULL REFERENCES chains (id) ON DELETE CASCADE,
    part BIGINT NOT NULL REFERENCES chains (id),
    upto BIGINT NOT NULL,
    PRIMARY KEY (chain, part)
);
CREATE INDEX chain_parts_by_part ON chain_parts (part);

CREATE TABLE responses (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    chain BIGINT NOT NULL REFERENCES chains (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    previous TEXT,
    conversation TEXT,
    created_at BIGINT NOT NULL,
    background BIGINT NOT NULL,
    status TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    input BYTEA NOT NULL,
    output BYTEA NOT NULL,
    body BYTEA NOT NULL
);
CREATE UNIQUE INDEX responses_by_place ON responses (chain, place);

CREATE TABLE conversations (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    next BIGINT NOT NULL,
    newest BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    metadata BYTEA NOT NULL
);
CREATE INDEX conversations_by_age ON conversations (newest, id);

CREATE TABLE items (
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    id TEXT NOT NULL,
    json BYTEA NOT NULL,
    UNIQUE (conversation, place),
    UNIQUE (conversation, id)
);

-- Background work that has not ended. Without a worker it waits.
CREATE TABLE jobs (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    response TEXT NOT NULL UNIQUE REFERENCES responses (id) ON DELETE CASCADE,
    chain BIGINT NOT NULL,
    conversation TEXT,
    worker TEXT,
    lease BIGINT NOT NULL,
    request BYTEA NOT NULL
);
CREATE INDEX jobs_waiting ON jobs (number) WHERE worker IS NULL;
CREATE INDEX jobs_by_chain ON jobs (chain);
CREATE INDEX jobs_by_conversation ON jobs (conversation);

CREATE TABLE events (
    response TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    data BYTEA NOT NULL,
    UNIQUE (response, sequence)
);
