"""An agent without a framework, in a process of its own: speaks MCP over pipes, standard library only.

Knows its server only from the command it is given, as any agent does.

    python plain_agent.py NOTE COMMAND [ARGUMENT...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scripted import write_or_read


def main(note: str, *command: str) -> int:
    script = write_or_read(Path(note))
    with Client(*command) as client:
        step = script.decide()
        while not isinstance(step, str):
            result = client.ask("tools/call", {"name": step.tool, "arguments": step.arguments})
            step = script.decide("\n".join(part["text"] for part in result["content"]))
    print(json.dumps({"answer": step, "seen": script.seen}))
    return 0


class Client:
    """An MCP client of the smallest kind."""

    def __init__(self, *command: str) -> None:
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._last_id = 0

    def __enter__(self) -> Client:
        about = {"name": "plain-agent", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about})
        self._say({"method": "notifications/initialized"})
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()

    def ask(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """Send a request; return its result."""
        assert self._server.stdout
        self._last_id += 1
        self._say({"id": self._last_id, "method": method, "params": params})
        for line in self._server.stdout:
            message = json.loads(line)
            if message.get("id") == self._last_id and "method" not in message:
                return message["result"]
        raise SystemExit(f"the server ended before it answered {method}")

    def _say(self, message: dict[str, object]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._server.stdin.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
