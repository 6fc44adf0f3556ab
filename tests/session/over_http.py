"""Real MCP servers over HTTP for the recorder's tests, with a log of what reached each."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import SERVERS

SCRIPT = Path(__file__).parents[1] / "servers" / "over_http.py"
OLDER = str(SERVERS / "sqlite" / "bin" / "python")  # its SDK is mcp 1.30
NEWER = sys.executable
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
