"""Claims about looking for what a machine lacks and getting it; no step here installs anything."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.adopt.checks import LOOKS, Check, check, find_node, run_checks
from pytest_mcp_governance.adopt.setup import Remedy, set_up
from pytest_mcp_governance.cli.doctor import command, table
from pytest_mcp_governance.errors import SetupError


def nothing_in_the_way() -> str | None:
    return None


def remedy(*programs: str, obstacle: Callable[[], str | None] = nothing_in_the_way, limit_s: float = 30.0) -> Remedy:
    commands = tuple((sys.executable, "-c", program) for program in programs)
    return Remedy("pip install thing", obstacle, commands, limit_s, {})


def look_for(thing: Path) -> Callable[[str], Check]:
    """A machine that has everything, and a browser if `thing` exists."""

    def look(name: str) -> Check:
        if name != "browser" or thing.exists():
            return Check(name, True, "there")
        return Check(name, False, "no browser at all", "install one")

    return look


def fix(thing: Path, remedies: Sequence[Remedy]) -> tuple[Check, ...]:
    return set_up(lambda line: None, look=look_for(thing), remedies={"browser": remedies})


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "browser").touch()
    checks = fix(tmp_path / "browser", [remedy(f"open({str(tmp_path / 'installed')!r}, 'w')")])
    assert all(found.ok for found in checks)
    assert [found.name for found in checks] == list(LOOKS)
    assert not (tmp_path / "installed").exists()


def test_a_remedy_that_works_ends_the_search(tmp_path: Path) -> None:
    browser, other = tmp_path / "browser", tmp_path / "other"
    checks = fix(browser, [remedy(f"open({str(browser)!r}, 'w')"), remedy(f"open({str(other)!r}, 'w')")])
    assert all(found.ok for found in checks)
    assert not other.exists()


def test_a_remedy_that_fails_gives_way_to_the_next(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    checks = fix(browser, [remedy("raise SystemExit(3)"), remedy(f"open({str(browser)!r}, 'w')")])
    assert all(found.ok for found in checks)


def test_a_step_that_cannot_work_says_which_why_and_what_to_do(tmp_path: Path) -> None:
    remedies = [
        remedy("print('no route to host'); raise SystemExit(7)"),
        remedy(obstacle=lambda: "it needs an administrator"),
        remedy("pass"),
    ]
    with pytest.raises(SetupError) as error:
        fix(tmp_path / "browser", remedies)
    text = str(error.value)
    assert text.startswith("set-up step failed: browser\n  why: no browser at all")
    assert "exit code 7 | no route to host" in text
    assert "it needs an administrator" in text
    assert "it ended well, and yet: no browser at all" in text
    assert text.endswith("do:  install one")
    assert len(text.splitlines()) < 20


def test_a_step_that_hangs_ends_at_its_limit_with_its_children(tmp_path: Path) -> None:
    hang = "import subprocess; subprocess.run(['sleep', '60'])"
    begin = time.monotonic()
    with pytest.raises(SetupError, match="no end after 1 s"):
        fix(tmp_path / "browser", [remedy(hang, limit_s=1.0)])
    assert time.monotonic() - begin < 20


def test_a_program_that_is_not_there_is_a_reason_and_not_a_traceback(tmp_path: Path) -> None:
    absent = Remedy("absent", nothing_in_the_way, ((str(tmp_path / "absent"),),), 5.0, {})
    with pytest.raises(SetupError, match="cannot be run: No such file"):
        fix(tmp_path / "browser", [absent])


def test_node_needs_npm_and_npx_beside_it_and_a_supported_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    with pytest.raises(SetupError, match="none on PATH"):
        find_node({"PATH": str(tmp_path)})
    executable(tmp_path / "bare" / "node", "echo v22.1.0")
    for tool in ("npm", "npx"):
        executable(tmp_path / "old" / tool, "true")
        executable(tmp_path / "good" / tool, "true")
    executable(tmp_path / "old" / "node", "echo v18.19.1")
    good = executable(tmp_path / "good" / "node", "echo v22.1.0")
    unfit = os.pathsep.join(str(tmp_path / name) for name in ("bare", "old"))
    with pytest.raises(SetupError, match=r"no npm and no npx beside it; .*old/node is version 18\.19\.1"):
        find_node({"PATH": unfit})
    assert find_node({"PATH": f"{unfit}{os.pathsep}{tmp_path / 'good'}"}) == (good, "22.1.0")


def test_doctor_ends_with_1_and_says_what_to_do_where_a_browser_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_GOVERNANCE_BROWSER", str(tmp_path / "absent"))
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert "FAIL  browser" in result.output
    assert "do: Set it to the path of a Chromium" in result.output


def test_doctor_and_set_up_look_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOOKS:
        monkeypatch.setitem(LOOKS, name, lambda: "there")
    read_only, fixed = CliRunner().invoke(command, []), CliRunner().invoke(command, ["--fix"])
    assert (read_only.exit_code, fixed.exit_code) == (0, 0)
    assert read_only.output == fixed.output == "\n".join(table(run_checks())) + "\n"


def test_a_browser_that_does_not_start_is_told_apart_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = executable(tmp_path / "chromium", "echo 'libnss3.so: cannot open' >&2; exit 127")
    monkeypatch.setenv("MCP_GOVERNANCE_BROWSER", str(broken))
    found = check("browser")
    assert not found.ok
    assert "did not start" in found.seen
    assert "libnss3.so" in found.seen
    assert found.remedy.startswith("install a Chromium that starts")
