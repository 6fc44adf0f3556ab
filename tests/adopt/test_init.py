"""Claims about `init`: with real servers it ends in a test that passes as it is, and it touches nothing unasked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_mcp_governance.adopt.configurations import find
from pytest_mcp_governance.adopt.init import choose
from pytest_mcp_governance.cli import init
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.lockfile import read_lock
from tests.adopt.offers import READ, entry, project, tool
from tests.plugin.suites import without_others

WRITTEN = [
    ".github/workflows/mcp-governance.yml",
    ".gitignore",
    "governance.policy.yaml",
    "mcp-tools.lock",
    "mcp.json",
    "pytest.ini",
    "tests/test_governance_first.py",
]
ADDS = {"readOnlyHint": False, "destructiveHint": False}
DESTROYS = {"readOnlyHint": False, "destructiveHint": True}


def run(folder: Path, *args: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(init.command, ["--dir", str(folder), *args], input=answers)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def passes(folder: Path, tests: int) -> None:
    """Run the suite as a person would, in a process of its own."""
    suite = [sys.executable, "-m", "pytest", "-q", *without_others()]
    ended = subprocess.run(suite, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{tests} passed" in ended.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project that an editor knows, with servers of every kind."""
    books = [
        tool("get_vendor", READ),
        tool("pay", DESTROYS),
        tool("note", {"readOnlyHint": False, "destructiveHint": False}),
    ]
    project(
        tmp_path,
        {
            "books": entry(tmp_path, "books", tools=books),
            "io.acme/ledger": entry(tmp_path, "ledger", tools=[tool("list_entries")], prompts=[{"name": "sum"}]),
            "empty": entry(tmp_path, "empty", resources=[]),
            "dead": entry(tmp_path, "dead", mode="die"),
            "gone": {"command": "no-such-program"},
            "bank": {**entry(tmp_path, "bank", tools=[]), "env": {"BANK_TOKEN": "abc-123-abc"}},
            "far": {"url": "https://mcp.acme.example/mcp"},
            "off": {"command": "x", "disabled": True},
        },
        ".cursor/mcp.json",
    )
    return tmp_path


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_is_terminal", lambda: True)


def test_it_ends_in_an_audited_test_of_every_server_that_passes_as_it_is(shop: Path) -> None:
    result = run(shop, "--yes")
    assert result.exit_code == 0, result.output
    passes(shop, 3)
    (folder,) = (p for p in (shop / ".mcp-governance" / "runs").glob("*") if p.is_dir())
    records = list(EvidenceReader(FolderSource(folder)).records())
    servers = {record["server"] for record in records if record["type"] == "session"}
    assert servers == {"books", "io-acme-ledger", "empty"}


def test_what_it_writes_is_what_it_showed(shop: Path) -> None:
    before = files(shop)
    result = run(shop, "--yes")
    made = {name: content for name, content in files(shop).items() if name not in before}
    assert sorted(made) == WRITTEN
    shown = result.output
    for name, content in made.items():
        block = "\n".join(f"+{line}" for line in content.decode().splitlines())
        assert block in shown, name
    assert {name: files(shop)[name] for name in before} == before


def test_the_policy_allows_what_reads_and_denies_what_destroys(shop: Path) -> None:
    run(shop, "--yes")
    text = (shop / "governance.policy.yaml").read_text()
    policy = load_policy(text, name="p")
    assert [(rule.id, rule.denies) for rule in policy.rules] == [("BOOKS-READ", False), ("BOOKS-DESTRUCTIVE", True)]
    assert "#   note: writes (readOnlyHint: false)" in text
    assert "#   list_entries: no annotations, which counts as destructive and open-world" in text
    assert "It offers 1 prompt too" in text
    lock = read_lock((shop / "mcp-tools.lock").read_text())
    assert sorted(lock.servers) == ["books", "empty", "io-acme-ledger"]


def test_servers_that_cannot_be_started_are_reported_and_left_out(shop: Path) -> None:
    output = run(shop, "--yes").output
    for line in (
        "it ended with status 7 before it answered",
        "token=[vendor_tokens]",
        "'no-such-program' was not found",
        "it needs the environment variable BANK_TOKEN, which is not set",
        "far: not started: https://mcp.acme.example over http: not audited yet",
        "off: not started: switched off",
    ):
        assert line in " ".join(output.split()), output
    assert sorted(json.loads((shop / "mcp.json").read_text())["mcpServers"]) == ["books", "empty", "io-acme-ledger"]
    assert "abc-123-abc" not in output + repr(files(shop)).replace(repr((shop / ".cursor/mcp.json").read_bytes()), "")


