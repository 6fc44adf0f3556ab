"""What the frameworks' tests share: a real server with a log of its own, a note, and what must have happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from scripted import DENIED, Script

from pytest_mcp_governance import Audit

NODE = Path(__file__).resolve().parent.parent / ".servers" / "node"
SERVER = NODE / "node_modules" / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
# `tee` stands between recorder and server and keeps what the server was really sent.
LOGGED = 'tee -a "$0" | "$@"'


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """The file that the agents work on."""
    path = tmp_path.resolve() / "files" / "note.txt"
    path.parent.mkdir()
    path.write_text("open\n", encoding="utf-8")
    return path


@pytest.fixture
def server_log(tmp_path: Path) -> Path:
    """The server's own log: the lines that it was sent."""
    return tmp_path / "server.log"


@pytest.fixture
def mcp_audit_servers(note: Path, server_log: Path) -> Mapping[str, object]:
    """What mcp.json would say, with this test's folder and log."""
    server = [str(NODE / "bin" / "node"), str(SERVER), str(note.parent)]
    return {"files": {"command": "sh", "args": ["-c", LOGGED, str(server_log), *server]}}


@pytest.fixture
def script(note: Path) -> Script:
    """A scripted model's mind."""
    return Script(note)


@pytest.fixture
def reads_instead(mcp_audit: Audit, script: Script, note: Path, server_log: Path) -> Callable[[str], None]:
    """Check, after the agent's run, that all four tell the same: model, evidence, server's log and file."""

    def check(answer: str) -> None:
        assert answer == "I may not write. The note says: open"
        denied, read = script.seen
        assert DENIED in denied
        assert "open" in read
        assert [(call.name, call.verdict, call.rule, call.is_error) for call in mcp_audit.calls] == [
            ("files.write_file", "deny", "DEFAULT-DENY", None),
            ("files.read_text_file", "allow", "READ", False),
        ]
        assert tools_called(server_log) == ["read_text_file"]
        assert note.read_text(encoding="utf-8") == "open\n"

    return check


def tools_called(log: Path) -> list[str]:
    """The tools that the server was really asked to run."""
    messages = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [message["params"]["name"] for message in messages if message.get("method") == "tools/call"]
