#!/usr/bin/env python3
"""Stands in for the program that claude-agent-sdk starts: takes its options, connects to its MCP servers, has no model.

Reads `--mcp-config` as that program does and lets the script make its calls; then answers with what it saw and with the
options that it was given. Standard library only; the note is named by the environment variable NOTE.
"""

import json
import os
import sys
from pathlib import Path

from plain_agent import Client
from scripted import write_or_read


def main(arguments: list[str]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "control_request":
            say(type="control_response", response={"subtype": "success", "request_id": message["request_id"]})
        elif message["type"] == "user":
            answer = {"session_id": "s", "duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "is_error": False}
            say(type="result", subtype="success", result=work(arguments), **answer)


def work(arguments: list[str]) -> str:
    """Make the script's calls on the one server of the configuration."""
    servers = json.loads(arguments[arguments.index("--mcp-config") + 1])["mcpServers"]
    script = write_or_read(Path(os.environ["NOTE"]))
    with Client(servers["files"]["command"], *servers["files"]["args"]) as client:
        step = script.decide()
        while not isinstance(step, str):
            result = client.ask("tools/call", {"name": step.tool, "arguments": step.arguments})
            step = script.decide("\n".join(part["text"] for part in result["content"]))
    return json.dumps({"answer": step, "seen": script.seen, "arguments": arguments})


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
