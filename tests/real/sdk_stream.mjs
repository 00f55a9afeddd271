// The official OpenAI Node SDK as a client of the proxy, in front of the scripted model of tiny_model.py.
//
//     npm install openai
//     node sdk_stream.mjs BASE_URL          exit code 0 and "ok", or 1 and what was wrong
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const weather = {
  type: "function", name: "get_weather", description: "The weather in a city", strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};

// The SDK's helper puts the response together from the events; both must say the same.
async function stream(body) {
  const events = [];
  const answer = client.responses.stream({ model: "tiny", ...body });
  for await (const event of answer) events.push(event);
  const final = await answer.finalResponse();
  assert.deepEqual(events.slice(0, 2).map((event) => event.type), ["response.created", "response.in_progress"]);
  assert.equal(events.at(-1).type, "response.completed");
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, n) => n));
  assert.equal(final.status, "completed");
  const deltas = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(deltas.join(""), final.output_text ?? "");
  return final;
}

const plain = await stream({ input: "Say hello." });
assert.match(plain.output_text, /café and 🦙/u);
const whole = await client.responses.create({ model: "tiny", input: "Say hello." });
assert.equal(whole.output_text, plain.output_text);
assert.equal(whole.usage.total_tokens, plain.usage.total_tokens);

const thought = await stream({ input: "[think]" });
assert.deepEqual(thought.output.map((item) => item.type), ["reasoning", "message"]);

const question = { role: "user", content: "What is the weather in Paris?" };
const first = await stream({ input: [question], tools: [weather], store: false, include: ["reasoning.encrypted_content"] });
const call = first.output.find((item) => item.type === "function_call");
assert.equal(call.name, "get_weather");
assert.ok(JSON.parse(call.arguments).city);
const output = { type: "function_call_output", call_id: call.call_id, output: "18 °C" };
const second = await stream({ input: [question, ...first.output, output], tools: [weather], store: false });
assert.ok(second.output_text.length > 0);

// A Responses client is told what is wrong in words that it knows.
await assert.rejects(client.responses.create({ model: "tiny", input: 5 }), (error) => error.status === 400 && error.param === "input");
await assert.rejects(
  client.responses.create({ model: "tiny", input: "x", previous_response_id: "resp_none" }),
  (error) => error.code === "previous_response_not_found",
);
console.log("ok");
