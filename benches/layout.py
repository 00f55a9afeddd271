#!/usr/bin/env python3
"""Finds the functions that a start and an answer need, and names them for the linker: `build.rs` says what for.

    cargo build --release
    python3 benches/layout.py target/release/antiphon     # writes assets/layout.txt
    cargo build --release

Needs Linux, valgrind and binutils. The program is started in the ways that are usual and asked what clients usually
ask, under callgrind, which counts calls. A name is written with `*` for the hash of its end, so that it holds for
other compilers and versions, unless that would mean much that is never run: then it is written as it is, and is lost
with the next compiler. To do that once for each new compiler is enough.
"""

import bisect
import collections
import contextlib
import functools
import http.server
import json
import operator
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

OUT = os.path.join(os.path.dirname(__file__), "..", "assets", "layout.txt")
DELTAS = 300
# A name may be cut at so many letters, or before its hash, if what else has that name is not more than this part of
# what is wanted, or so many bytes.
CUT, EXCESS, TRIFLE = 96, 1, 256
HASH = re.compile(r"17h[0-9a-f]{16}E")
HEAD = """\
# The functions that a start and an answer need, for the linker to lay next to each other. Written by
# benches/layout.py, which says how; read by build.rs.
"""


class Upstream(http.server.BaseHTTPRequestHandler):
    """A Chat Completions server that says the same word again and again, or calls the tool that is offered."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usage = {"prompt_tokens": 9, "completion_tokens": DELTAS, "total_tokens": 9 + DELTAS}
        head = {"id": "c", "created": 1, "model": "m"}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "word " * DELTAS}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self.answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        head["object"] = "chat.completion.chunk"
        for delta in self.deltas(asked):
            self.event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            time.sleep(0.002)
        reason = "tool_calls" if asked.get("tools") else "stop"
        self.event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        self.event({**head, "choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    @staticmethod
    def deltas(asked):
        yield {"role": "assistant", "content": ""}
        yield from [{"reasoning_content": "thought "}] * 20
        if not asked.get("tools"):
            yield from [{"content": "word "}] * DELTAS
            return
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
        for fragment in ['{"text":"', *["word "] * DELTAS, '"}']:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]}

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = f"http://127.0.0.1:{server.server_port}/v1"
    sizes = functions(program)
    with tempfile.TemporaryDirectory() as folder:
        plain, starts, (asked, calls) = runs(program, folder, upstream)
    before = functools.reduce(operator.or_, (calls for _, calls in [plain, *starts]))
    each_delta = {name for name in asked if calls[name] - before[name] >= DELTAS * 2}
    groups = {
        "At each start": set(plain[0]) - each_delta,
        "At a start with a store": {name for names, _ in starts for name in names} - each_delta,
        "For each delta": each_delta,
        "For each request": set(asked),
    }
    write(sizes, groups)


def runs(program, folder, upstream):
    """What a start without a store runs, what other starts run, and what one with requests runs."""
    config = os.path.join(folder, "proxy.toml")
    with open(config, "w") as file:
        file.write(f'[upstreams.local]\nbase_url = "{upstream}"\n')
    alone = ["--upstream", upstream]
    plain = observed(program, folder, alone, {"ANTIPHON__STORE__URL": "none"})
    # The second one finds the store of the first.
    starts = [observed(program, folder, words, {}) for words in [alone, alone, ["--config", config]]]
    return plain, starts, observed(program, folder, alone, {"ANTIPHON__LOG__LEVEL": "info"}, ask)


def observed(program, folder, arguments, environment, work=lambda base: None):
    """Which functions a run of the program runs, and how often each is called."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = "127.0.0.1:%d" % free.getsockname()[1]
    profile = os.path.join(folder, "profile")
    command = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={profile}", program, "serve"]
    names = {"HOME": folder, "XDG_STATE_HOME": folder, "PATH": os.environ["PATH"]}
    with open(os.path.join(folder, "log"), "w") as log:
        child = subprocess.Popen(
            [*command, "--listen", listen, *arguments], env=names | environment, stdout=log, stderr=log, cwd=folder
        )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(listen.split(":"), timeout=1):
                break
            time.sleep(0.1)
        else:
            sys.exit(open(log.name).read())
        time.sleep(3)
        work(f"http://{listen}")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
    return profiled(profile)


