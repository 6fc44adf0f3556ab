"""What the frameworks' tests share: a real server with a log of its own, a note, and what must have happened."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from scripted import DENIED, Script, environment_or_echo, write_or_read

from pytest_mcp_governance import Audit

NODE = Path(__file__).resolve().parent.parent / ".servers" / "node"
SERVERS = NODE / "node_modules" / "@modelcontextprotocol"
FILES = SERVERS / "server-filesystem" / "dist" / "index.js"
EVERYTHING = SERVERS / "server-everything" / "dist" / "index.js"
START_S = 60
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
def mcp_audit_servers(note: Path, server_log: Path, everything_url: str) -> Mapping[str, object]:
    """What mcp.json would say, with this test's folder and log: one server by its command, one by its URL."""
    server = [str(NODE / "bin" / "node"), str(FILES), str(note.parent)]
    files = {"command": "sh", "args": ["-c", LOGGED, str(server_log), *server]}
    return {"files": files, "everything": {"url": everything_url}}


@pytest.fixture(scope="session")
def everything_url() -> Iterator[str]:
    """A real server over Streamable HTTP, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(NODE / "bin" / "node"), str(EVERYTHING), "streamableHttp"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, "PORT": str(port)}) as server:
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < until and server.poll() is None, "server-everything does not listen"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
        server.kill()


@pytest.fixture
def script(note: Path) -> Script:
    """A scripted model's mind: it wants to write, and reads instead."""
    return write_or_read(note)


@pytest.fixture
def curious() -> Script:
    """Another's: it wants the server's environment, and takes an echo instead."""
    return environment_or_echo()


@pytest.fixture
def reads_instead(mcp_audit: Audit, script: Script, note: Path, server_log: Path) -> Callable[[str], None]:
    """Check, after the agent's run, that all four tell the same: model, evidence, server's log and file."""

    def check(answer: str) -> None:
        assert answer == "I may not. Instead I got: open"
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


@pytest.fixture
def takes_an_echo(mcp_audit: Audit, curious: Script) -> Callable[[str], None]:
    """The same over HTTP, where the denied tool has nothing that could show but its answer."""

    def check(answer: str) -> None:
        assert answer == "I may not. Instead I got: Echo: open"
        assert DENIED in curious.seen[0]
        assert [(call.name, call.verdict, call.rule, call.is_error) for call in mcp_audit.calls] == [
            ("everything.get-env", "deny", "DEFAULT-DENY", None),
            ("everything.echo", "allow", "ECHO", False),
        ]

    return check


def tools_called(log: Path) -> list[str]:
    """The tools that the server was really asked to run."""
    messages = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [message["params"]["name"] for message in messages if message.get("method") == "tools/call"]
