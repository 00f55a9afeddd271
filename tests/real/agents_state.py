#!/usr/bin/env python3
"""openai-agents through the proxy: a receptionist hands over to an expert who uses a tool, over several turns that
the server remembers, first by the id of the previous response, then by a conversation.

    pip install openai-agents
    python agents_state.py BASE_URL          exit code 0 and "ok", or an exception
"""
import asyncio
import sys

import agents
import openai

agents.set_tracing_disabled(True)
client = openai.AsyncOpenAI(base_url=sys.argv[1], api_key="sk-agents", max_retries=0, timeout=60)
model = agents.OpenAIResponsesModel("m", client)
asked = []


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    asked.append(city)
    return "18 degrees"


expert = agents.Agent(name="expert", instructions="You know the weather.", tools=[get_weather], model=model)
receptionist = agents.Agent(name="receptionist", instructions="You hand over.", handoffs=[expert], model=model)


async def talk(first, following):
    """Three turns; `following` says what remembers the ones before."""
    asked.clear()
    result = await agents.Runner.run(receptionist, "How is the weather?", **first)
    assert result.last_agent is expert and result.final_output == "done", result
    assert asked == ["Paris"]
    result = await agents.Runner.run(result.last_agent, "The weather again?", **following(result))
    assert result.final_output == "done" and asked == ["Paris", "Paris"], (result, asked)
    streamed = agents.Runner.run_streamed(result.last_agent, "Thank you. How many?", **following(result))
    async for _ in streamed.stream_events():
        pass
    # All that was said and done before is there: nobody sends it again.
    assert streamed.final_output.endswith(" messages"), streamed.final_output
    return int(streamed.final_output.split()[0])


async def main():
    by_id = await talk({"auto_previous_response_id": True}, lambda result: {"previous_response_id": result.last_response_id, "auto_previous_response_id": True})
    conversation = await client.conversations.create()
    remember = {"conversation_id": conversation.id}
    by_conversation = await talk(remember, lambda _: remember)
    session = agents.OpenAIConversationsSession(openai_client=client)
    by_session = await talk({"session": session}, lambda _: {"session": session})
    assert by_id == by_conversation == by_session == 11, (by_id, by_conversation, by_session)
    items = await session.get_items()
    assert len(items) > 9, items
    await session.pop_item()
    assert len(await session.get_items()) == len(items) - 1


asyncio.run(main())
print("ok")
