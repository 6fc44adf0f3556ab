"""Evidence beside a server's own log: a call that went past the recorder is found, and only what is known is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.cli.reconcile import command
from pytest_mcp_governance.run.reconcile import RecordedCall, reconcile
from pytest_mcp_governance.run.serverlog import LoggedCall, ServerLog, canonical, compile_pattern, read_log
from tests.adopt.test_observe import SERVER, Place


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent was observed on a real server behind `tee`, which keeps what the server was really sent."""
    place = Place(tmp_path_factory.mktemp("observed"))
    shell = f"tee wire.log | {sys.executable} {SERVER}"
    place.configure({"books": {"command": "sh", "args": ["-c", shell]}})
    assert place.agent("get_vendor", "pay", "get_vendor").status == 0
    return place.folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def log_of(observed: Path, tmp_path: Path, *more: str) -> Path:
    path = tmp_path / "server.log"
    path.write_text((observed / "wire.log").read_text(encoding="utf-8") + "".join(more), encoding="utf-8")
    return path


def test_what_the_server_was_sent_is_what_the_evidence_says(observed: Path, tmp_path: Path):
    result = run(observed / "governance-report.html", "--server-log", log_of(observed, tmp_path))
    assert result.exit_code == 0, result.output
    assert "matched    3 by tool and arguments" in result.output
    assert "the server's word" in result.output


def test_a_call_that_went_past_the_recorder_is_found_by_its_line(observed: Path, tmp_path: Path):
    bypass = json.dumps(
        {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "pay", "arguments": {"x": 1}}}
    )
    log = log_of(observed, tmp_path, bypass + "\n")
    result = run(observed / "governance-report.html", "--server-log", log)
    assert result.exit_code == 1
    assert f"line {len(log.read_text().splitlines())}  pay" in result.output


def test_a_call_that_the_server_does_not_know_is_told(observed: Path, tmp_path: Path):
    log = log_of(observed, tmp_path)
    kept = [line for line in log.read_text().splitlines(keepends=True) if '"pay"' not in line]
    log.write_text("".join(kept))
    result = run(observed / "governance-report.html", "--server-log", log)
    assert result.exit_code == 3
    assert "only in evidence  1" in result.output
    assert "pay by agent" in result.output


def test_a_text_log_is_matched_by_the_tool_alone_and_said_to_be(observed: Path, tmp_path: Path):
    log = tmp_path / "text.log"
    log.write_text("start\ncalled get_vendor\ncalled pay\ncalled get_vendor\n")
    result = run(observed / "governance-report.html", "--server-log", log, "--pattern", r"called (?P<tool>\w+)")
    assert result.exit_code == 3
    assert "3 by the tool's name alone" in result.output


def test_what_cannot_be_compared_is_said(observed: Path, tmp_path: Path):
    report = observed / "governance-report.html"
    empty = tmp_path / "empty.log"
    empty.write_text("nothing here\n")
    log = log_of(observed, tmp_path)
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_bytes(report.read_bytes().replace(b"<h1", b"<H1", 1))
    for arguments, code, said in (
        ((report, "--server-log", tmp_path / "absent"), 2, "cannot be read"),
        ((report, "--server-log", empty), 2, "no call that can be read"),
        ((report, "--server-log", log, "--pattern", "("), 2, "no regular expression"),
        ((report, "--server-log", log, "--pattern", "x"), 2, "no group named tool"),
        ((report, "--server-log", log, "--server", "other"), 2, "it has books"),
        ((spoiled, "--server-log", log), 1, "TAMPERED"),
        ((tmp_path / "absent.html", "--server-log", log), 2, "MALFORMED"),
    ):
        result = run(*arguments)
        assert (result.exit_code, said in result.output) == (code, True), result.output


TOOLS = st.sampled_from(["get", "pay"])
ARGUMENTS = st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2).map(canonical)
CALLS = st.lists(st.tuples(TOOLS, ARGUMENTS), max_size=8)


@given(logged=CALLS, recorded=CALLS)
def test_every_call_is_accounted_for_exactly_once_and_known_differences_never_match(
    logged: list[tuple[str, str | None]], recorded: list[tuple[str, str | None]]
):
    log = ServerLog(tuple(LoggedCall(n, tool, args) for n, (tool, args) in enumerate(logged, 1)), 0)
    left = [RecordedCall(f"main/{n}", "a", tool, args) for n, (tool, args) in enumerate(recorded)]
    found = reconcile("s", left, log)
    pairs = [*found.matched, *found.by_tool]
    assert sorted([c.line for c, _ in pairs] + [c.line for c in found.only_in_log]) == list(range(1, len(logged) + 1))
    assert sorted([r.ref for _, r in pairs] + [r.ref for r in found.only_in_evidence]) == sorted(r.ref for r in left)
    assert all(c.tool == r.tool for c, r in pairs)
    assert all(c.arguments == r.arguments for c, r in found.matched)
    assert all(None in (c.arguments, r.arguments) for c, r in found.by_tool)


@given(st.lists(st.text(max_size=60)))
def test_no_line_can_stop_the_reading_of_a_log(lines: list[str]):
    read = read_log(lines)
    assert len(read.calls) + read.others <= sum(bool(line.strip()) for line in lines) + len(read.calls)
    read_log(lines, compile_pattern(r"(?P<tool>\w+) ?(?P<args>.*)"))


@given(tool=TOOLS, arguments=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_a_call_reads_the_same_from_every_form_of_line(tool: str, arguments: dict[str, object]):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    backwards = dict(reversed(arguments.items()))
    forms = (
        json.dumps(message),
        json.dumps([message]),
        "2026-01-01 INFO " + json.dumps(message),
        json.dumps({"time": 1, "tool": tool, "args": backwards}),
        json.dumps({"name": tool, "arguments": backwards}),
    )
    assert {call.arguments for form in forms for call in read_log([form]).calls} == {canonical(arguments)}
    assert all(len(read_log([form]).calls) == 1 for form in forms)


def test_the_command_is_there() -> None:
    help_text = subprocess.run(
        [sys.executable, "-c", "from pytest_mcp_governance.cli import main; main(['reconcile', '--help'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "went past the recorder" in help_text
