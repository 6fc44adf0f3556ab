"""A stdio MCP server that answers a call of `hold` only when `release` is called: for what is under way meanwhile."""

import json
import sys


def main() -> None:
    held: list[object] = []
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        tool = (message.get("params") or {}).get("name")
        if tool == "hold":
            held.append(message["id"])
            continue
        for id_ in [message["id"], *(held if tool == "release" else ())]:
            result = {"content": [{"type": "text", "text": f"answer {id_}"}], "protocolVersion": "2025-06-18"}
            print(json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}), flush=True)


if __name__ == "__main__":
    main()
