#!/usr/bin/env python3
"""The official OpenAI Python SDK on everything that is stored: every endpoint, each answer held against the SDK's own
models in strict mode. The model behind the proxy is scripted by the test: it calls `get_weather` where that is
offered, is slow where it is told `slow`, sums up, and else says how many messages it was given.

    pip install "openai[realtime]"
    python sdk_state.py BASE_URL          exit code 0 and "ok", or an exception
"""
import json
import sys
import time

import openai
import pydantic
from openai.types import responses as r
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItemList
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from openai.types.responses.response_item_list import ResponseItemList

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-sdk", max_retries=0, timeout=60)
WEATHER = {"type": "function", "name": "get_weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}


def strictly(model, value):
    """The value as the SDK's model says it is, to the letter."""
    text = json.dumps(value) if not isinstance(value, (str, bytes)) else value
    pydantic.TypeAdapter(model).validate_json(text, strict=True)
    return json.loads(text)


def whole(call, shape, /, *args, **kwargs):
    """Calls a method, and checks the bytes of its answer."""
    answer = call(*args, **kwargs)
    strictly(shape, answer.text)
    return answer.parse()


class Raw:
    """The SDK's resources in their raw form."""
    responses = client.responses.with_raw_response
    items = client.responses.input_items.with_raw_response
    tokens = client.responses.input_tokens.with_raw_response
    conversations = client.conversations.with_raw_response
    conversation_items = client.conversations.items.with_raw_response


def create(**body):
    return whole(Raw.responses.create, r.Response, model="m", **body)


def stream(events):
    """The last response of a stream; each event is checked, and their order."""
    seen = []
    for event in events:
        strictly(r.ResponseStreamEvent, event.to_dict(use_api_names=True, exclude_unset=True, mode="json"))
        seen.append(event)
    return seen


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except openai.APIStatusError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"{call} was not refused")


