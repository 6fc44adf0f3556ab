"""`observe` audits an agent's command as it is: with real servers, in processes of their own, whatever ends them."""

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.adopt import configurations
from pytest_mcp_governance.adopt.observe import Wish, _swapped, observe, prepare
from pytest_mcp_governance.adopt.rewiring import plan, rewired
from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify

CLI = [sys.executable, "-c", "from pytest_mcp_governance.cli import main; main()"]
SERVER = Path(__file__).parents[1] / "servers" / "plain.py"
POLICY = 'governance: 1\npolicy: read-only\nrules:\n- {id: READ, allow: ["books.get_*"]}\n'
# An agent of its own: reads its configuration where the command line says, and speaks MCP without any of our code.
AGENT = """
import json, os, signal, subprocess, sys

path, *calls = sys.argv[1:]
servers = json.load(open(path))
entry = (servers.get("mcpServers") or servers.get("servers"))["books"]
process = subprocess.Popen([entry["command"], *entry["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def ask(number, method, params):
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\\n")
    process.stdin.flush()
    return process.stdout.readline()

ask(0, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}})
for number, call in enumerate(calls, 1):
    if call.startswith("end "):
        os.kill(os.getppid(), getattr(signal, call[4:]))
        signal.pause()
    elif call.startswith("exit "):
        sys.exit(int(call[5:]))
    else:
        print(json.loads(ask(number, "tools/call", {"name": call, "arguments": {}}))["result"]["content"][0]["text"])
process.stdin.close()
process.wait()
"""


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    said: str


