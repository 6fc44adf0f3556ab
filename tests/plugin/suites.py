"""A small audited suite in a folder of its own, run by a pytest of its own, with real recorders and real servers."""

import importlib
import json
import pkgutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pytest_mcp_governance.plugin
from pytest_mcp_governance.cli.verify import command as verify
from pytest_mcp_governance.evidence import verify as verifier
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.statements import read_bundle

SERVERS = Path(__file__).parents[1] / "servers"
READ_ONLY = """\
governance: 1
policy: read-only
rules:
- {id: READ, allow: ["plain.get_*", "books.get_*"]}
"""
# With two workers an option is read by other code than without; the lifecycle table runs with workers in every suite.
SERIAL_AND_PARALLEL = pytest.mark.parametrize(
    "workers", [pytest.param(0, id="serial"), pytest.param(2, id="n2", marks=pytest.mark.thorough)]
)
# Plugins of the development environment that say nothing about ours and take their time to load.
_ELSEWHERE = (
    *("playwright", "base_url", "asyncio", "platformdirs"),
    *("randomly", "timeout", "hypothesispytest", "pytest_cov", "pytest-split"),
)
AGENT = '''
import json, subprocess

def run_agent(command, *calls):
    """A scripted agent in a process of its own: makes the calls, returns what it was answered."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answers = []
    def say(**message):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
        process.stdin.flush()
    with process:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "script", "version": "1"}}
        say(id=0, method="initialize", params=client)
        if process.stdout.readline():
            say(method="notifications/initialized")
            for number, (tool, arguments) in enumerate(calls, 1):
                say(id=number, method="tools/call", params={"name": tool, "arguments": arguments})
                answers.append(json.loads(process.stdout.readline() or "null"))
        process.stdin.close()
    return answers

GET, PAY, DELETE = ("get_vendor", {"id": "v1"}), ("pay", {"amount": 5}), ("delete_vendor", {"id": "v1"})
CRASH = ("crash", {})
'''
# An inner run in this process drops every module that it loaded: what each of them loads is here before the first.
for _module in pkgutil.iter_modules(pytest_mcp_governance.plugin.__path__, "pytest_mcp_governance.plugin."):
    importlib.import_module(_module.name)


def without_others(*wanted: str) -> list[str]:
    """Options of pytest that leave out what is installed beside our plugin, but for `wanted`."""
    return [f"-pno:{name}" for name in _ELSEWHERE if name not in wanted]


@dataclass(frozen=True)
class Ended:
    """How an inner run ended."""

    status: int
    text: str
    folder: Path
    outcomes: Mapping[str, int]

    @property
    def runs(self) -> list[Path]:
        return sorted(p for p in (self.folder / ".mcp-governance" / "runs").glob("*") if p.is_dir())

    @property
    def records(self) -> list[Mapping[str, object]]:
        """All records of the only run, main's segment first."""
        (run,) = self.runs
        return list(EvidenceReader(FolderSource(run)).records())

    @property
    def opened(self) -> Mapping[str, object]:
        """The predicate of the signed open statement."""
        (run,) = self.runs
        return read_bundle((run / "open.sigstore.json").read_bytes()).predicate

    @property
    def page(self) -> str:
        """The page of the report, without the evidence behind it."""
        report = (self.folder / "governance-report.html").read_text(encoding="utf-8")
        return report.partition("<!--mcp-governance-evidence-v1-->")[0]

    def verified(self, *require: str) -> tuple[int, dict[str, Any]]:
        """Exit status and result of `mcp-governance verify` on the report, trusting whoever signed it."""
        said, report = 0, {"signer": ""}
        for arguments in ((), ("--trust={signer}", *(f"--require={text}" for text in require))):
            typed = [text.format_map(report) for text in arguments]
            ended = CliRunner().invoke(verify, [str(self.folder / "governance-report.html"), "--json", *typed])
            said, report = ended.exit_code, json.loads(ended.output)
        return said, report

    @property
    def outcome(self) -> str:
        """What `verify` makes of the report for a reader who trusts whoever signed it; "" where there is none."""
        report = self.folder / "governance-report.html"
        if not report.exists():
            return ""
        return verifier.verify(report, trust=[verifier.verify(report).signer]).outcome.name

    def settle(self) -> None:
        """Wait until the recorder that a lost process left behind has closed the run, or is gone itself."""
        until = time.monotonic() + 30
        runs = self.folder / ".mcp-governance" / "runs"
        while any(map(_is_served, runs.glob("*.control"))) and time.monotonic() < until:
            time.sleep(0.05)

    def of_type(self, kind: str) -> list[Mapping[str, object]]:
        return [record for record in self.records if record["type"] == kind]

    def ends(self) -> dict[tuple[object, object], object]:
        """(test, attempt) -> outcome."""
        ended = [record for record in self.of_type("test") if record["phase"] == "end"]
        return {(record["test"], record["attempt"]): record["outcome"] for record in ended}


