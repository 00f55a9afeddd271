"""An MCP server over stdio with two tools; it writes each call down, as a line of `mcp-calls.jsonl` where it runs."""

import json
import sys

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOLS = [
    {"name": "add", "description": "Adds two numbers.", "inputSchema": NUMBERS},
    {"name": "draw", "description": "Draws a dot.", "inputSchema": {"type": "object", "properties": {}}},
]


def call(name, arguments):
    with open("mcp-calls.jsonl", "a", encoding="utf-8") as calls:
        calls.write(json.dumps([name, arguments]) + "\n")
    if name == "draw":
        return [
            {"type": "text", "text": "Here it is:"},
            {"type": "image", "data": PICTURE, "mimeType": "image/png"},
        ]
    return [{"type": "text", "text": str(arguments["a"] + arguments["b"])}]


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "calc", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return {"content": call(params["name"], params.get("arguments") or {})}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = answer(message["method"], message.get("params") or {})
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