def responses():
    made = create(input="Hello", metadata={"a": "b"})
    again = whole(Raw.responses.retrieve, r.Response, made.id)
    assert again.output_text == made.output_text == "1 messages" and again.metadata == {"a": "b"}
    events = stream(client.responses.create(model="m", input="Hello", stream=True))
    assert events[-1].type == "response.completed"
    streamed = whole(Raw.responses.retrieve, r.Response, events[-1].response.id)
    assert streamed.output_text == "1 messages"

    listed = whole(Raw.items.list, ResponseItemList, made.id)
    assert [item.type for item in listed.data] == ["message"]
    many = create(input=[{"role": "user", "content": str(n)} for n in range(45)])
    pages = [item.content[0].text for item in client.responses.input_items.list(many.id, limit=20, order="asc")]
    assert pages == [str(n) for n in range(45)], pages
    mixed = create(input=[
        {"role": "developer", "content": "d"}, {"role": "assistant", "content": "a"},
        {"role": "user", "content": [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                                     {"type": "input_file", "filename": "f.txt", "file_data": "data:text/plain;base64,AA=="}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "raw"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        {"type": "reasoning", "id": "rs_x", "summary": []},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
    ])
    assert len(whole(Raw.items.list, ResponseItemList, mixed.id, limit=100).data) == 9

    second = create(input="And?", previous_response_id=made.id)
    assert second.output_text == "3 messages" and second.previous_response_id == made.id
    client.responses.delete(made.id)
    refused(404, client.responses.retrieve, made.id)
    error = refused(400, client.responses.create, model="m", input="x", previous_response_id=made.id)
    assert error.code == "previous_response_not_found" and error.param == "previous_response_id"


def tools():
    first = create(input="The weather?", tools=[WEATHER], reasoning={"effort": "low", "summary": "auto"})
    call = first.output[-1]
    assert call.type == "function_call" and json.loads(call.arguments) == {"city": "Paris"}
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "18"}
    second = create(input=[output], tools=[WEATHER], previous_response_id=first.id)
    assert second.output_text == "done", second
    with client.responses.stream(model="m", input="The weather?", tools=[WEATHER]) as events:
        list(events)
        final = events.get_final_response()
    assert final.output[-1].type == "function_call"
    sealed = client.responses.retrieve(first.id, include=["reasoning.encrypted_content"])
    assert sealed.output[0].encrypted_content


def background():
    queued = create(input="Hello", background=True)
    assert queued.status == "queued"
    while (polled := whole(Raw.responses.retrieve, r.Response, queued.id)).status in ("queued", "in_progress"):
        time.sleep(0.05)
    assert polled.status == "completed" and polled.output_text == "1 messages"

    slow = create(input="slow", background=True)
    assert whole(Raw.responses.cancel, r.Response, slow.id).status == "cancelled"
    assert whole(Raw.responses.cancel, r.Response, slow.id).status == "cancelled"
    assert whole(Raw.responses.retrieve, r.Response, slow.id).status == "cancelled"
    refused(400, client.responses.cancel, create(input="x").id)

    seen = []
    for event in client.responses.create(model="m", input="The weather?", tools=[WEATHER], background=True, stream=True):
        seen.append(event)
        if len(seen) == 4:
            break
    rest = stream(client.responses.retrieve(seen[0].response.id, stream=True, starting_after=3))
    assert [event.sequence_number for event in seen + rest] == list(range(len(seen) + len(rest)))
    assert rest[-1].type == "response.completed"
    with client.responses.stream(response_id=seen[0].response.id) as events:
        list(events)
        assert events.get_final_response().output[-1].type == "function_call"


def compaction():
    answer = Raw.responses.compact(model="m", input="Tuesday.")
    bare = json.loads(answer.text)
    # OpenAI's own answers hold messages of the user, which are not among the SDK's output items.
    assert bare["output"][0] == {**bare["output"][0], "type": "message", "role": "user", "status": "completed"}
    strictly(r.CompactedResponse, {**bare, "output": bare["output"][1:]})
    compacted = answer.parse()
    assert compacted.output[-1].type == "compaction"
    items = [item.to_dict() for item in compacted.output]
    assert create(input=[*items, {"role": "user", "content": "When?"}]).output_text == "3 messages"
    long = create(input=[{"role": "user", "content": "word " * 900}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
                  context_management=[{"type": "compaction", "compact_threshold": 1000}])
    assert [item.type for item in long.output] == ["compaction", "message"]
    events = stream(client.responses.create(model="m", stream=True, input="x", previous_response_id=long.id,
                                            context_management=[{"type": "compaction", "compact_threshold": 10}]))
    assert "response.compaction.compacting" in [event.type for event in events]
    listed = whole(Raw.items.list, ResponseItemList, create(input=items).id)
    assert {item.type for item in listed.data} == {"message", "compaction"}
    counted = whole(Raw.tokens.count, InputTokenCountResponse, model="m", input="Hello", tools=[WEATHER])
    assert counted.input_tokens > 0


def conversations():
    made = whole(Raw.conversations.create, Conversation, metadata={"topic": "x"}, items=[{"role": "user", "content": "before"}])
    assert whole(Raw.conversations.retrieve, Conversation, made.id).metadata == {"topic": "x"}
    assert whole(Raw.conversations.update, Conversation, made.id, metadata={"topic": "y"}).metadata == {"topic": "y"}
    answer = create(input="one", conversation=made.id)
    assert answer.conversation.id == made.id and answer.output_text == "2 messages"
    events = stream(client.responses.create(model="m", input="two", conversation={"id": made.id}, stream=True))
    assert events[-1].response.output_text == "4 messages"
    added = whole(Raw.conversation_items.create, ConversationItemList, made.id, items=[{"type": "message", "role": "user", "content": "three"}])
    item = client.conversations.items.retrieve(added.data[0].id, conversation_id=made.id)
    assert item.content[0].text == "three"
    listed = whole(Raw.conversation_items.list, ConversationItemList, made.id, order="asc")
    assert len(listed.data) == 6
    assert len(list(client.conversations.items.list(made.id, limit=2))) == 6
    whole(Raw.conversation_items.delete, Conversation, item.id, conversation_id=made.id)
    refused(404, client.conversations.items.retrieve, item.id, conversation_id=made.id)
    create(input="The weather?", tools=[WEATHER], conversation=made.id)
    whole(Raw.conversation_items.list, ConversationItemList, made.id, limit=100, include=["reasoning.encrypted_content"])
    whole(Raw.conversations.delete, ConversationDeletedResource, made.id)
    refused(404, client.conversations.retrieve, made.id)


def sockets():
    with client.responses.connect() as connection:
        def ask(**body):
            connection.response.create(model="m", **body)
            seen = []
            while not seen or seen[-1]["type"] not in ("response.completed", "response.failed", "error"):
                data = connection.recv_bytes()
                strictly(r.ResponsesServerEvent, data)
                seen.append(json.loads(data))
            return seen

        first = ask(input="Hello", store=False)[-1]["response"]
        second = ask(input="And?", store=False, previous_response_id=first["id"], stream_id="lane")[-1]
        assert second["response"]["output"][0]["content"][0]["text"] == "3 messages" and second["stream_id"] == "lane"
        assert ask(input="x", previous_response_id="resp_none")[-1]["error"]["code"] == "previous_response_not_found"
        assert ask(input="The weather?", tools=[WEATHER], generate=False)[-1]["response"]["output"] == []
        connection.send({"type": "response.steer", "previous_response_id": first["id"], "input": [{"role": "user", "content": "x"}]})
        data = connection.recv_bytes()
        strictly(r.ResponsesServerEvent, data)
        assert json.loads(data)["type"] == "response.steer.failed"


for part in (responses, tools, background, compaction, conversations, sockets):
    part()
print("ok")