def ask(base):
    """What clients ask."""
    tool = {"type": "function", "name": "say", "parameters": {"type": "object", "properties": {}}}
    history = []
    for number in range(100):
        call = f"call_{number}"
        history += [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "line\n" * 50}]},
            {"type": "function_call", "call_id": call, "name": "say", "arguments": '{"text":"a"}'},
            {"type": "function_call_output", "call_id": call, "output": "line \"quoted\"\n" * 100},
        ]
    for body in [
        {"input": "hello", "stream": True, "store": False},
        {"input": "hello", "stream": True, "store": True},
        {"input": "hello", "stream": True, "tools": [tool], "store": False},
        {"input": "hello", "store": False},
        {"input": history, "instructions": "be brief", "stream": True, "tools": [tool], "store": False},
        {"input": history, "instructions": "be brief", "tools": [tool]},
    ]:
        id = None
        for _ in range(3):
            previous = {"previous_response_id": id} if id and body.get("store", True) else {}
            text = post(base, {"model": "m", **body, **previous})
            id = re.search(r'"id":"(resp_\w+)"', text)[1]
        if body.get("store", True):
            urllib.request.urlopen(f"{base}/v1/responses/{id}").read()
    for path in ["/v1/models", "/healthz", "/readyz", "/metrics"]:
        urllib.request.urlopen(base + path).read()


def post(base, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/v1/responses", data, {"Content-Type": "application/json"})
    return urllib.request.urlopen(request).read().decode()


def profiled(profile):
    names, seen, calls, called = {}, {}, collections.Counter(), None
    for line in open(profile):
        if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
            is_called, number, name = match.groups()
            if name:
                # Callgrind counts how deep a function has called itself.
                names[number] = re.sub(r"'\d+$", "", name)
            seen[names[number]] = None
            if is_called:
                called = names[number]
        elif line.startswith("calls="):
            calls[called] += int(line[6:].split()[0])
    return list(seen), calls


def functions(program):
    """The program's own functions and how long each is, in bytes."""
    lines = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout.splitlines()
    words = [line.split() for line in lines]
    return {word[3]: int(word[1], 16) for word in words if len(word) == 4 and word[2] in "tTwW"}


def write(sizes, groups):
    wanted = {name for names in groups.values() for name in names if name in sizes}
    matches = Matches(sizes)
    seen, laid = set(), set()
    with open(OUT, "w") as file:
        file.write(HEAD)
        for about, names in groups.items():
            names = (names & wanted) - seen
            about = f"{about}: {len(names)} functions, {matches.bytes(names) // 1000} KB"
            # Sorted, so that what changes from one time to the next can be seen.
            patterns = sorted({matches.pattern(name, wanted) for name in names} - laid)
            file.write("".join(f"{line}\n" for line in ["", f"# {about}", *patterns]))
            seen |= names
            laid.update(patterns)
            print(about)
    meant = {name for pattern in laid for name in matches.of(pattern)}
    print(f"{len(laid)} names, which mean {matches.bytes(meant) // 1000} KB of {matches.bytes(sizes) // 1000} KB")


class Matches:
    """Which functions a pattern means."""

    def __init__(self, sizes):
        self.sizes, self.names = sizes, sorted(sizes)

    def bytes(self, names):
        return sum(self.sizes[name] for name in names)

    def of(self, pattern):
        if not pattern.endswith("*"):
            return [pattern]
        prefix = pattern[:-1]
        return self.names[bisect.bisect_left(self.names, prefix) : bisect.bisect_left(self.names, prefix + "\x7f")]

    def pattern(self, name, wanted):
        """The shortest pattern for a function that means little else but what is wanted."""
        match = HASH.search(name)
        # The `17h` before a hash stays.
        end = match.start() + 3 if match else len(name)
        prefixes = [name[:CUT]] if end > CUT else []
        if match:
            prefixes.append(name[:end])
        for prefix in prefixes:
            meant = self.of(prefix + "*")
            warm = self.bytes(other for other in meant if other in wanted)
            if self.bytes(meant) - warm <= max(EXCESS * warm, TRIFLE):
                return prefix + "*"
        return name


if __name__ == "__main__":
    main()
