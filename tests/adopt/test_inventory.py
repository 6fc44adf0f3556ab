"""An inventory names what projects configure and declare, and what no evidence that verifies has ever seen."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.adopt.inventory import take_inventory
from pytest_mcp_governance.cli.inventory import command
from tests.adopt.test_observe import CLI, Place

POLICY = """\
governance: 1
policy: books
agents:
  clerks: ["clerk-*"]
  auditors: [auditor-1]
data:
  vendor: {results: {"books.get_vendor": ["$"]}}
  payroll: {class: pii, detect: [us_ssn]}
rules:
- {id: READ, allow: ["books.*"], to: [clerks, auditors, "night-*"]}
"""


def configure(folder: Path, name: str, *servers: str, key: str = "mcpServers") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: {server: {"command": "x"} for server in servers}}), encoding="utf-8")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose agent clerk-7 has once been observed."""
    folder = tmp_path_factory.mktemp("observed")
    place = Place(folder)
    (folder / "governance.policy.yaml").write_text(POLICY, encoding="utf-8")
    assert place.agent("get_vendor", options=("--agent", "clerk-7")).status == 0
    return folder


def test_an_agent_that_was_declared_and_never_seen_is_the_gap_and_one_that_was_seen_is_not(observed: Path):
    found = take_inventory([observed])
    gap = {(thing.kind, thing.name) for thing in found.gap}
    assert {("agent", "auditor-1"), ("agent", "night-*"), ("data scope", "payroll")} <= gap
    seen = {(thing.kind, thing.name) for thing in found.things if thing.seen}
    assert {("agent", "clerk-*"), ("server", "books"), ("data scope", "vendor")} <= seen
    assert ("agent", "the agent behind mcp.json") in seen
    assert [(thing.kind, thing.name) for thing in found.undeclared] == [("tool", "books.get_vendor")]


def test_plain_configurations_name_the_agents_behind_them_as_never_seen(tmp_path: Path):
    configure(tmp_path / "a", ".mcp.json", "files", "git")
    configure(tmp_path / "b", ".cursor/mcp.json", "files")
    configure(tmp_path / "c", ".vscode/mcp.json", "memory", key="servers")
    for name in ("a", "b", "c"):
        (tmp_path / name / ".git").mkdir()
    gap = {(t.project, t.name) for t in take_inventory([tmp_path]).gap if t.kind == "agent"}
    assert gap == {
        ("a", "Claude Code behind a/.mcp.json"),
        ("b", "Cursor behind b/.cursor/mcp.json"),
        ("c", "VS Code behind c/.vscode/mcp.json"),
    }


def test_evidence_of_one_project_says_nothing_of_another_unless_it_is_named(observed: Path, tmp_path: Path):
    configure(tmp_path, "mcp.json", "books")
    assert [thing.name for thing in take_inventory([tmp_path]).gap if thing.kind == "server"] == ["books"]
    named = take_inventory([tmp_path], [observed / "governance-report.html"])
    assert [thing.name for thing in named.gap if thing.kind == "server"] == []


def test_evidence_that_was_tampered_with_is_named_and_counts_as_nothing(observed: Path, tmp_path: Path):
    configure(tmp_path, "mcp.json", "books")
    report = (observed / "governance-report.html").read_bytes()
    (tmp_path / "governance-report.html").write_bytes(report.replace(b"<h1", b"<H1", 1))
    found = take_inventory([tmp_path])
    assert [(e.outcome, e.counts) for e in found.evidence] == [("TAMPERED", False)]
    assert [thing.name for thing in found.gap if thing.kind == "server"] == ["books"]
    assert "not counted: governance-report.html is TAMPERED" in run(tmp_path).output


def test_agents_are_read_from_tests_and_environments_and_dependencies_are_passed_over(tmp_path: Path):
    test = 'def test_a(mcp_audit):\n    with mcp_audit.gateway("x", agent="night-clerk") as gw: pass\n'
    for place in ("tests", "node_modules/dep", ".venv"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "test_it.py").write_text(test.replace("night", place[:5]), encoding="utf-8")
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    assert [thing.name for thing in take_inventory([tmp_path]).things] == ["tests-clerk"]


def test_a_link_out_of_the_folder_is_not_followed(observed: Path, tmp_path: Path):
    (tmp_path / "elsewhere").symlink_to(observed)
    assert take_inventory([tmp_path]).configurations == ()


def test_what_cannot_be_used_is_a_problem_and_costs_nothing_else(tmp_path: Path):
    configure(tmp_path, "mcp.json", "files")
    (tmp_path / ".mcp.json").write_text("{", encoding="utf-8")
    (tmp_path / "bad.policy.yaml").write_text("governance: 1\nrules: 7\n", encoding="utf-8")
    (tmp_path / "mcp-tools.lock").write_bytes(b"\xff")
    (tmp_path / "test_x.py").write_text("def (", encoding="utf-8")
    found = take_inventory([tmp_path])
    assert [thing.name for thing in found.things if thing.kind == "server"] == ["files"]
    assert len(found.problems) == 3
    assert run(tmp_path).exit_code == 0


def test_names_cannot_draw_on_the_terminal_or_the_page(tmp_path: Path):
    configure(tmp_path, "mcp.json", "\x1b[2J[bold]|`<b>\u202e")
    for form in ((), ("--markdown",)):
        output = run(tmp_path, *form).output
        assert "\x1b[2J" not in output
        assert "\u202e" not in output
    assert "<b>" not in run(tmp_path, "--markdown").output.replace("`<b>", "")  # only inside a code span


def test_the_command_ends_with_1_for_a_gap_only_where_that_is_asked_for(tmp_path: Path):
    assert run(tmp_path, "--fail-on-gap").exit_code == 0
    configure(tmp_path, "mcp.json", "files")
    assert (run(tmp_path).exit_code, run(tmp_path, "--fail-on-gap").exit_code) == (0, 1)
    assert json.loads(run(tmp_path, "--json").output)["gap"][0]["kind"] == "agent"
    assert run(tmp_path / "absent").exit_code == 2
    assert run(tmp_path, "--evidence", tmp_path / "absent").exit_code == 2


def test_the_installed_command_prints_a_table_that_fits_80_columns(observed: Path):
    done = subprocess.run(
        [*CLI, "inventory", "."], cwd=observed, capture_output=True, text=True, check=False, env={"COLUMNS": "80"}
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "auditor-1" in done.stdout


@given(
    st.dictionaries(
        st.sampled_from(["mcp.json", ".mcp.json", "a.policy.yaml", "mcp-tools.lock", "test_a.py"]),
        st.binary(max_size=60),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_file_can_stop_an_inventory(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]):
    folder = tmp_path_factory.mktemp("any")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    take_inventory([folder])