@pytest.mark.parametrize(("args", "status"), [(("--dry-run",), 0), (("--dry-run", "--yes"), 0), ((), 1)])
def test_it_shows_all_and_writes_nothing_where_nobody_accepts(shop: Path, args: tuple[str, ...], status: int) -> None:
    before = files(shop)
    result = run(shop, *args)
    assert (result.exit_code, files(shop)) == (status, before)
    assert "Nothing was written" in result.output
    assert "+- id: BOOKS-READ" in result.output


@pytest.mark.usefixtures("terminal")
def test_each_file_is_asked_for_and_only_what_is_accepted_is_written(shop: Path) -> None:
    before = files(shop)
    result = run(shop, answers="y\ny\ny\nn\nn\nn\nn\nn\n")
    assert result.exit_code == 0, result.output
    assert sorted(set(files(shop)) - set(before)) == ["governance.policy.yaml", "mcp.json"]
    assert "Write mcp-tools.lock? [y/N]" in result.output
    assert "Wrote 2 of 7 files" in result.output


@pytest.mark.usefixtures("terminal")
def test_no_server_is_started_that_a_person_does_not_want_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    project(tmp_path, {"a": {**entry(tmp_path, "a", tools=[]), "env": {"OFFERING_LOG": str(log)}}})
    result = run(tmp_path, answers="n\n")
    assert (result.exit_code, log.exists()) == (1, False)


def test_a_second_time_changes_nothing(shop: Path) -> None:
    run(shop, "--yes")
    before = files(shop)
    result = run(shop, "--yes")
    assert (result.exit_code, files(shop)) == (0, before)
    assert "is there already, the same" in result.output


def test_a_file_that_is_there_stays_and_the_proposal_goes_beside_it(shop: Path) -> None:
    (shop / "governance.policy.yaml").write_text("mine\x1b[2J\n")
    result = run(shop, "--yes")
    assert (shop / "governance.policy.yaml").read_text() == "mine\x1b[2J\n"
    load_policy((shop / "governance.policy.yaml.new").read_text(), name="p")
    assert "-mine\\u{1b}[2J" in result.output
    assert "\x1b" not in result.output
    again = run(shop, "--yes")
    assert "governance.policy.yaml.new is there already" in again.output


def test_an_mcp_json_that_is_there_is_used_as_it_is(shop: Path) -> None:
    mine = project(shop, {"mine": entry(shop, "mine", tools=[tool("a", READ)])})
    before = mine.read_bytes()
    result = run(shop, "--yes")
    assert mine.read_bytes() == before
    assert sorted(read_lock((shop / "mcp-tools.lock").read_text()).servers) == ["mine"]
    said = "".join(result.output.split())  # a line can be broken anywhere
    assert "books: not started: in cursor, not in mcp.json; `init --add` takes it in".replace(" ", "") in said


def test_a_server_that_starts_later_is_added_and_every_proposal_can_be_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = {**entry(tmp_path, "bank", tools=[tool("list_b", READ)]), "env": {"BANK_TOKEN": "abc-123-abc"}}
    project(tmp_path, {"books": entry(tmp_path, "books", tools=[tool("a", READ)]), "bank": bank}, ".cursor/mcp.json")
    assert "bank: did not start" in run(tmp_path, "--yes").output
    mine = tmp_path / "mcp.json"
    own = json.loads(mine.read_text())
    own["mcpServers"]["far"] = {"url": "https://mcp.acme.example/mcp", "headers": {"X-Key": "own-secret"}}
    mine.write_text(json.dumps(own))
    monkeypatch.setenv("BANK_TOKEN", "t-1")
    result = run(tmp_path, "--yes", "--add")
    assert result.exit_code == 0, result.output
    assert "own-secret" not in result.output
    made = json.loads((tmp_path / "mcp.json.new").read_text())["mcpServers"]
    assert made == own["mcpServers"] | {"bank": {**bank, "env": {"BANK_TOKEN": "${BANK_TOKEN}"}}}
    for line in result.output.splitlines():
        if line.startswith("  mv "):
            _, before, after = line.split()
            (tmp_path / before).replace(tmp_path / after)
    assert not list(tmp_path.rglob("*.new"))
    passes(tmp_path, 2)
    again = run(tmp_path, "--yes", "--add")
    assert "Nothing was written" in again.output