def _is_served(control: Path) -> bool:
    """Whether the recorder that this file leads to takes connections."""
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(json.loads(control.read_bytes())["ok"]["socket"])
        except (OSError, LookupError):
            return False
    return True


# What a record says of an event, and nothing of where and when it was written down.
_SAID = {
    "msg": ("direction", "kind", "method", "agent", "server", "tool"),
    "decision": ("moment", "rule", "clause", "verdict", "effect"),
    "access": ("agent", "server", "tool", "scope", "class", "status", "data"),
    "finding": ("rule", "clause", "state", "mode", "expected", "agent", "server", "tool", "reason"),
    "test": ("phase", "outcome"),
}


def what_happened(run: Path) -> Counter[tuple[str, ...]]:
    """Every message, decision, access, finding and test of a run folder, as a multiset that workers cannot change."""
    reader = EvidenceReader(FolderSource(run))
    happened: Counter[tuple[str, ...]] = Counter()
    for record in reader.records():
        said = [reader.reveal(record.get(name)) for name in _SAID.get(str(record["type"]), ())]
        if said:
            happened[str(record["type"]), str(record.get("test")), *map(str, said)] += 1
    return happened


class Suite:
    """Files of an inner suite, and a way to run it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self.write("scripted.py", AGENT)
        self.write("governance.policy.yaml", READ_ONLY)
        self.declare("plain", "books")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def declare(self, *names: str, **env: str) -> None:
        """Write an mcp.json that declares these of the tests' servers."""
        servers = {
            name: {"command": sys.executable, "args": [str(SERVERS / f"{name}.py")], "env": env} for name in names
        }
        self.write("mcp.json", json.dumps({"mcpServers": servers}))

    def declare_with_arguments(self, name: str, *args: str) -> None:
        """Write an mcp.json that declares one of the tests' servers with arguments of its own."""
        entry = {"command": sys.executable, "args": [str(SERVERS / f"{name}.py"), *args]}
        self.write("mcp.json", json.dumps({"mcpServers": {name: entry}}))

    def policy(self, *allowed: str) -> None:
        """Write a policy that allows these tools."""
        rules = [{"id": "READ", "allow": list(allowed)}]
        self.write("governance.policy.yaml", json.dumps({"governance": 1, "policy": "inner", "rules": rules}))

    def test(self, body: str, name: str = "test_inner.py") -> None:
        self.write(name, f"import pytest\nfrom scripted import *\n\n{body}")

    def run(self, *args: str, workers: int = 0, with_plugins: tuple[str, ...] = (), apart: bool = False) -> Ended:
        """Run the suite; in this process unless workers, a plugin from elsewhere or `apart` ask for one of its own."""
        quiet = without_others(*with_plugins)
        parallel = [f"-n{workers}"] if workers else []
        apart = bool(workers or with_plugins or apart)
        run = self.pytester.runpytest_subprocess if apart else self.pytester.runpytest_inprocess
        result = run(*quiet, *parallel, *args)
        text = result.stdout.str() + result.stderr.str()
        try:
            outcomes = result.parseoutcomes()
        except ValueError:
            outcomes = {}
        return Ended(int(result.ret), text, self.folder, outcomes)
