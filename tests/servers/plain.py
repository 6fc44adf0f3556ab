"""A stdio MCP server in plain Python: starts in a blink, for tests that are not about the SDK.

Tools: get_vendor, pay, delete_vendor, crash. What it was really asked goes to the file named by PLAIN_LOG, one JSON
object a line. PLAIN_DIE=start ends it before it answers; PLAIN_PRINT names a variable whose value it prints to stderr.
PLAIN_SAY is printed to stderr by the tool `crash`; PLAIN_VERSION is the version that the server gives itself.
"""

import json
import os
import sys

TOOLS = ("get_vendor", "pay", "delete_vendor", "crash")


def answer(method: str, params: dict[str, object]) -> dict[str, object]:
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "plain", "version": os.environ.get("PLAIN_VERSION", "1")},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
    if method == "tools/call":
        log(params)
        if params["name"] == "crash":
            print(os.environ.get("PLAIN_SAY", ""), file=sys.stderr, flush=True)
            os._exit(3)
        return {"content": [{"type": "text", "text": f"{params['name']} done"}], "isError": False}
    return {}


def log(params: dict[str, object]) -> None:
    path = os.environ.get("PLAIN_LOG")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"tool": params["name"], "arguments": params.get("arguments")}) + "\n")


def main() -> None:
    if os.environ.get("PLAIN_DIE") == "start":
        sys.exit("plain: the ledger is locked")
    if os.environ.get("PLAIN_PRINT"):
        print(os.environ.get(os.environ["PLAIN_PRINT"], "not set"), file=sys.stderr)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            result = answer(message["method"], message.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
