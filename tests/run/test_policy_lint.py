"""`mcp-governance policy lint`: exit codes, what people read, and the lock file beside a policy."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.policy.lockfile import LOCK_NAME, Lock, LockedServer, locked_tool, write_lock
from tests.policy.cases import BOOKS

SOUND = BOOKS + "owner: {team: t}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.yaml").write_text(SOUND)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", "lint", *arguments])


def test_a_sound_policy_exits_0(folder: Path):
    result = run("sound.yaml")
    assert (result.exit_code, result.output) == (0, "1 policy checked: no errors, no warnings\n")


def test_warnings_exit_1_unless_only_warned(folder: Path):
    (folder / "loose.yaml").write_text(SOUND + "review_by: 2020-01-01\n")
    result = run("loose.yaml", "sound.yaml")
    assert result.exit_code == 1
    assert result.output == (
        "loose.yaml: its review was due on 2020-01-01: read it, set a new day [review-due]\n"
        "2 policies checked: no errors, 1 warning\n"
    )
    assert run("loose.yaml", "--warn-only").exit_code == 0


def test_a_hint_is_shown_and_fails_only_a_strict_check(folder: Path):
    """What `init` proposes has no owner yet and denies what nothing allows: its own hook must let it through."""
    (folder / "proposed.yaml").write_text(BOOKS + "- {id: SAFE, deny: ['books.drop_*']}\n")
    result = run("proposed.yaml")
    assert (result.exit_code, result.output.count("hint: ")) == (0, 2)
    assert "hint: nobody owns this policy: add owner: {team: …} [no-owner]" in result.output
    assert "no errors, no warnings, 2 hints" in result.output
    assert run("proposed.yaml", "--strict").exit_code == 1


def test_a_file_that_cannot_be_read_exits_2_and_hides_no_other(folder: Path):
    (folder / "loose.yaml").write_text(BOOKS)
    (folder / "broken.yaml").write_text("governance: 1\npolicy: p\nmode: enfroce\nrules: []\n")
    result = run("broken.yaml", "none.yaml", "loose.yaml", "--warn-only")
    assert result.exit_code == 2
    assert "error: broken.yaml:" in result.output and "[no-owner]" in result.output
    assert "2 errors, no warnings, 1 hint" in result.output
    assert run().exit_code == 2


def test_the_lock_file_beside_the_policy_is_used(folder: Path):
    server = LockedServer("0" * 64, "books", "1", "2025-06-18")
    lock = Lock({"books": server}, (locked_tool("books", {"name": "get_a"}),))
    (folder / LOCK_NAME).write_text(write_lock(lock))
    told = json.loads(run("sound.yaml", "--json").output)
    assert [warning["code"] for warning in told[0]["warnings"]] == ["no-such-tool", "destructive"]
    (folder / LOCK_NAME).rename(folder / "other.lock")
    assert run("sound.yaml").exit_code == 0
    assert run("sound.yaml", "--lock", "other.lock").exit_code == 1
    assert run("sound.yaml", "--lock", "none.lock").exit_code == 2
    (folder / "other.lock").write_text("{}")
    assert run("sound.yaml", "--lock", "other.lock").exit_code == 2
