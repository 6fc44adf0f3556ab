"""The outline of a run too large for one file: its figures are a report's, its size is bounded, it claims little."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.statements import sign_bundle
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.report.outline import MOST_ROWS
from pytest_mcp_governance.run import close
from pytest_mcp_governance.run.open import OpenRun, open_run
from pytest_mcp_governance.session.settings import RecorderConfig

TEST = ("gateway", 1)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def config(tmp_path: Path) -> RecorderConfig:
    return RecorderConfig(
        run="run-1",
        run_dir=tmp_path / "runs" / "run-1",
        segment="main",
        rootdir=tmp_path,
        main=True,
        report_copy=tmp_path / "report.html",
        controller_pid=1,
        stays=True,
    )


def record(run: OpenRun, tools: list[str], agent: str = "clerk") -> None:
    """A call of each tool, every third of them denied, with an access of each."""
    append = run.segment.append
    append("selection", {"selected": ["gateway"], "unaudited": 0, "deselected": 0, "collection": "0" * 64})
    append("test", {"phase": "start", "nodeid": Committed("gateway")}, test=TEST)
    append("policy", {"sha256": "ab" * 32, "sources": [], "mode": "enforce"}, test=TEST)
    append("session", {"state": "opened", "conn": "c1", "server": "books", "agent": agent}, test=TEST)
    for number, tool in enumerate(tools):
        about = {"conn": "c1", "server": "books", "agent": agent, "tool": tool}
        asked = {"direction": "c2s", "kind": "request", "method": "tools/call", "origin": "received", "id": number}
        ref = append("msg", {**asked, **about, "wire": Committed("secret words")}, test=TEST)
        denied = number % 3 == 2
        verdict = {"verdict": "deny", "effect": "block"} if denied else {"verdict": "allow", "effect": "forward"}
        decision = append(
            "decision", {"moment": "before", "rule": "R", "clause": "c", "ref": ref, **verdict}, test=TEST
        )
        access = {"scope": "people", "class": "pii", "status": "in", "how": "detected", "ref": ref, "fields": []}
        append("access", {"agent": agent, "server": "books", "tool": tool, **access}, test=TEST)
        if denied:
            found = {"state": "blocked", "mode": "enforce", "rule": "R", "clause": "c", "expected": False}
            append("finding", {**found, **about, "controls": [], "refs": [ref, decision]}, test=TEST)
    append("test", {"phase": "end", "outcome": "passed"}, test=TEST)


def closed(run: OpenRun) -> dict[str, object]:
    def sign(statement: object) -> bytes:
        return sign_bundle(statement, run.identity)  # type: ignore[arg-type]  # what close makes

    ended = close.end_segment(run)
    return close.close_run(ended, sign, complete=True, reason="", workers={}, secrets=frozenset())


@pytest.fixture
def outline(config: RecorderConfig, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    monkeypatch.setattr(close, "MOST_IN_ONE_FILE_BYTES", 10)

    def make(tools: list[str], agent: str = "clerk") -> dict[str, object]:
        run = open_run(config)
        record(run, tools, agent)
        return closed(run)

    return make


def test_its_figures_are_those_of_a_whole_report(config: RecorderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for number, limit in enumerate((10**9, 10)):
        monkeypatch.setattr(close, "MOST_IN_ONE_FILE_BYTES", limit)
        name = f"run-{number}"
        run = open_run(replace(config, run=name, run_dir=config.run_dir.with_name(name)))
        record(run, ["get_a", "get_b", "drop"] * 4)
        told.append(closed(run))
    whole, outline = told
    for same in ("judged", "findings", "unexpected", "unexpected_reached", "tests", "status", "problems"):
        assert outline[same] == whole[same], same
    counted = [[{k: a[k] for k in ("agent", "calls", "denied", "findings")} for a in t["agents"]] for t in told]  # type: ignore[attr-defined]
    assert counted[0] == counted[1] == [{"agent": "clerk", "calls": 12, "denied": 4, "findings": 4}]
    lines = [[(f["rule"], f["tool"], f["state"], f["outcome"]) for f in t["finding_lines"]] for t in told]  # type: ignore[attr-defined]
    assert lines[0] == lines[1]


def test_the_run_folder_is_the_evidence_and_the_page_does_not_pass_for_it(
    config: RecorderConfig, outline: Callable[..., dict[str, object]]
) -> None:
    fingerprint = str(outline(["get_a"])["fingerprint"])
    assert verify(config.run_dir, trust=[fingerprint]).outcome.name == "VERIFIED"
    page = verify(config.report_copy, trust=[fingerprint])
    assert page.outcome.name == "INCOMPLETE"
    assert "verify its run folder" in page.problems[0].text
    changed = config.report_copy.read_bytes().replace(b"An outline.", b"A summary.")
    assert verify(changed, trust=[fingerprint]).outcome.name == "TAMPERED"


def test_it_shows_no_value_and_no_markup_of_an_agents(
    config: RecorderConfig, outline: Callable[..., dict[str, object]]
) -> None:
    outline([HOSTILE, "get_a", HOSTILE], agent=HOSTILE)
    page = config.report_copy.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "alert(1)" in page
    assert "secret words" not in page


def test_an_agent_that_invents_names_does_not_make_it_grow(
    config: RecorderConfig, outline: Callable[..., dict[str, object]]
) -> None:
    result = outline([f"tool_{number}" for number in range(3 * MOST_ROWS)])
    page = config.report_copy.read_text(encoding="utf-8")
    assert page.count("<tr>") < 3 * MOST_ROWS
    assert len(page) < 500_000
    (agent, others) = sorted(result["agents"], key=lambda a: a["agent"])  # type: ignore[call-overload]
    assert agent["calls"] + others["calls"] == 3 * MOST_ROWS


def test_a_run_that_does_not_stay_is_never_an_outline(config: RecorderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(close, "MOST_IN_ONE_FILE_BYTES", 10)
    run = open_run(replace(config, stays=False))
    record(run, ["get_a"])
    fingerprint = str(closed(run)["fingerprint"])
    assert verify(config.report_copy, trust=[fingerprint]).outcome.name == "VERIFIED"
