"""`gateway` records agents outside any test: they come and go, and whatever ends it, the evidence says the truth."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify
from tests.session.over_http import served

CLI = [sys.executable, "-c", "from pytest_mcp_governance.cli import main; main()"]
SERVER = Path(__file__).parents[1] / "servers" / "plain.py"
POLICY = 'governance: 1\npolicy: read-only\nrules:\n- {id: READ, allow: ["books.get_*"]}\n'
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}


class Agent:
    """A client of its own that speaks MCP over the command that its configuration names."""

    def __init__(self, configuration: Path, server: str = "books") -> None:
        entry = json.loads(configuration.read_text())["mcpServers"][server]
        self._process = subprocess.Popen(
            [entry["command"], *entry["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._id = 0
        self.ask("initialize", HELLO)

    def ask(self, method: str, params: dict[str, object]) -> dict[str, object]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return json.loads(answer) if answer else {}

    def call(self, tool: str, **arguments: object) -> str:
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]
        return str(result["content"][0]["text"])  # type: ignore[index, call-overload]  # as the server makes it

    def leave(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Gateway:
    """A gateway at work in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*CLI, "gateway", "--evidence", "evidence", *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("ready"):
                break

    def configuration(self, agent: str = "agent") -> Path:
        return self.folder / "evidence" / "agents" / f"{agent}.mcp.json"

    def end(self, *signals: int) -> tuple[int, str, str]:
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    @property
    def run(self) -> Path:
        (found,) = (path for path in (self.folder / "evidence" / "runs").iterdir() if path.is_dir())
        return found

    @property
    def recorder_pid(self) -> int:
        return int(json.loads(self.run.with_name(self.run.name + ".control").read_text())["ok"]["pid"])

    def records(self, kind: str) -> list[dict[str, object]]:
        return [r for r in EvidenceReader(FolderSource(self.run)).records() if r["type"] == kind]

    def outcome(self) -> str:
        return verify(self.run, trust=[verify(self.run).signer]).outcome.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    configure(tmp_path)
    (tmp_path / "governance.policy.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path


def configure(folder: Path, **env: str) -> None:
    entry = {"command": sys.executable, "args": [str(SERVER)], "env": env}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"books": entry}}), encoding="utf-8")


@pytest.fixture
def started() -> Iterator[list[Gateway]]:
    found: list[Gateway] = []
    yield found
    for gateway in found:
        if gateway.process.poll() is None:
            gateway.process.kill()
        gateway.process.communicate()


@pytest.fixture
def gateway(folder: Path, started: list[Gateway]) -> Gateway:
    started.append(Gateway(folder))
    return started[0]


def until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_agents_come_and_go_and_what_they_did_is_one_signed_history(gateway: Gateway):
    for _ in range(3):
        agent = Agent(gateway.configuration())
        assert agent.call("get_vendor") == "get_vendor done"
        agent.leave()
    status, out, err = gateway.end()
    assert (status, err) == (0, "")
    assert "agent agent: 3 calls, 0 denied, 0 findings, 0 screens" in out
    assert [r["state"] for r in gateway.records("session")] == ["opened", "closed"] * 3
    assert [r["conn"] for r in gateway.records("session") if r["state"] == "opened"] == ["c1", "c2", "c3"]
    assert [r["test"] for r in gateway.records("test")] == ["gateway", "gateway"]
    assert gateway.outcome() == "VERIFIED"


def test_the_end_names_report_digests_and_the_command_that_verifies_it(gateway: Gateway):
    Agent(gateway.configuration()).leave()
    _, out, _ = gateway.end()
    report = gateway.folder / "evidence" / "governance-report.html"
    checked = verify(report)
    assert f"close  {checked.close_digest}" in out
    assert f"open   {checked.open_digest}" in out
    (command,) = [line for line in out.splitlines() if line.startswith("verify: ")]
    told = subprocess.run(
        [*CLI, *command.removeprefix("verify: mcp-governance ").split()],
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout


def test_an_agent_that_is_connected_when_it_ends_loses_nothing(gateway: Gateway):
    agent = Agent(gateway.configuration())
    agent.call("get_vendor")
    assert gateway.end()[0] == 0
    agent.leave()
    assert len([r for r in gateway.records("msg") if r.get("method") == "tools/call"]) == 2
    assert gateway.outcome() == "VERIFIED"


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGHUP,), (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)]
)
def test_every_signal_that_can_be_heard_closes_and_a_second_one_corrupts_nothing(
    gateway: Gateway, signals: tuple[int, ...]
):
    Agent(gateway.configuration()).leave()
    status, out, err = gateway.end(*signals)
    assert (status, err) == (0, "")
    assert ": closing\n" in out
    assert gateway.outcome() == "VERIFIED"


