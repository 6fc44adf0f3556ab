"""Real MCP servers over HTTP for the recorder's tests, with a log of what reached each."""

import importlib
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import SERVERS, begin

try:
    from mcp.client.client import Client
except ImportError:  # the tests run on SDK 1.26 too, which knows one era
    Client = None  # type: ignore[assignment, misc]  # see `connected`

# The HTTP library of the installed SDK; both have the same interface.
httpx = importlib.import_module("httpx2" if Client is not None else "httpx")
ERAS = ("legacy", "2026-07-28", "auto") if Client is not None else ("legacy",)
SCRIPT = Path(__file__).parents[1] / "servers" / "over_http.py"
OLDER = str(SERVERS / "sqlite" / "bin" / "python")  # its SDK is mcp 1.30
NEWER = str(SERVERS / "time" / "bin" / "python")  # mcp 2.3
READ_ONLY = """\
governance: 1
policy: read-only-vendors
rules:
- {id: READ, allow: ["vendors.get_*"]}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: where, and what it wrote down."""

    port: int
    log: Path
    process: "subprocess.Popen[str]"
    scheme: str = "http"

    def url(self, path: str = "/mcp") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def entry(self, path: str = "/mcp", **more: object) -> dict[str, object]:
        return {"url": self.url(path), **more}

    def requests(self) -> list[dict[str, object]]:
        """HTTP requests as they came, oldest first."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def messages(self) -> list[dict[str, object]]:
        return [json.loads(str(r["body"])) for r in self.requests() if r.get("body")]

    def calls(self) -> list[object]:
        """The tools that were called."""
        return [params["name"] for m in self.messages() if m.get("method") == "tools/call" and (params := m["params"])]  # type: ignore[index]  # a call has a name

    def wait_for(self, **fields: object) -> dict[str, object]:
        """The first line of the log with these fields, once it is there."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for line in self.requests():
                if fields.items() <= line.items():
                    return line
            time.sleep(0.02)
        raise AssertionError(f"{fields} is not in {self.requests()}")


@contextmanager
def served(folder: Path, *modes: str, python: str = NEWER, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run tests/servers/over_http.py until the block ends."""
    log = folder / f"server-{len(list(folder.glob('server-*')))}.log"
    process = subprocess.Popen(
        [python, str(SCRIPT), str(log), *modes],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        scheme = "https" if any(mode.startswith("cert=") for mode in modes) else "http"
        yield Served(port, log, process, scheme)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def records(config: RecorderConfig, type_: str, **fields: object) -> list[Record]:
    """The records of a type with these fields, their committed values revealed."""
    reader = EvidenceReader(FolderSource(config.run_dir))
    shown = [{k: reader.reveal(v) for k, v in r.items()} for r in reader.records() if r["type"] == type_]
    return [record for record in shown if fields.items() <= record.items()]


def verified(config: RecorderConfig) -> str:
    """What the verifier makes of the report, for a reader who trusts whoever signed it."""
    return verify(config.report_copy, trust=[verify(config.report_copy).signer]).outcome.name


@contextmanager
def gateway(recorder: Recorder, entry: dict[str, object], policy: str | None = READ_ONLY) -> Iterator[str]:
    """A test attempt with one gateway to `vendors`; gives the URL that the agent uses; the run is closed after it."""
    begin(recorder, *([policy] if policy else []))
    opened = recorder.open_gateway(servers={"vendors": entry}, agent="clerk-1", request=None, idle_ok=True)
    urls = opened["urls"]
    assert isinstance(urls, dict)
    yield urls["vendors"]
    recorder.close_gateway(str(opened["gateway"]))
    recorder.conclude()
    recorder.end_test(outcome="passed", failure=None)
    recorder.finish_run(complete=True)


@contextmanager
def started_everything(transport: str) -> Iterator[str]:
    """The everything server of the MCP project; gives its address."""
    folder = SERVERS / "node"
    script = folder / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(folder / "bin" / "node"), str(script), transport],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PORT": str(port)},
    )
    try:
        assert process.stderr is not None
        while b"port" not in (line := process.stderr.readline()) and b"running" not in line:
            assert line, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@asynccontextmanager
async def connected(url: str, era: str, **callbacks: Any) -> AsyncIterator[Any]:
    """The installed SDK's client in an era; SDK 1.x knows one."""
    if Client is not None:
        async with Client(url, mode=era, **callbacks) as client:
            yield client
        return
    async with streamable_http_client(url) as streams, ClientSession(streams[0], streams[1], **callbacks) as session:
        await session.initialize()
        yield session


def text(result: object) -> str:
    """The text of a result of one text."""
    return str(result.content[0].text)  # type: ignore[attr-defined]  # a CallToolResult


def sampling(answer: str) -> Callable[..., Awaitable[types.CreateMessageResult]]:
    """A client's model that always says `answer`."""

    async def sampled(*_: object) -> types.CreateMessageResult:
        said = types.TextContent(type="text", text=answer)
        return types.CreateMessageResult(role="assistant", content=said, model="scripted")

    return sampled
