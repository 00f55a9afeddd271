#!/usr/bin/env python3
"""The official OpenAI Python SDK as a client of the proxy, in front of the scripted model of tiny_model.py.

    pip install openai
    python sdk_stream.py BASE_URL          exit code 0 and "ok", or 1 and what was wrong

Every request goes out twice: through the SDK's own streaming helper, which puts the final response together
from the events, and raw, where each event must pass the SDK's models in strict mode and the rules of the stream.
"""
import json
import sys
import traceback
import typing

import openai
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

PLAIN = "Hello from a tiny model: every word is one token, café and 🦙 check UTF-8, then it stops here."
THOUGHT = "Okay, let me think about that."
AFTER = "The tool has answered; nothing is left to do."
WEATHER = {
    "type": "function", "name": "get_weather", "description": "The weather in a city", "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                   "additionalProperties": False},
}
MODEL_OF = {
    name: model
    for model in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
    for name in typing.get_args(model.model_fields["type"].annotation)
}
# What a `<name>.delta` adds to, and where `<name>.done` repeats it.
WHOLE = {
    "response.output_text": "text", "response.refusal": "refusal", "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text", "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
TERMINAL = {"response.completed", "response.incomplete", "response.failed", "error"}


class Wrong(Exception):
    pass


def expect(condition, *what):
    if not condition:
        raise Wrong(" ".join(w if isinstance(w, str) else json.dumps(w, ensure_ascii=False) for w in what))


def strictly(model, event, where):
    try:
        model.model_validate_json(json.dumps(event), strict=True)
    except pydantic.ValidationError as error:
        raise Wrong(f"{where} does not fit the SDK's {model.__name__}: {error}\n{json.dumps(event)}") from None


def check_stream(events):
    """Holds a raw stream against the rules; returns its terminal response."""
    expect([e["type"] for e in events[:2]] == ["response.created", "response.in_progress"], "the stream begins", events[:2])
    expect([e["type"] in TERMINAL for e in events] == [False] * (len(events) - 1) + [True], "one terminal event, last:", [e["type"] for e in events])
    numbers = [e["sequence_number"] for e in events]
    expect(numbers == list(range(len(events))), "sequence numbers", numbers)
    pieces, items = {}, {}
    for event in events:
        kind = event["type"]
        expect(kind in MODEL_OF, "unknown event type", kind)
        strictly(MODEL_OF[kind], event, kind)
        name, _, moment = kind.rpartition(".")
        if name in WHOLE:
            place = name, event["item_id"], event["output_index"], event.get("content_index", event.get("summary_index"))
            if moment == "delta":
                pieces[place] = pieces.get(place, "") + event["delta"]
            else:
                expect(pieces.pop(place, "") == event[WHOLE[name]], "the deltas differ from", event)
        elif kind == "response.output_item.added":
            expect(event["output_index"] == len(items), "output_index out of turn:", event)
            items[event["output_index"]] = None
        elif kind == "response.output_item.done":
            expect(items.get(event["output_index"], ...) is None, "no such open item:", event)
            items[event["output_index"]] = event["item"]
    expect(not pieces, "deltas without their done:", [list(place) for place in pieces])
    response = events[-1]["response"]
    expect(response["output"] == list(items.values()), "the final output differs from the items:", response["output"], list(items.values()))
    return response


class Checked:
    """The SDK's client, with every answer checked."""

    def __init__(self, base_url):
        self.client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=60)

    def raw(self, **body):
        events, name = [], None
        with self.client.responses.with_streaming_response.create(model="tiny", stream=True, **body) as answer:
            expect(answer.headers["content-type"].startswith("text/event-stream"), "content-type", answer.headers["content-type"])
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and value != "[DONE]":
                    event = json.loads(value)
                    expect(name == event["type"], "the event line says", name, "for", event)
                    events.append(event)
        return check_stream(events)

    def stream(self, **body):
        raw = self.raw(**body)
        with self.client.responses.stream(model="tiny", **body) as stream:
            events = list(stream)
            final = stream.get_final_response()
        self.check_final(final)
        deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        expect(deltas == final.output_text, "text deltas", deltas, "but output_text", final.output_text)
        expect([i["type"] for i in raw["output"]] == [i.type for i in final.output], "raw and helper see different items:", raw["output"])
        return final

    def whole(self, **body):
        answer = self.client.responses.with_raw_response.create(model="tiny", **body)
        strictly(Response, json.loads(answer.content), "the blocking response")
        final = answer.parse()
        self.check_final(final)
        return final

    @staticmethod
    def check_final(response):
        expect(response.status == "completed", "status", response.status)
        usage = response.usage
        expect(usage and usage.input_tokens > 0 and usage.output_tokens > 0, "usage", str(usage))
        expect(usage.total_tokens == usage.input_tokens + usage.output_tokens, "usage", str(usage))


def kinds(response):
    return [item.type for item in response.output]


def thinking(response):
    items = [i for i in response.output if i.type == "reasoning"]
    return "".join(part.text for i in items for part in [*(i.content or []), *i.summary])


def text(checked):
    for answer in checked.stream(input="Say hello."), checked.whole(input="Say hello."):
        expect(kinds(answer) == ["message"], "items", kinds(answer))
        expect(answer.output_text == PLAIN, "text", answer.output_text)


def thought_then_text(checked):
    for answer in checked.stream(input="[think]"), checked.whole(input="[think]"):
        expect(kinds(answer) == ["reasoning", "message"], "items", kinds(answer))
        expect(thinking(answer).strip() == THOUGHT, "thinking", thinking(answer))
        expect(answer.output_text.strip() == "My considered reply: forty-two!", "text", answer.output_text)


def call_and_result(checked):
    """A call of a tool, and its output sent back together with the whole history: nothing is stored."""
    question = {"role": "user", "content": "[thinkcall] How is the weather in Paris?"}
    for ask in checked.stream, checked.whole:
        answer = ask(input=[question], tools=[WEATHER], store=False)
        expect(kinds(answer) == ["reasoning", "function_call"], "items", kinds(answer))
        call = answer.output[-1]
        expect((call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"}), "call", call.arguments)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 °C"}
        history = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        closing = ask(input=[question, *history, result], tools=[WEATHER], store=False)
        expect(closing.output_text == AFTER, "closing text", closing.output_text)


def parallel_calls(checked):
    answer = checked.stream(input="[twocalls]", tools=[WEATHER])
    cities = [json.loads(i.arguments)["city"] for i in answer.output if i.type == "function_call"]
    expect(cities == ["Oslo", "Rome"], "cities", cities)
    ids = {i.call_id for i in answer.output if i.type == "function_call"}
    expect(len(ids) == 2, "call ids", sorted(ids))


def parsed_text(checked):
    class Report(pydantic.BaseModel):
        city: str
        degrees: int
        warnings: list[str]

    answer = checked.client.responses.parse(model="tiny", input="How is the weather?", text_format=Report)
    expect(isinstance(answer.output_parsed, Report), "not parsed:", answer.output_text)


def main():
    checked = Checked(sys.argv[1])
    for scenario in text, thought_then_text, call_and_result, parallel_calls, parsed_text:
        try:
            scenario(checked)
        except Exception as error:  # the SDK's helper stumbles over a bad stream in every way there is
            if not isinstance(error, Wrong):
                traceback.print_exc(file=sys.stdout)
            print(f"openai-python {openai.__version__}, {scenario.__name__}: {error}")
            return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
