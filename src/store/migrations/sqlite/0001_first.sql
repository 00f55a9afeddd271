-- A chain is a line of responses, each continuing the one before. `next` is the place that the
-- next one takes; no place is given out twice, not even after a deletion.
CREATE TABLE chains (
    id INTEGER PRIMARY KEY,
    next INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX chains_by_age ON chains (newest, id);

-- A chain that forked off begins with the parts of others: their places up to `upto`.
CREATE TABLE chain_parts (
    chain INTEGER NOT NULL REFERENCES chains (id) ON DELETE CASCADE,
    part INTEGER NOT NULL REFERENCES chains (id),
    upto INTEGER NOT NULL,
    PRIMARY KEY (chain, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX chain_parts_by_part ON chain_parts (part);

CREATE TABLE responses (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    chain INTEGER NOT NULL REFERENCES chains (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    previous TEXT,
    conversation TEXT,
    created_at INTEGER NOT NULL,
    background INTEGER NOT NULL,
    status TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    input BLOB NOT NULL,
    output BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX responses_by_place ON responses (chain, place);

CREATE TABLE conversations (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    next INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    metadata BLOB NOT NULL
) STRICT;
CREATE INDEX conversations_by_age ON conversations (newest, id);

CREATE TABLE items (
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    id TEXT NOT NULL,
    json BLOB NOT NULL,
    UNIQUE (conversation, place),
    UNIQUE (conversation, id)
) STRICT;

-- Background work that has not ended. Without a worker it waits.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    response TEXT NOT NULL UNIQUE REFERENCES responses (id) ON DELETE CASCADE,
    chain INTEGER NOT NULL,
    conversation TEXT,
    worker TEXT,
    lease INTEGER NOT NULL,
    request BLOB NOT NULL
) STRICT;
CREATE INDEX jobs_waiting ON jobs (number) WHERE worker IS NULL;
CREATE INDEX jobs_by_chain ON jobs (chain);
CREATE INDEX jobs_by_conversation ON jobs (conversation);

CREATE TABLE events (
    response TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (response, sequence)
) STRICT;
