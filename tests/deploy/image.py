"""Tries an image that was built: what it says of itself, what is in it, and whether its program serves as a user
without rights, on a root that is read-only, and ends as it is told.

Arguments: the image's root file system, the file with what `buildah inspect` says of it, and the version and the
revision that it must tell. Runs as root in a network namespace of its own; needs bubblewrap.
"""

import fcntl
import glob
import http.server
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT, IMAGE_FILE, VERSION, REVISION = sys.argv[1:]
with open(IMAGE_FILE) as file:
    CONFIG = json.load(file)["Docker"]["config"]
USER = 65532
LARGEST = 40_000_000
# What may be in memory before anybody asked: it is 15 MB, and 18 if the linker has not heeded assets/layout.txt
# (benches/layout.py writes it anew).
IDLE_KB = 17_000
STATE = "/var/lib/antiphon"
BASE = "http://127.0.0.1:8787"
# What the image's check says while the program serves, and when it does not.
WELL, ILL = 0, 1


def main():
    loopback_up()
    tells_of_itself()
    holds_only_what_it_needs()
    Names().start()
    with Upstream() as upstream:
        serves_and_ends(upstream)
        serves_without_a_place_to_write(upstream)
    print("the image is as it should be")


# --- What is written in it ---------------------------------------------------------------------------------------


def tells_of_itself():
    expect(CONFIG["User"], f"{USER}:{USER}")
    expect(CONFIG["Entrypoint"], ["antiphon"])
    expect(CONFIG["Cmd"], ["serve"])
    expect(list(CONFIG["ExposedPorts"]), ["8787/tcp"])
    expect(list(CONFIG["Volumes"]), [STATE])
    expect(CONFIG["StopSignal"], "SIGTERM")
    expect(CONFIG["Healthcheck"]["Test"], ["CMD", "antiphon", "health"])
    labels = {name.rpartition(".")[2]: value for name, value in CONFIG["Labels"].items()}
    expect(labels["version"], VERSION)
    expect(labels["revision"], REVISION)
    expect(labels["licenses"], "Apache-2.0")
    assert labels["source"] and labels["title"] and labels["description"], labels


def holds_only_what_it_needs():
    size, files = 0, []
    for folder, _, names in os.walk(ROOT):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path)
            size += mode.st_size
            files.append(os.path.relpath(path, ROOT))
            assert not mode.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), path
    programs = [name for name in files if "bin/" in name]
    expect(programs, ["usr/bin/antiphon"])
    print(f"{len(files)} files, {size / 1e6:.1f} MB, of which the program has {os.stat(inside('usr/bin/antiphon')).st_size / 1e6:.1f} MB")
    assert size < LARGEST, size
    for path, owner, mode in [("var/lib", 0, 0o755), ("var/lib/antiphon", USER, 0o700), ("tmp", 0, 0o1777), ("usr/bin/antiphon", 0, 0o755)]:
        found = os.stat(inside(path))
        expect((path, found.st_uid, stat.S_IMODE(found.st_mode)), (path, owner, mode))
    # What the machine that built it trusts is none of the image's business.
    bundle = open(inside("etc/ssl/certs/ca-certificates.crt")).read()
    assert bundle.count("BEGIN CERTIFICATE") > 100
    for own in glob.glob("/usr/local/share/ca-certificates/**/*.crt", recursive=True):
        assert open(own).read().strip() not in bundle, own


def inside(path):
    return os.path.join(ROOT, path)


# --- How it runs -------------------------------------------------------------------------------------------------


def serves_and_ends(upstream):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(IMAGE_FILE)) as state:
        os.chown(state, USER, USER)
        with Container(["--bind", state, STATE], ANTIPHON_UPSTREAM=upstream.url) as container:
            ready()
            idle = container.memory()
            print(f"{idle} KB in memory when idle")
            assert idle < IDLE_KB, idle
            expect(health(upstream), WELL)
            first = post({"model": "m", "input": "Say hello."})
            expect(first["output"][0]["content"][0]["text"], "Hello out of a box.")
            expect(get(f"/v1/responses/{first['id']}")["id"], first["id"])
            expect(streamed_text(), "Hello out of a box.")
            container.end()
        expect(health(upstream), ILL)
        # A new container on the same volume.
        with Container(["--bind", state, STATE], ANTIPHON_UPSTREAM=upstream.url) as container:
            ready()
            expect(get(f"/v1/responses/{first['id']}")["id"], first["id"])
            container.end()
        for name in ["store.db", "seal.key"]:
            mode = os.stat(os.path.join(state, name))
            expect((mode.st_uid, stat.S_IMODE(mode.st_mode)), (USER, 0o600))


