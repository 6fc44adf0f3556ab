"""`mcp-governance policy diff`: exit codes, what people read, and revisions of a real repository."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_mcp_governance.cli import main
from tests.policy.cases import BOOKS

WIDER = BOOKS + "- {id: PAY, allow: [bank.pay]}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books.yaml").write_text(BOOKS)
    (tmp_path / "wider.yaml").write_text(WIDER)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", "diff", *arguments])


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@t.example"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_wider_policy_exits_1_and_names_agent_and_tool(folder: Path):
    result = run("books.yaml", "wider.yaml")
    assert result.exit_code == 1
    assert result.output == (
        "WIDER  bank.pay  for any agent\n"
        "  before  denied: no rule allows it\n"
        "  after   allowed by PAY\n"
        "\n"
        "1 change lets agents do more, or may.\n"
    )


def test_a_narrower_policy_and_the_same_one_exit_0(folder: Path):
    assert run("wider.yaml", "books.yaml").exit_code == 0
    same = run("books.yaml", "books.yaml")
    assert (same.exit_code, same.output) == (0, "What agents may do stays the same.\n")


def test_a_revision_is_compared_with_the_file_beside_it(folder: Path):
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "books.yaml").write_text(WIDER)
    assert run("git:HEAD:books.yaml", "books.yaml").exit_code == 1
    (folder / "books.yaml").unlink()
    gone = run("git:HEAD:books.yaml", "books.yaml")
    assert gone.exit_code == 1
    assert "no policy: nothing is judged or blocked" in gone.output
    new = run("git:HEAD:new.yaml", "wider.yaml")
    assert new.exit_code == 1 and "--allow-new" in new.output
    assert run("git:HEAD:new.yaml", "wider.yaml", "--allow-new").exit_code == 0


def test_what_cannot_be_read_exits_2_on_one_screen(folder: Path):
    (folder / "broken.yaml").write_text("governance: 1\npolicy: p\nrulse: []\n")
    broken = run("books.yaml", "broken.yaml")
    assert broken.exit_code == 2 and "broken.yaml:3:1" in broken.output
    assert run("git:nowhere:books.yaml", "books.yaml").exit_code == 2
    assert run("no.yaml", "none.yaml", "--allow-new").exit_code == 2
    assert run("books.yaml", "books.yaml", "--json", "--markdown").exit_code == 2


def test_json_and_markdown_say_the_same(folder: Path):
    told = json.loads(run("books.yaml", "wider.yaml", "--json").output)
    assert told["widens"] is True
    assert [(c["direction"], c["agent"], c["tool"]) for c in told["changes"]] == [("wider", "any agent", "bank.pay")]
    page = run("books.yaml", "wider.yaml", "--markdown")
    assert page.exit_code == 1
    assert "| **WIDER** | any agent | bank.pay | denied: no rule allows it | allowed by PAY |" in page.output


def test_names_from_a_policy_cannot_steer_a_terminal(folder: Path):
    (folder / "hostile.yaml").write_text(BOOKS + '- {id: X, allow: ["bank.\\x1b[2J\\u202e"]}\n')
    output = run("books.yaml", "hostile.yaml").output
    assert "\x1b" not in output and "\u202e" not in output
    assert "bank.\\u{1b}" in output


LIMITED = """\
governance: 1
policy: pay
rules:
- {id: PAY, allow: [bank.pay], args: {amount: {type: integer, max: 50}}}
"""
HIGHER = LIMITED.replace("max: 50", "max: 90")
WAIVERS = """\
waivers:
- {id: W-7, rule: PAY, args: {amount: {max: 90}}, agents: ["*"], ticket: G-1, owner: o, expires: 2999-01-01, reason: r}
"""


def test_a_change_cannot_waive_its_own_widening(folder: Path):
    (folder / "limited.yaml").write_text(LIMITED)
    (folder / "own.yaml").write_text(HIGHER + WAIVERS)
    result = run("limited.yaml", "own.yaml")
    assert result.exit_code == 1 and "WIDER  bank.pay" in result.output


def test_a_waiver_from_before_and_one_of_the_floor_waive(folder: Path):
    (folder / "limited.yaml").write_text(LIMITED)
    (folder / "waived.yaml").write_text(LIMITED + WAIVERS)
    (folder / "higher.yaml").write_text(HIGHER + WAIVERS)
    waived = run("waived.yaml", "higher.yaml")
    assert waived.exit_code == 0
    assert waived.output.startswith("WIDER, waiver W-7  bank.pay  for any agent\n")
    (folder / "higher.yaml").write_text(HIGHER)
    assert run("limited.yaml", "higher.yaml").exit_code == 1
    floor = run("limited.yaml", "higher.yaml", "--floor", "waived.yaml")
    assert floor.exit_code == 0 and "waiver W-7" in floor.output
    assert run("limited.yaml", "higher.yaml", "--floor", "none.yaml").exit_code == 2


def test_an_expired_waiver_waives_nothing(folder: Path):
    expired = WAIVERS.replace("2999", "2001")
    (folder / "before.yaml").write_text(LIMITED + expired)
    (folder / "after.yaml").write_text(HIGHER + expired)
    assert run("before.yaml", "after.yaml").exit_code == 1