def test_a_kill_of_the_command_leaves_evidence_that_says_it_is_incomplete(gateway: Gateway):
    agent = Agent(gateway.configuration())
    agent.call("get_vendor")
    gateway.end(signal.SIGKILL)
    until((gateway.run / "close.sigstore.json").exists)
    agent.leave()
    report = verify(gateway.run)
    assert report.outcome.name == "INCOMPLETE"
    assert len([r for r in gateway.records("msg") if r.get("method") == "tools/call"]) == 2


def test_a_kill_of_the_recorder_is_said_and_leaves_evidence_that_says_it_is_incomplete(gateway: Gateway):
    agent = Agent(gateway.configuration())
    agent.call("get_vendor")
    os.kill(gateway.recorder_pid, signal.SIGKILL)
    _, err = gateway.process.communicate(timeout=30)
    agent.leave()
    assert gateway.process.returncode == 1
    assert "the recorder process ended with SIGKILL before the run was closed" in err
    assert f"mcp-governance verify {gateway.run}" in err
    assert verify(gateway.run).outcome.name == "INCOMPLETE"
    assert not gateway.configuration().exists()


def test_a_service_manager_that_tells_all_processes_to_end_gets_a_whole_run(gateway: Gateway):
    Agent(gateway.configuration()).leave()
    os.kill(gateway.recorder_pid, signal.SIGTERM)
    assert gateway.end()[0] == 0
    assert gateway.outcome() == "VERIFIED"


def test_a_server_that_dies_is_said_and_the_agent_that_comes_back_goes_on_in_the_same_run(
    folder: Path, started: list[Gateway]
):
    (folder / "governance.policy.yaml").write_text(POLICY + '- {id: CRASH, allow: ["books.crash"]}\n', encoding="utf-8")
    started.append(gateway := Gateway(folder))
    agent = Agent(gateway.configuration())
    agent.call("get_vendor")
    assert agent.ask("tools/call", {"name": "crash", "arguments": {}}) == {}
    agent.leave()
    agent = Agent(gateway.configuration())
    assert agent.call("get_vendor") == "get_vendor done"
    agent.leave()
    _, out, err = gateway.end()
    assert "server 'books' ended with status 3 while the agent was connected (1 request(s) unanswered)" in err
    assert "agent agent: 3 calls" in out
    assert gateway.outcome() == "VERIFIED"


def test_each_agent_is_told_apart_by_its_own_configuration(folder: Path, started: list[Gateway]):
    gateway = Gateway(folder, "--agent", "clerk", "--agent", "auditor", "--request", "close the month")
    started.append(gateway)
    clerk, auditor = (Agent(gateway.configuration(name)) for name in ("clerk", "auditor"))
    for agent, calls in ((clerk, 2), (auditor, 1)):
        for _ in range(calls):
            agent.call("get_vendor")
        agent.leave()
    _, out, _ = gateway.end()
    assert "agent clerk: 2 calls" in out
    assert "agent auditor: 1 call," in out
    assert [(r["kind"], r["agent"]) for r in gateway.records("context")] == [
        ("request", "clerk"),
        ("request", "auditor"),
    ]


def test_a_denied_call_is_blocked_and_the_exit_status_says_so(gateway: Gateway):
    agent = Agent(gateway.configuration())
    assert "Denied by governance rule" in agent.call("pay")
    agent.leave()
    status, out, _ = gateway.end()
    assert status == 1
    assert "run fails: 1 unexpected finding in enforce mode" in out


def test_a_configuration_is_private_and_gone_when_nobody_is_admitted_any_more(gateway: Gateway):
    path = gateway.configuration()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    gateway.end()
    assert not path.exists()


def test_a_server_behind_a_url_is_reached_through_the_recorder_which_keeps_its_headers(
    folder: Path, started: list[Gateway], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLACE_TOKEN", "sk-planted-0123456789")
    with served(folder) as remote:
        headers = {"Authorization": "Bearer ${PLACE_TOKEN}"}
        entry = {"type": "http", "url": remote.url(), "headers": headers, "alwaysAllow": ["x"]}
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"books": entry}}), encoding="utf-8")
        started.append(gateway := Gateway(folder, "--print-config", "servers"))
        written = json.loads(gateway.configuration().read_text())["mcpServers"]["books"]
        assert written.keys() == {"type", "url", "alwaysAllow"}
        assert json.loads(gateway.said[0])["agent"]["books"] == {"transport": "streamable_http", "url": written["url"]}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        accepted = "application/json, text/event-stream"
        request = Request(written["url"], json.dumps(body).encode(), {"Content-Type": "application/json"})
        request.add_header("Accept", accepted)
        with urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        status, out, err = gateway.end()
        assert (status, err) == (0, ""), err
        assert [m["method"] for m in remote.messages()] == ["initialize"]
        assert "sk-planted" not in out + written["url"]
    assert gateway.outcome() == "VERIFIED"
    assert {r["transport"] for r in gateway.records("session")} == {"http"}