def serves_without_a_place_to_write(upstream):
    with Container([], ANTIPHON_UPSTREAM=upstream.url) as container:
        ready()
        first = post({"model": "m", "input": "Say hello."})
        expect(get(f"/v1/responses/{first['id']}")["id"], first["id"])
        container.end()
        assert "kept in memory" in container.log, container.log


class Container:
    """The image's command as an engine would run it: as process 1, with its variables and no others."""

    def __init__(self, mounts, **variables):
        self.mounts, self.variables = mounts, variables

    def __enter__(self):
        reader, writer = os.pipe()
        command = [*sandbox(self.mounts, self.variables), "--as-pid-1", "--info-fd", str(writer), "--", *CONFIG["Entrypoint"], *CONFIG["Cmd"]]
        self.log_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file)
        os.close(writer)
        with os.fdopen(reader) as info:
            told = info.read()
        self.pid = json.loads(told)["child-pid"] if told else None
        return self

    def memory(self):
        """What is in memory of the program, in KB."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def end(self):
        """Asks it to end, as `docker stop` does; it must end well and soon."""
        os.kill(self.pid, getattr(signal, CONFIG["StopSignal"]))
        expect(self.process.wait(timeout=20), 0)
        self.log = self.read_log()

    def read_log(self):
        self.log_file.seek(0)
        return self.log_file.read().decode()

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print(self.read_log(), file=sys.stderr)
        self.log_file.close()


def sandbox(mounts, variables):
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    command += [shutil.which("bwrap"), "--unshare-user", "--unshare-pid", "--cap-drop", "ALL", "--clearenv"]
    # An engine lays its own resolv.conf over the image's /etc, so that folder is put together file by file.
    parts = [name for name in os.listdir(ROOT) if name != "etc"] + [f"etc/{name}" for name in os.listdir(inside("etc"))]
    for name in sorted(parts):
        command += ["--ro-bind", inside(name), f"/{name}"]
    resolver = os.path.join(os.path.dirname(IMAGE_FILE), "resolv.conf")
    with open(resolver, "w") as file:
        file.write("nameserver 127.0.0.1\n")
    command += ["--ro-bind", resolver, "/etc/resolv.conf", "--proc", "/proc", "--dev", "/dev", *mounts, "--remount-ro", "/"]
    image = dict(variable.split("=", 1) for variable in CONFIG["Env"])
    for name, value in {**image, **variables}.items():
        command += ["--setenv", name, value]
    return [*command, "--chdir", CONFIG["WorkingDir"] or "/"]


def health(upstream):
    """What the image's own check says, by the exit code."""
    command = [*sandbox([], {"ANTIPHON_UPSTREAM": upstream.url}), "--", *CONFIG["Healthcheck"]["Test"][1:]]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode


# --- HTTP --------------------------------------------------------------------------------------------------------


class Upstream:
    """A Chat Completions server with one answer."""

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://model-server:{self.server.server_port}/v1"
        return self

    def __exit__(self, *_):
        self.server.shutdown()


class Names(threading.Thread):
    """A name server for which every name is this machine, so that the image must be able to ask one."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))

    def run(self):
        while True:
            query, client = self.socket.recvfrom(512)
            question = query[12 : query.index(0, 12) + 5]
            wants_ipv4 = question[-4:-2] == b"\0\1"
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(wants_ipv4), 0, 0)
            address = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + bytes([127, 0, 0, 1])
            self.socket.sendto(head + question + (address if wants_ipv4 else b""), client)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply("application/json", json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}))

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        words = ["Hello", " out of", " a box."]
        deltas = [{"role": "assistant", "content": word} for word in words]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        lines = [f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n" for choice in choices]
        self.reply("text/event-stream", "".join(lines) + "data: [DONE]\n\n")

    def reply(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ready():
    end = time.monotonic() + 30
    while True:
        try:
            return get("/readyz", raw=True)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def get(path, raw=False):
    with urllib.request.urlopen(BASE + path, timeout=20) as answer:
        text = answer.read()
        return text if raw else json.loads(text)


def post(body):
    request = urllib.request.Request(f"{BASE}/v1/responses", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def streamed_text():
    body = {"model": "m", "input": "Say hello.", "stream": True}
    request = urllib.request.Request(f"{BASE}/v1/responses", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    expect(events[-1]["type"], "response.completed")
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


# --- Small things ------------------------------------------------------------------------------------------------


def loopback_up():
    """A new network namespace has its loopback switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def expect(got, wanted):
    assert got == wanted, f"{got!r}, not {wanted!r}"


if __name__ == "__main__":
    main()
