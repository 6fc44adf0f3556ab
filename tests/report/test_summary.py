"""Figures and verdict: counted from records, the same as any recount, bad news first."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.report import RunSummary, summarise

from .conftest import Rendered
from .other_runs import broken_run, crowded_run, expectations_run, partial_run, unjudged_run
from .sample_run import OBSERVED, Scribe, reader_of


def test_the_sample_run_in_figures(sample: Rendered) -> None:
    run = summarise(sample.reader)
    assert [(a.agent, a.calls, a.denied, a.findings, a.screens) for a in run.agents] == [
        ("books-reader", 4, 0, 0, 0),
        ("books-writer", 3, 1, 0, 0),
        ("portal-1", 5, 0, 1, 10),
    ]
    assert run.agents[0].scopes == ("finance.account", "finance.invoice")
    assert (run.calls, run.denied, run.calls_with_screen, run.unanswered) == (12, 1, 5, 0)
    assert (run.reached.observe, run.blocked.expected, run.unexpected) == (1, 1, 0)
    assert run.tests == (("passed", 4),)


@pytest.mark.parametrize("run", [broken_run, expectations_run, partial_run, unjudged_run])
def test_findings_are_those_of_the_recount(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # three builders
    reader, _ = run(tmp_path)
    assert _counts(summarise(reader)) == _recounted(reader)


def test_a_denial_without_a_finding_counts_as_the_recount_counts_it(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_dies", agent="agent")
    at.denied("files", "write_file", {}, "NO-WRITE", "no")
    at.close()
    run = summarise(reader_of(tmp_path))
    assert _counts(run) == _recounted(reader_of(tmp_path))
    assert run.blocked.enforce == 1
    assert run.verdict.word == "Failed"


def test_a_pass_names_what_its_test_provoked(sample: Rendered) -> None:
    verdict = summarise(sample.reader).verdict
    assert (verdict.word, verdict.tone) == ("Passed", "ok")
    assert verdict.headline == (
        "No enforced rule was broken in 12 calls by 3 agents, apart from one that its test provoked."
    )


def test_findings_make_the_headline(tmp_path: Path) -> None:
    verdict = summarise(broken_run(tmp_path)[0]).verdict
    assert (verdict.word, verdict.tone) == ("Failed", "bad")
    assert verdict.headline == (
        "2 of 3 calls broke the policy: one reached data or had an effect and one was blocked. "
        "Evidence is missing for 1 call."
    )
    assert verdict.points[0] == "payables-3 called files.read_text_file against rule READ-BOOKS. It was not blocked."


def test_calls_messages_of_servers_and_expectations_are_counted_apart(tmp_path: Path) -> None:
    run = summarise(expectations_run(tmp_path)[0])
    assert run.calls == 4
    assert run.verdict.headline == (
        "3 of 4 calls broke the policy; all were blocked. 1 message from a server broke the policy. "
        "5 expectations of tests were not met."
    )
    assert run.unexpected == 9


def test_a_test_without_a_call_is_not_said_to_have_broken_one(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_idle", agent="agent")
    at.claim("NO-CALLS", "no-calls", "no call came through gateway g1")
    at.end("failed")
    at.close()
    verdict = summarise(reader_of(tmp_path)).verdict
    assert verdict.headline == "No call was recorded. 1 expectation of a test was not met."
    assert verdict.points == ("test_idle opened a gateway and made no call through it.",)


@pytest.mark.parametrize(
    ("rule", "reason", "said"),
    [
        ("EXPECTED-DENIAL-MISSING", "the test expected a denial by any rule; none happened",
         "test_x expected a denial by any rule; none happened."),
        ("EXPECTED-DENIAL-MISSING", "expected WRITE to deny it; READ did",
         "test_x expected WRITE to deny it; READ did."),
        ("EXPECTED-DENIAL-MISSING", "denied by READ, not by WRITE",
         "test_x expected a denial that did not happen: denied by READ, not by WRITE."),
        ("EXPECTED-DENIAL-MISSING", "no rule is named RAED; did you mean READ?",
         "test_x expected a denial that did not happen: no rule is named RAED; did you mean READ?"),
        ("NO-CALLS", "agent clerk-1 made no call through its connection to files. If that is meant: gateway(…).",
         "test_x: agent clerk-1 made no call through its connection to files."),
    ],
)  # fmt: skip
def test_a_finding_about_a_test_says_what_it_claimed(tmp_path: Path, rule: str, reason: str, said: str) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::TestA::test_x", agent="agent")
    at.claim(rule, "claimed", reason)
    at.end("failed")
    at.close()
    assert summarise(reader_of(tmp_path)).verdict.points == (said,)


def test_what_a_server_printed_counts_against_no_agent(tmp_path: Path) -> None:
    (reader,) = [a for a in summarise(expectations_run(tmp_path)[0]).agents if a.agent == "reader"]
    assert (reader.calls, reader.findings) == (4, 3)


def test_the_same_sentence_stands_once_with_its_number(tmp_path: Path) -> None:
    points = summarise(expectations_run(tmp_path)[0]).verdict.points
    assert points[0] == "reader tried to call files.write_file. Rule NO-WRITE blocked it (3 times)."
    assert points[-1] == "And 4 more findings below."


def test_only_screens_count_as_screens(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_look", agent="agent")
    at.image(at.call("browser", "browser_take_screenshot", {}, "ok", "BROWSE")[0])
    at.call("browser", "browser_click", {}, "ok", "BROWSE", screens=("list", "detail"))
    at.end()
    at.close()
    run = summarise(reader_of(tmp_path))
    assert (run.calls_with_screen, run.screens, run.agents[0].screens) == (1, 2, 2)


def test_many_findings_are_three_sentences_and_a_number(tmp_path: Path) -> None:
    verdict = summarise(crowded_run(tmp_path, agents=4, calls=40)[0]).verdict
    assert len(verdict.points) <= 4
    assert "calls broke the policy" in verdict.headline


def test_no_policy_is_not_judged_and_says_what_to_do(tmp_path: Path) -> None:
    run = summarise(unjudged_run(tmp_path)[0])
    assert not run.judged
    assert (run.verdict.word, run.verdict.tone) == ("Not judged", "neutral")
    assert any("`governance.policy.yaml` into the project's folder" in p for p in run.verdict.points)


def test_a_gap_makes_the_verdict_incomplete(tmp_path: Path) -> None:
    verdict = summarise(partial_run(tmp_path)[0]).verdict
    assert (verdict.word, verdict.tone) == ("Incomplete", "warn")


def test_a_failed_test_is_no_pass(tmp_path: Path) -> None:
    verdict = summarise(_one_call(tmp_path, outcome="failed")).verdict
    assert (verdict.word, verdict.tone) == ("Tests failed", "bad")


def test_an_xfailed_finding_still_fails_the_run(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    refs = at.call("files", "read_text_file", {"path": "/x"}, "x", "READ-BOOKS")
    at.finding("reached", "READ-BOOKS", refs, "outside")
    at.end("xfailed")
    at.close()
    assert summarise(reader_of(tmp_path)).verdict.word == "Failed"


def test_no_call_at_all_is_no_pass(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_idle", agent="agent")
    at.end()
    at.close()
    verdict = summarise(reader_of(tmp_path)).verdict
    assert (verdict.word, verdict.tone) == ("Nothing exercised", "warn")


def test_a_run_that_only_observes_is_not_green(tmp_path: Path) -> None:
    verdict = summarise(_one_call(tmp_path, policy=OBSERVED, mode="observe")).verdict
    assert (verdict.word, verdict.tone) == ("Observed only", "neutral")


def test_sentences_for_the_terminal_hold_no_control_characters(hostile: Rendered) -> None:
    verdict = summarise(hostile.reader).verdict
    for sentence in (verdict.headline, *verdict.points):
        assert sentence.isprintable()
        assert len(sentence) < 500


def _one_call(folder: Path, *, outcome: str = "passed", **begin: str) -> EvidenceReader:
    at = Scribe(folder)
    at.begin("test_a.py::test_one", agent="agent", **begin)
    at.call("time", "get_current_time", {}, "06:15", "CLOCK")
    at.end(outcome)
    at.close()
    return reader_of(folder)


def _counts(run: RunSummary) -> dict[str, dict[str, int]]:
    states = {"reached": run.reached, "blocked": run.blocked, "unproven": run.unproven}
    return {s: {"enforce": c.enforce, "observe": c.observe, "expected": c.expected} for s, c in states.items()}


def _recounted(reader: EvidenceReader) -> dict[str, dict[str, int]]:
    recount = Recount()
    for record in reader.records():
        recount.add(record)
    return recount.findings
