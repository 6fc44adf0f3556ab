"""Real servers for the recorder's tests, and an agent that speaks raw lines so that a test can send anything."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

if TYPE_CHECKING:
    from .stage import Stage

SERVERS = Path(__file__).parents[2] / "examples" / ".servers"
READ_ONLY = """\
governance: 1
policy: read-only-files
rules:
- {id: READ, allow: ["files.{read_text_file,list_directory}"]}
"""


@dataclass(frozen=True, slots=True)
class Files:
    """The filesystem server of the MCP project, over a folder, with a log of every line that reached it."""

    folder: Path
    log: Path

    @property
    def entry(self) -> dict[str, object]:
        node = SERVERS / "node" / "bin" / "node"
        script = SERVERS / "node" / "node_modules" / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
        assert script.exists(), "the real servers are not set up; run: python examples/setup_servers.py"
        # tee is the witness: what it wrote is what the server was given.
        return {"command": "sh", "args": ["-c", f"tee -a '{self.log}' | '{node}' '{script}' '{self.folder}'"]}

    def received(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def received_calls(self) -> list[object]:
        return [m["id"] for m in self.received() if m.get("method") == "tools/call"]


class Agent:
    """An agent on the other end of a gateway's command: sends lines, reads lines."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._id = 0

    def send(self, raw: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(raw + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, object]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the connection closed"
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    def ask(self, method: str, **params: object) -> dict[str, object]:
        """Send a request and return its answer, past notifications."""
        self._id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode())
        while (answer := self.read()).get("id") != self._id:
            pass
        return answer

    def call(self, tool: str, **arguments: object) -> dict[str, object]:
        result = self.ask("tools/call", name=tool, arguments=arguments)["result"]
        assert isinstance(result, dict)
        return result

    def start(self) -> None:
        """The MCP handshake."""
        info = {"name": "raw", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=info)
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def leave(self) -> int:
        """Close stdin, as a client does when it is done; return the pipe's exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text("hello")
    return Files(folder.resolve(), tmp_path / "server.log")


def configured(folder: Path) -> RecorderConfig:
    """A main recorder's settings for a run in `folder`."""
    return RecorderConfig(
        run="run-1",
        run_dir=folder / ".mcp-governance" / "runs" / "run-1",
        segment="main",
        rootdir=folder,
        main=True,
        report_copy=folder / "governance-report.html",
        controller_pid=os.getpid(),
    )


@pytest.fixture
def config(tmp_path: Path) -> RecorderConfig:
    return configured(tmp_path)


@pytest.fixture
def recorder(config: RecorderConfig) -> Iterator[Recorder]:
    started = Recorder.start(config)
    yield started
    started.end()


def begin(recorder: Recorder, *policies: str, mode: str | None = None, name: str = "test_a") -> None:
    """Start a test attempt under the given policy texts."""
    recorder.selection(selected=[name], unaudited=0, deselected=0, collection="0" * 64)
    recorder.start_test(
        name=name,
        nodeid=name,
        attempt=1,
        agent="clerk-1",
        controls=(),
        policies=[{"name": "p.yaml", "kind": "file", "text": text} for text in policies],
        mode=mode,
    )


def open_gateway(recorder: Recorder, servers: Mapping[str, Mapping[str, object]]) -> tuple[str, dict[str, list[str]]]:
    """Open a gateway for `clerk-1`; return its id and commands."""
    reply = recorder.open_gateway(servers=servers, agent="clerk-1", request="look at a.txt", idle_ok=False)
    commands = reply["commands"]
    assert isinstance(commands, dict)
    return str(reply["gateway"]), commands


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stage]":
    """A recorder that a whole module plays its scenes on."""
    from .stage import Stage

    folder = tmp_path_factory.mktemp("stage")
    config = configured(folder)
    recorder = Recorder.start(config)
    yield Stage(recorder, config, folder)
    recorder.end()


PYTHON = sys.executable
