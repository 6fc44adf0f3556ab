"""Findings as annotations: one line each, nothing recorded becomes a command, no more than GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.escaping import command_data, command_property
from pytest_mcp_governance.report.github import annotate

from .conftest import Rendered
from .other_runs import broken_run, hostile_run
from .sample_run import Scribe, reader_of

COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^,:]*)(?:,[a-z]+=[^,:]*)*)::(.*)")


def read(line: str) -> tuple[str, dict[str, str], str]:
    """As the runner reads it."""
    match = COMMAND.fullmatch(line)
    assert match, line
    given = dict(part.split("=", 1) for part in match[2].split(","))
    return match[1], {key: unquote(value) for key, value in given.items()}, unquote(match[3])


def test_a_finding_is_an_error_at_the_line_of_its_rule(tmp_path: Path) -> None:
    first, *_ = annotate(collect(broken_run(tmp_path)[0]))
    kind, given, message = read(first)
    assert (kind, given) == (
        "error",
        {"file": "ledgerline-agents.policy.yaml", "line": "9", "title": "READ-BOOKS: Reached"},
    )
    assert message == (
        "payables-3 called files.read_text_file against rule READ-BOOKS. It was not blocked: The answer came "
        "from /srv/hr, through a link in /srv/books. In test_x.py::test_refunds (failed)."
    )


def test_a_finding_whose_rule_has_no_line_stands_at_its_test(tmp_path: Path) -> None:
    assert read(annotate(collect(broken_run(tmp_path)[0]))[1])[1]["file"] == "test_x.py"


def test_paths_start_at_the_repository_and_not_at_pytests_root(tmp_path: Path) -> None:
    lines = annotate(collect(broken_run(tmp_path)[0]), folder="services/agents")
    assert read(lines[0])[1]["file"] == "services/agents/ledgerline-agents.policy.yaml"


def test_an_observed_finding_is_a_notice_and_an_expected_one_is_none(sample: Rendered) -> None:
    (line,) = annotate(collect(sample.reader))
    assert line.startswith("::notice file=exports-watch.policy.yaml,line=6,title=NO-EXPORT%3A Observed::")


@pytest.mark.parametrize(
    ("gate", "kinds"),
    [
        ("any", {"reached": "error", "blocked": "error", "unproven": "error"}),
        ("reached", {"reached": "error", "blocked": "warning", "unproven": "error"}),
        ("off", {"reached": "warning", "blocked": "warning", "unproven": "warning"}),
        ("a gate of a later version", {"reached": "error", "blocked": "error", "unproven": "error"}),
    ],
)
def test_what_the_runs_gate_lets_pass_is_a_warning(tmp_path: Path, gate: str, kinds: dict[str, str]) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    for state in kinds:
        at.finding(state, state, at.denied("f", "w", {}, "NO", "no"), "no", server="f", tool="w")
    at.end("failed")
    at.close()
    lines = annotate(replace(collect(reader_of(tmp_path)), gate=gate))
    assert {read(line)[1]["title"].partition(":")[0]: read(line)[0] for line in lines} == kinds


def test_what_exceeds_githubs_limit_is_counted(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    for number in range(25):
        at.finding("blocked", f"RULE-{number}", at.denied("f", "w", {}, "NO", "no"), "no", server="f", tool="w")
    at.end("failed")
    at.close()
    lines = annotate(collect(reader_of(tmp_path)))
    assert len(lines) == 10
    assert lines[-1] == "::error title=mcp governance::And 16 more findings, in the report."


def test_hostile_names_stay_inside_their_annotation(tmp_path: Path) -> None:
    lines = annotate(collect(hostile_run(tmp_path)[0]))
    assert lines
    for line in lines:
        assert line.isprintable()
        read(line)


@pytest.mark.parametrize(
    "source", ["/etc/passwd:3", "../../x.yaml:3", "git:origin/main:p.yaml:3", "p.yaml:x", "a\\b:1"]
)
def test_a_place_outside_the_project_is_not_pointed_at(tmp_path: Path, source: str) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    at.finding("blocked", "R", at.denied("f", "w", {}, "NO", "no"), "no", server="f", tool="w", source=source)
    at.end("failed")
    at.close()
    assert read(annotate(collect(reader_of(tmp_path)))[0])[1]["file"] == "test_a.py"


@given(st.text())
def test_a_command_reads_back_as_what_was_written(value: str) -> None:
    assert unquote(command_data(value)) == value if "%" not in value else "%25" in command_data(value)
    assert not set("\r\n") & set(command_data(value))
    assert not set("\r\n:,") & set(command_property(value))