def test_hours_without_a_call_are_no_finding(gateway: Gateway):
    status, out, _ = gateway.end()
    assert status == 0
    assert "verdict: no unexpected finding" in out


def test_two_gateways_do_not_share_a_folder(gateway: Gateway):
    done = subprocess.run(
        [*CLI, "gateway", "--evidence", "evidence"], cwd=gateway.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "another gateway is at work in" in done.stderr
    Agent(gateway.configuration()).leave()


def test_at_its_limit_a_run_goes_on_in_another_and_verify_tells_whether_one_is_missing(
    folder: Path, started: list[Gateway]
):
    started.append(gateway := Gateway(folder, "--rotate-size", "1kB"))
    agent = Agent(gateway.configuration())
    assert gateway.process.stdout is not None
    (moved,) = [next(line for line in gateway.process.stdout if line.startswith("going on in "))]
    assert agent.call("get_vendor") == "get_vendor done"
    agent.leave()
    status, out, err = gateway.end()
    assert (status, err) == (0, "")
    runs = sorted(path for path in (folder / "evidence" / "runs").iterdir() if path.is_dir())
    assert any(str(run) == moved.removeprefix("going on in ").strip() for run in runs[1:])
    (signer,) = {line.rpartition(" ")[2] for line in out.splitlines() if line.startswith("verify: ")}

    def chain(*named: Path) -> subprocess.CompletedProcess[str]:
        command = [*CLI, "verify", "--chain", "--trust", signer, *map(str, named)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = chain(*runs)
    assert whole.returncode == 0
    assert f"VERIFIED: {len(runs)} runs, an unbroken chain" in whole.stdout
    cut = chain(*(run / "report.html" for run in runs[1:]))
    assert cut.returncode == 3
    assert f"run {runs[0].name}, which run" in cut.stdout


FORMS = {
    "config": lambda shown: shown["agent"]["mcpServers"]["books"]["args"],
    "servers": lambda shown: shown["agent"]["books"]["args"] * (shown["agent"]["books"]["transport"] == "stdio"),
    "commands": lambda shown: shown["agent"]["books"].split()[1:],
}


@pytest.mark.parametrize("form", FORMS)
def test_how_agents_connect_is_the_first_line_where_it_is_asked_for(folder: Path, started: list[Gateway], form: str):
    gateway = Gateway(folder, "--print-config", form)
    started.append(gateway)
    written = json.loads(gateway.configuration().read_text())["mcpServers"]["books"]["args"]
    assert FORMS[form](json.loads(gateway.said[0])) == written


WRONG = {
    "no configuration": (lambda p: (p / "mcp.json").unlink(), (), "there is no MCP configuration"),
    "no JSON": (lambda p: (p / "mcp.json").write_text("{"), ("--config", "mcp.json"), "not JSON"),
    "no such server": (lambda p: None, ("--servers", "books,files"), "names no server 'files'; it has books"),
    "a bad policy": (lambda p: (p / "governance.policy.yaml").write_text("governance: 2"), (), "governance.policy"),
    "no such policy": (lambda p: None, ("--policy", "absent.yaml"), "absent.yaml cannot be read"),
    "no such key": (lambda p: None, ("--signing-key", "absent.pem"), "absent.pem"),
    "a name for no file": (lambda p: None, ("--agent", "../x"), "--agent '../x'"),
    "a name twice": (lambda p: None, ("--agent", "a", "--agent", "A"), "a name is given twice"),
    "a time of two words": (lambda p: None, ("--rotate-after", "6 h"), "--rotate-after '6 h': write a whole number"),
    "no time": (lambda p: None, ("--rotate-after", "0s"), "--rotate-after '0s'"),
    "a size without a unit": (lambda p: None, ("--rotate-size", "500"), "one of kB, MB, GB, such as 6MB"),
    "a unit that is a time's": (lambda p: None, ("--rotate-size", "5m"), "--rotate-size '5m'"),
    "evidence in a file": (lambda p: (p / "evidence").write_text(""), (), "evidence"),
}


@pytest.mark.parametrize(("spoil", "options", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_start_is_said_before_anything_does(folder: Path, spoil, options, said):  # type: ignore[no-untyped-def]
    spoil(folder)
    command = [*CLI, "gateway", "--evidence", "evidence", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "evidence" / "runs").exists()