class Place:
    """A folder with an agent, its configuration and a policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "mcp.json"
        self.configure({"books": {"command": sys.executable, "args": [str(SERVER)]}})
        (folder / "agent.py").write_text(AGENT, encoding="utf-8")
        (folder / "governance.policy.yaml").write_text(POLICY, encoding="utf-8")

    def configure(self, servers: dict[str, object], **more: object) -> None:
        self.configuration.write_text(json.dumps({"mcpServers": servers, **more}), encoding="utf-8")

    def observe(self, *arguments: str) -> Done:
        command = [*CLI, "observe", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr)

    def agent(self, *calls: str, configuration: str = "mcp.json", options: tuple[str, ...] = ()) -> Done:
        return self.observe(*options, "--", sys.executable, "agent.py", configuration, *calls)

    @property
    def records(self) -> list[dict[str, object]]:
        (run,) = (path for path in (self.folder / ".mcp-governance" / "runs").iterdir() if path.is_dir())
        return list(EvidenceReader(FolderSource(run)).records())

    @property
    def page(self) -> str:
        return (self.folder / "governance-report.html").read_text(encoding="utf-8")

    @property
    def outcome(self) -> str:
        report = self.folder / "governance-report.html"
        return verify(report, trust=[verify(report).signer]).outcome.name


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_agents_calls_are_recorded_and_judged_and_nothing_is_blocked(place: Place):
    done = place.agent("get_vendor", "pay", options=("--agent", "clerk", "--request", "pay invoice 7"))
    assert (done.status, done.out) == (0, "get_vendor done\npay done\n"), done.said
    assert "agent clerk: 2 calls, 0 denied, 1 finding" in done.said
    assert place.outcome == "VERIFIED"
    (finding,) = [record for record in place.records if record["type"] == "finding"]
    assert (finding["rule"], finding["state"], finding["mode"]) == ("DEFAULT-DENY", "reached", "observe")
    (policy,) = [record for record in place.records if record["type"] == "policy"]
    assert policy["mode"] == "observe"
    assert policy["sources"][0]["name"] == "governance.policy.yaml (observed only)"  # type: ignore[index]


def test_with_enforce_a_denied_call_never_reaches_the_server_and_the_exit_status_says_so(place: Place):
    log = place.folder / "log"
    entry = {"command": sys.executable, "args": [str(SERVER)], "env": {"PLAIN_LOG": str(log)}}
    place.configure({"books": entry})
    done = place.agent("get_vendor", "pay", options=("--enforce",))
    assert done.status == 1
    assert "Denied by governance rule" in done.out
    assert "run fails: 1 unexpected finding in enforce mode" in done.said
    assert [json.loads(line)["tool"] for line in log.read_text().splitlines()] == ["get_vendor"]


def test_the_commands_own_status_is_kept_and_recorded(place: Place):
    done = place.agent("get_vendor", "exit 7")
    assert done.status == 7
    assert [record["outcome"] for record in place.records if record["type"] == "test" and record["phase"] == "end"] == [
        "failed"
    ]


def test_without_a_policy_the_run_is_not_judged_and_says_so(place: Place):
    (place.folder / "governance.policy.yaml").unlink()
    done = place.agent("pay")
    assert done.status == 0
    assert "NOT JUDGED" in done.said


def test_a_placeholder_and_the_environment_lead_to_the_audited_configuration_too(place: Place):
    assert place.agent("get_vendor", configuration="{mcp_config}").status == 0
    shell = f"exec {sys.executable} agent.py $MCP_GOVERNANCE_CONFIG get_vendor"
    done = place.observe("--", "sh", "-c", shell)
    assert (done.status, done.out) == (0, "get_vendor done\n")


def test_an_agent_that_nobody_led_through_the_recorder_is_told_and_is_no_success(place: Place):
    done = place.observe("--", sys.executable, "-c", "print('busy')")
    assert (done.status, done.out) == (1, "busy\n")
    assert "nothing was observed" in done.said
    assert "--in-place" in done.said


ENDS = {"in order": ("get_vendor",), "with an error": ("get_vendor", "exit 3"), "by a signal": ("end SIGTERM",)}


@pytest.mark.parametrize("calls", ENDS.values(), ids=ENDS.keys())
def test_in_place_the_configuration_is_back_byte_for_byte_however_the_command_ends(
    place: Place, calls: tuple[str, ...]
):
    text = '{\n  // the books\n "mcpServers": ' + place.configuration.read_text()[len('{"mcpServers": ') :]
    cursor = place.folder / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    place.configuration.unlink()
    cursor.write_text(text, encoding="utf-8")
    os.chmod(cursor, 0o640)
    os.utime(cursor, ns=(1, 2))
    command = f"exec {sys.executable} agent.py ./.cursor/mcp.json {' '.join(map(repr, calls))}"
    done = place.observe("--in-place", "--", "sh", "-c", command)
    assert cursor.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(cursor.stat().st_mode) == 0o640
    assert cursor.stat().st_mtime_ns == 2
    assert list(cursor.parent.iterdir()) == [cursor]
    assert [record for record in place.records if record["type"] == "close"], done.said


def test_a_backup_that_a_crash_left_is_never_overwritten(place: Place):
    left = place.folder / "mcp.json.before-observe"
    left.write_text("the real one", encoding="utf-8")
    done = place.agent("get_vendor", options=("--in-place",))
    assert done.status == 2
    assert f"mv {left} {place.configuration}" in done.said.replace("\n", " ")
    assert left.read_text(encoding="utf-8") == "the real one"


def test_a_signal_between_the_swap_and_the_command_is_the_commands_and_the_file_is_back(place: Place):
    wish = Wish(
        command=(sys.executable, "-c", "import signal; signal.pause()"),
        folder=place.folder,
        configuration=place.configuration,
        policy=None,
        agent="agent",
        request=None,
        report=place.folder / "governance-report.html",
        in_place=True,
    )
    before = place.configuration.read_bytes()
    swapped = []

    def end(_audited: Path) -> None:
        swapped.append(place.configuration.read_bytes() != before)
        os.kill(os.getpid(), signal.SIGTERM)

    assert observe(wish, prepare(wish), end).status == 128 + signal.SIGTERM
    assert swapped == [True]
    assert place.configuration.read_bytes() == before
    assert place.outcome == "VERIFIED"


def test_a_kill_leaves_the_real_configuration_beside_and_no_later_run_takes_the_dead_copy_for_it(place: Place):
    before = place.configuration.read_bytes()
    killer = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    place.observe("--in-place", "--", sys.executable, "-c", killer)
    left = place.folder / "mcp.json.before-observe"
    assert left.read_bytes() == before != place.configuration.read_bytes()
    done = place.agent("get_vendor")
    assert done.status == 2
    assert "could not put mcp.json back" in done.said.replace("\n", " ")
    os.replace(left, place.configuration)
    assert place.agent("get_vendor").status == 0


def test_two_at_once_never_take_one_anothers_copy_for_the_real_configuration(place: Place):
    before = place.configuration.read_bytes()
    with _swapped(place.configuration, "first"):
        with pytest.raises(ConfigurationError, match="still at work"), _swapped(place.configuration, "second"):
            pass
        assert place.configuration.read_text(encoding="utf-8") == "first"
    assert place.configuration.read_bytes() == before
    assert not (place.folder / "mcp.json.before-observe").exists()


def test_a_copy_that_cannot_be_written_leaves_no_second_name(place: Place):
    before = place.configuration.read_bytes()
    with pytest.raises(UnicodeEncodeError), _swapped(place.configuration, "\ud800"):
        pass
    assert place.configuration.read_bytes() == before
    assert not (place.folder / "mcp.json.before-observe").exists()


def test_ctrl_c_is_the_agents_and_the_run_is_closed_all_the_same(place: Place):
    """A terminal sends SIGINT to both; here the agent sends it to itself and to what observes it."""
    heard = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    both = "os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)"
    agent = AGENT.replace("os.kill(os.getppid(), getattr(signal, call[4:]))", both)
    (place.folder / "agent.py").write_text(heard + agent, encoding="utf-8")
    done = place.agent("get_vendor", "end SIGINT")
    assert done.status not in (0, 2)
    assert "agent agent: 1 call" in done.said
    assert place.outcome == "VERIFIED"


def test_servers_that_cannot_be_audited_are_left_out_and_named_unless_somebody_wants_them(place: Place):
    books = {"command": sys.executable, "args": [str(SERVER)], "timeout": 5}
    remote = {"type": "http", "url": "https://user:key-abc@mcp.example/"}
    place.configure({"books": books, "remote": remote, "broken": 7, "off": {**books, "disabled": True}}, theme="dark")
    show = ("--", "cat", "mcp.json")
    done = place.observe(*show)
    assert "NOT audited, so left out: remote" in done.said
    assert "NOT audited, so left out: off (it is switched off)" in done.said
    assert "NOT audited, so left out: server 'broken' must be an object" in done.said
    assert "key-abc" not in done.said
    written = json.loads(done.out)
    assert written["theme"] == "dark"
    assert written["mcpServers"].keys() == {"books"}
    assert written["mcpServers"]["books"]["timeout"] == 5
    done = place.observe("--keep-unaudited", *show)
    assert "NOT audited, but left in: remote" in done.said
    assert json.loads(done.out)["mcpServers"]["remote"] == remote
    assert "could reach remote, broken and off past the recorder" in place.page


def test_a_report_tells_of_unaudited_servers_only_where_some_were_left_in(place: Place):
    place.configure(
        {"books": {"command": sys.executable, "args": [str(SERVER)]}, "remote": {"url": "https://a:b@a.example"}}
    )
    assert place.agent("get_vendor").status == 0
    assert "past the recorder" not in place.page


def test_a_server_whose_program_is_not_here_is_left_out_and_stops_none_of_the_others(place: Place):
    books = {"command": sys.executable, "args": [str(SERVER)]}
    place.configure({"absent": {"command": "/opt/no/such/server"}, "books": books})
    done = place.agent("get_vendor")
    assert (done.status, done.out) == (0, "get_vendor done\n"), done.said
    assert "NOT audited, so left out: absent" in done.said


def test_a_credential_that_stands_in_the_configuration_reaches_its_server_and_nothing_else(place: Place):
    secret = "sk-planted-0123456789"
    entry = {"command": sys.executable, "args": [str(SERVER)], "env": {"API_KEY": secret, "PLAIN_PRINT": "API_KEY"}}
    place.configure({"books": entry})
    done = place.agent("get_vendor")
    assert done.status == 0
    assert secret not in done.said + done.out
    assert secret not in (place.folder / "governance-report.html").read_text(encoding="utf-8")
    said = [r for r in place.records if r["type"] == "io" and r["stream"] == "stderr"]
    assert len(said) == 1  # the server had it: it printed it to its stderr, which is committed and withheld


def _entry(
    server: dict[str, object], environ: dict[str, str], kind: configurations.Kind = "vscode"
) -> dict[str, object]:
    text = json.dumps({"servers" if kind == "vscode" else "mcpServers": {"a": {"command": sys.executable, **server}}})
    (wire,) = plan(configurations.read_text(text, kind, Path("/p/x.json")), text, Path("/"), environ).wires
    return dict(wire.entry)


@pytest.mark.parametrize("kind", ["vscode", "cursor"])
@pytest.mark.parametrize("written", ["${API_KEY}", "${env:API_KEY}", "${input:api-key}", "${API_KEY:-x}"])
def test_a_variable_in_any_clients_syntax_reaches_the_server_filled_in(kind: configurations.Kind, written: str):
    server = {"args": ["--token", written, f"--dir={written}", written], "env": {"API_KEY": written, "PLAIN": written}}
    entry = _entry(server, {"API_KEY": "val"}, kind)
    assert entry["args"] == ["--token", "val", "--dir=val", "val"]
    assert entry["env"] == {"API_KEY": "val", "PLAIN": "val"}


@pytest.mark.parametrize("server", [{"env": {"API_KEY": "${env:API_KEY}"}}, {"args": ["--token", "${input:api-key}"]}])
def test_a_server_whose_variable_is_not_set_is_not_audited_and_says_which(server: dict[str, object]):
    with pytest.raises(ConfigurationError, match="environment variable API_KEY, which is not set"):
        _entry(server, {})


def test_a_literal_credential_and_a_variable_beside_it_reach_the_server():
    server = {
        "args": ["--token", "abc-123", "postgres://me:abc-456@${env:HOST}/x"],
        "env": {"TOKEN": "abc-789", "URL": "https://me:abc-000@${HOST}/"},
    }
    entry = _entry(server, {"HOST": "db", "TOKEN": "another"})
    assert entry["args"] == ["--token", "abc-123", "postgres://me:abc-456@db/x"]
    assert entry["env"] == {"TOKEN": "abc-789", "URL": "https://me:abc-000@db/"}


def test_of_several_configurations_the_one_in_the_command_is_the_agents(place: Place):
    (place.folder / ".mcp.json").write_text(place.configuration.read_text(encoding="utf-8"), encoding="utf-8")
    done = place.agent("get_vendor")
    assert (done.status, done.out) == (0, "get_vendor done\n"), done.said
    assert f"auditing books of {place.configuration}" in done.said
    done = place.agent("get_vendor", configuration="absent.json")
    assert done.status == 2
    assert "several MCP configurations here" in done.said


WRONG = {
    "no configuration": (lambda p: p.configuration.unlink(), (), "there is no MCP configuration"),
    "no such configuration": (lambda p: None, ("--config", "absent.json"), "absent.json"),
    "no JSON": (lambda p: p.configuration.write_text("{"), ("--config", "mcp.json"), "not JSON"),
    "no server": (lambda p: p.configure({}), ("--config", "mcp.json"), "no server that can be audited"),
    "a bad policy": (
        lambda p: (p.folder / "governance.policy.yaml").write_text("governance: 2"),
        (),
        "governance.policy",
    ),
    "a policy to enforce": (
        lambda p: (p.folder / "governance.policy.yaml").unlink(),
        ("--enforce",),
        "--enforce needs a policy",
    ),
    "no such key": (lambda p: None, ("--sign", "absent.pem"), "absent.pem"),
    "a report in no folder": (lambda p: None, ("--out", "absent/report.html"), "a folder that exists"),
    "no name": (lambda p: None, ("--agent", " "), "the name is empty"),
}


@pytest.mark.parametrize(("spoil", "options", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_observed_is_said_before_anything_starts(place: Place, spoil, options, said):  # type: ignore[no-untyped-def]
    spoil(place)
    done = place.agent("get_vendor", options=options)
    assert (done.status, done.out) == (2, "")
    assert said in done.said
    assert "Traceback" not in done.said
    assert not (place.folder / ".mcp-governance").exists()


def test_a_command_that_is_not_there_is_said_so(place: Place):
    done = place.observe("--", "no-such-agent", "mcp.json")
    assert done.status == 2
    assert "'no-such-agent' is not found" in done.said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(min_size=1, max_size=12)


@given(
    others=st.dictionaries(NAMES.filter(lambda name: name != "mcpServers"), VALUES, max_size=4),
    entries=st.dictionaries(NAMES, VALUES, max_size=4),
    names=st.sets(NAMES, min_size=1, max_size=4),
)
def test_rewiring_changes_servers_only_and_leaves_none_that_is_not_audited(
    others: dict[str, object], entries: dict[str, object], names: set[str]
):
    audited = {name: {"command": sys.executable, "args": ["x"], "alwaysAllow": ["y"]} for name in names}
    text = json.dumps({**others, "mcpServers": {**entries, **audited}})
    configuration = configurations.read_text(text, "mcp.json", Path("/mcp.json"))
    planned = plan(configuration, text, Path("/"), {})
    commands = {wire.name: ["shim", wire.name] for wire in planned.wires}
    assert len(commands) == len(planned.wires)
    made = json.loads(rewired(planned, commands))
    assert {key: value for key, value in made.items() if key != "mcpServers"} == others
    assert made["mcpServers"].keys() == {wire.server.name for wire in planned.wires} >= names
    for name in names:
        assert made["mcpServers"][name]["command"] == "shim"
        assert made["mcpServers"][name]["alwaysAllow"] == ["y"]


def test_a_toml_configuration_is_refused_with_what_to_do():
    configuration = configurations.read_text('[mcp_servers.a]\ncommand = "x"\n', "codex", Path("/p/.codex/config.toml"))
    with pytest.raises(ConfigurationError, match="is TOML"):
        plan(configuration, "", Path("/p"), {})
