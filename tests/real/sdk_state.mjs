// The official OpenAI Node SDK on everything that is stored: every endpoint.
//
//     npm install openai
//     node sdk_state.mjs BASE_URL          exit code 0 and "ok", or 1 and what was wrong
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-node", maxRetries: 0, timeout: 60_000 });
const weather = {
  type: "function", name: "get_weather", strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};
const create = (body) => client.responses.create({ model: "m", ...body });
const all = async (list) => { const items = []; for await (const item of list) items.push(item); return items; };
const refused = (promise, status) => assert.rejects(promise, (error) => error.status === status);

// Responses: kept, listed, continued, deleted.
const made = await create({ input: "Hello" });
assert.equal((await client.responses.retrieve(made.id)).output_text, "1 messages");
const many = await create({ input: Array.from({ length: 45 }, (_, n) => ({ role: "user", content: `${n}` })) });
const listed = await all(client.responses.inputItems.list(many.id, { order: "asc", limit: 20 }));
assert.deepEqual(listed.map((item) => item.content[0].text), Array.from({ length: 45 }, (_, n) => `${n}`));
assert.equal((await create({ input: "And?", previous_response_id: made.id })).output_text, "3 messages");
await client.responses.delete(made.id);
await refused(client.responses.retrieve(made.id), 404);
await refused(create({ input: "x", previous_response_id: made.id }), 400);

// A call and its output through the chain.
const first = await create({ input: "The weather?", tools: [weather] });
const call = first.output.at(-1);
assert.equal(call.type, "function_call");
const output = { type: "function_call_output", call_id: call.call_id, output: "18" };
assert.equal((await create({ input: [output], tools: [weather], previous_response_id: first.id })).output_text, "done");

// The background: polled, called off, followed again.
let polled = await create({ input: "Hello", background: true });
assert.equal(polled.status, "queued");
while (["queued", "in_progress"].includes(polled.status)) polled = await client.responses.retrieve(polled.id);
assert.equal(polled.output_text, "1 messages");
const slow = await create({ input: "slow", background: true });
assert.equal((await client.responses.cancel(slow.id)).status, "cancelled");
const seen = [];
for await (const event of await create({ input: "The weather?", tools: [weather], background: true, stream: true })) {
  seen.push(event);
  if (seen.length === 4) break;
}
for await (const event of await client.responses.retrieve(seen[0].response.id, { stream: true, starting_after: 3 })) seen.push(event);
assert.deepEqual(seen.map((event) => event.sequence_number), seen.map((_, n) => n));
assert.equal(seen.at(-1).type, "response.completed");
const again = await client.responses.stream({ response_id: seen[0].response.id }).finalResponse();
assert.equal(again.output.at(-1).type, "function_call");

// Summaries and counts.
const compacted = await client.responses.compact({ model: "m", input: "Tuesday." });
assert.equal(compacted.object, "response.compaction");
assert.equal((await create({ input: [...compacted.output, { role: "user", content: "When?" }] })).output_text, "3 messages");
assert.ok((await client.responses.inputTokens.count({ model: "m", input: "Hello" })).input_tokens > 0);

// Conversations.
const conversation = await client.conversations.create({ metadata: { topic: "x" }, items: [{ role: "user", content: "before" }] });
assert.deepEqual((await client.conversations.retrieve(conversation.id)).metadata, { topic: "x" });
assert.deepEqual((await client.conversations.update(conversation.id, { metadata: { topic: "y" } })).metadata, { topic: "y" });
assert.equal((await create({ input: "one", conversation: conversation.id })).output_text, "2 messages");
const added = await client.conversations.items.create(conversation.id, { items: [{ type: "message", role: "user", content: "two" }] });
const item = await client.conversations.items.retrieve(added.data[0].id, { conversation_id: conversation.id });
assert.equal(item.content[0].text, "two");
assert.equal((await all(client.conversations.items.list(conversation.id, { limit: 2 }))).length, 4);
await client.conversations.items.delete(item.id, { conversation_id: conversation.id });
await refused(client.conversations.items.retrieve(item.id, { conversation_id: conversation.id }), 404);
assert.equal((await client.conversations.delete(conversation.id)).deleted, true);
await refused(client.conversations.retrieve(conversation.id), 404);
console.log("ok");