def test_a_playwright_server_gets_the_browser_that_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_mcp_governance.adopt.init.find_browser", lambda: Path("/chromium"))
    project(tmp_path, {"web": {"command": "npx", "args": ["@playwright/mcp@latest"]}}, ".cursor/mcp.json")
    (server,) = choose(find(tmp_path), tmp_path).servers.values()
    assert server.args == ("@playwright/mcp@latest", "--cdp-endpoint", "${MCP_AUDIT_CDP_URL}")
    project(tmp_path, {"web": {"command": "npx", "args": ["@playwright/mcp@latest"]}})
    (server,) = choose(find(tmp_path), tmp_path).servers.values()
    assert (server.args, len(server.notes)) == (("@playwright/mcp@latest",), 1)
    assert "--cdp-endpoint" in server.notes[0]


def test_a_call_that_nobody_can_guess_is_there_to_fill_in(tmp_path: Path) -> None:
    clock = {**tool("get_time", READ, zone={"type": "string"}, hour={"type": "integer"})}
    clock["inputSchema"] = {**clock["inputSchema"], "required": ["zone", "hour"]}  # type: ignore[dict-item]
    project(tmp_path, {"clock": entry(tmp_path, "clock", tools=[clock, tool("get-env", READ)])})
    assert run(tmp_path, "--yes").exit_code == 0
    test = (tmp_path / "tests" / "test_governance_first.py").read_text()
    assert '# await session.call_tool("get-env", {})' in test
    assert "idle_ok=True" in test
    compile(test.replace("# await", "await"), "t", "exec")


def test_what_gitignore_says_already_stays(tmp_path: Path) -> None:
    project(tmp_path, {"a": entry(tmp_path, "a", tools=[tool("a", READ)])})
    (tmp_path / ".gitignore").write_text("*.log\n/signing.pem")
    run(tmp_path, "--yes")
    assert (tmp_path / ".gitignore").read_text() == "*.log\n/signing.pem"
    assert (tmp_path / ".gitignore.new").read_text() == "*.log\n/signing.pem\ngovernance-report.html\n"


def test_an_mcp_json_with_a_server_behind_a_url_serves_the_others(tmp_path: Path) -> None:
    far = {"url": "https://mcp.acme.example/mcp"}
    project(tmp_path, {"mine": entry(tmp_path, "mine", tools=[tool("a", READ)]), "far": far})
    assert run(tmp_path, "--yes").exit_code == 0
    passes(tmp_path, 1)


@pytest.mark.parametrize(("name", "servers"), [("a b", {"command": "x"}), ("a", 5)])
def test_an_mcp_json_that_no_test_could_use_is_told_first(tmp_path: Path, name: str, servers: object) -> None:
    project(tmp_path, {name: servers})
    result = run(tmp_path, "--yes")
    assert result.exit_code == 1
    assert "cannot be used as it is" in result.output


def test_pytest_settings_that_are_there_are_enough(shop: Path) -> None:
    (shop / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    run(shop, "--yes")
    assert not (shop / "pytest.ini").exists()


def test_a_folder_without_servers_says_where_they_were_looked_for(tmp_path: Path) -> None:
    result = run(tmp_path, "--yes")
    assert (result.exit_code, files(tmp_path)) == (1, {})
    assert "No stdio server to start. Looked for mcp.json" in result.output


def test_personal_configurations_are_read_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    projects = {
        str(folder): {"mcpServers": {"a": entry(folder, "a", tools=[])}},
        "/elsewhere": {"mcpServers": {"b": {"command": "x"}}},
    }
    (home / ".claude.json").write_text(json.dumps({"projects": projects}))
    assert run(folder, "--dry-run").exit_code == 1
    result = run(folder, "--dry-run", "--user")
    assert result.exit_code == 0, result.output
    assert "b: not started: for the project /elsewhere" in result.output


def test_hostile_configurations_reach_the_terminal_escaped(tmp_path: Path) -> None:
    project(tmp_path, {"a\x1b[2J\u202e": {"command": "x\x1b]0;", "args": ["\x07"]}, "b\x1b": 5}, ".mcp.json")
    result = run(tmp_path, "--yes")
    assert result.exit_code == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(result.output)
