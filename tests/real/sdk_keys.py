#!/usr/bin/env python3
"""The official OpenAI Python SDK with keys: what it raises, what it may see, and that it waits by itself when it has
had enough. The proxy has the keys `sk-free`, `sk-some` (for models `small*`), `sk-few` (20 requests a minute) and `sk-one`
(one response at a time). The model behind it is slow where it is told `slow`.

    pip install openai
    python sdk_keys.py BASE_URL          exit code 0 and "ok", or an exception
"""
import sys
import threading
import time

import openai


def client(key, **more):
    return openai.OpenAI(base_url=sys.argv[1], api_key=key, timeout=60, **more)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def ask(client, **more):
    return client.responses.create(**{"model": "small", "input": "x", "store": False, **more})


wrong = client("sk-wrong", max_retries=0)
for call in (lambda: ask(wrong), lambda: wrong.models.list(), lambda: wrong.conversations.create()):
    error = raises(openai.AuthenticationError, call)
    assert error.code == "invalid_api_key" and "sk-wrong" not in str(error), error

free, some = client("sk-free"), client("sk-some")
assert {model.id for model in free.models.list()} == {"small", "small-2", "large"}
assert {model.id for model in some.models.list()} == {"small", "small-2"}
assert some.models.retrieve("small-2").id == "small-2"
for call in (lambda: ask(some, model="large"), lambda: some.models.retrieve("large")):
    error = raises(openai.NotFoundError, call)
    assert error.code == "model_not_found", error
assert ask(free, model="large").status == "completed"

few = client("sk-few", max_retries=0)
answer = few.responses.with_raw_response.create(model="small", input="x", store=False)
assert answer.headers["x-ratelimit-limit-requests"] == "20"
assert answer.headers["x-ratelimit-remaining-requests"] == "19"
assert answer.headers["x-ratelimit-reset-requests"].endswith("s")


def exhaust():
    while True:
        ask(few)


error = raises(openai.RateLimitError, exhaust)
assert error.code == "rate_limit_exceeded" and error.type == "requests", error.body
assert "Please try again in" in error.message
wait = int(error.response.headers["retry-after-ms"]) / 1000
assert 0 < wait <= 3, wait
began = time.monotonic()
assert ask(few.with_options(max_retries=2)).status == "completed"
assert time.monotonic() - began > wait / 2, "it waited"

one = client("sk-one", max_retries=0)
with one.responses.create(model="small", input="slow", store=False, stream=True) as stream:
    next(iter(stream))
    error = raises(openai.RateLimitError, lambda: ask(one))
    assert "responses under way" in error.message, error
# It left: there is room again, at the latest when the SDK asks once more.
assert ask(client("sk-one", max_retries=5)).status == "completed"

slow = threading.Thread(target=lambda: ask(one, input="slow"))
slow.start()
retrying = client("sk-one", max_retries=8)
assert ask(retrying).status == "completed"
slow.join()
print("ok")
