"""What the terminal says at the end of a run, from the facts alone."""

from pathlib import Path

import pytest

from pytest_mcp_governance.plugin.terminal import NO_POLICY, printable, summary
from pytest_mcp_governance.session.control import RunResult

NONE = {"enforce": 0, "observe": 0, "expected": 0}


def finding(**changed: object) -> dict[str, object]:
    return {
        "test": "t.py::test_x", "attempt": 1, "outcome": "xfailed", "rule": "DEFAULT-DENY", "clause": "no-rule",
        "agent": "payables-3", "server": "books", "tool": "delete_vendor", "state": "blocked", "mode": "enforce",
        "expected": False,
    } | changed  # fmt: skip


def told(
    *findings: dict[str, object],
    judged: bool = True,
    policy_unreadable: bool = False,
    no_policy: str = NO_POLICY,
    calls: int = 1,
) -> list[str]:
    result = RunResult(
        run="r", run_dir=Path("/r"), report=Path("/r/report.html"), report_bytes=5, status="complete",
        open_digest="ab", close_digest="cd", fingerprint="SHA256:x", key_is_ephemeral=False, judged=judged,
        verdict="", findings={"reached": NONE, "blocked": NONE, "unproven": NONE}, unexpected=0,
        unexpected_reached=0, agents=({"agent": "a", "calls": calls, "denied": 0, "findings": 0, "screens": 0},),
        tests={"passed": 1}, finding_lines=findings,
    )  # fmt: skip
    return summary(result, (), (), Path("/r"), policy_unreadable=policy_unreadable, no_policy=no_policy)


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_finding_that_a_failing_test_shows_is_not_listed_again(outcome: str):
    assert not [line for line in told(finding(outcome=outcome)) if "DEFAULT-DENY" in line]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "t.py::test_x (xfailed)  DEFAULT-DENY  books.delete_vendor by payables-3 (blocked)"),
        ({"outcome": "rerun"}, "t.py::test_x (rerun)  DEFAULT-DENY  books.delete_vendor by payables-3 (blocked)"),
        ({"outcome": ""}, "t.py::test_x (not ended)  DEFAULT-DENY  books.delete_vendor by payables-3 (blocked)"),
        (
            {"outcome": "failed", "mode": "observe", "state": "reached"},
            "t.py::test_x (failed)  DEFAULT-DENY  books.delete_vendor by payables-3 (reached, observed)",
        ),
        (
            {"rule": "NO-CALLS", "tool": "", "server": None, "agent": "", "state": "unproven"},
            "t.py::test_x (xfailed)  NO-CALLS (unproven)",
        ),
        (
            {"agent": "m\u00fcller\u202e"},
            "t.py::test_x (xfailed)  DEFAULT-DENY  books.delete_vendor by müller\\u202e (blocked)",
        ),
    ],
)
def test_a_finding_that_no_failing_test_shows_is_one_line(changed: dict[str, object], line: str):
    assert line in told(finding(**changed))


def test_an_expected_finding_is_not_listed():
    assert not [line for line in told(finding(expected=True)) if "DEFAULT-DENY" in line]


def test_many_findings_are_twenty_lines_and_a_count_and_those_that_fail_come_first():
    many = [finding(test=f"t.py::test_{n}", mode="observe") for n in range(30)]
    lines = told(*many, finding(), finding())
    listed = [line for line in lines if "DEFAULT-DENY" in line]
    assert len(listed) == 20
    assert listed[0] == "t.py::test_x (xfailed)  DEFAULT-DENY  books.delete_vendor by payables-3 (blocked), 2 times"
    assert "and 11 more findings, listed in the report" in lines


def test_findings_of_no_agent_have_a_line_of_their_own():
    nobody = finding(agent=None, rule="NO-CALLS", outcome="failed")
    assert "2 findings about tests, not agents" in told(nobody, nobody, finding(), finding(agent="", expected=True))
    assert not [line for line in told(finding()) if "about tests" in line]


def test_a_policy_that_could_not_be_read_is_not_called_no_policy():
    assert "NOT JUDGED: the policy could not be read (see above)" in told(judged=False, policy_unreadable=True)
    assert not [line for line in told(policy_unreadable=True) if "NOT JUDGED" in line]


def test_letters_of_any_alphabet_stay_and_what_hides_is_escaped():
    assert printable("Grüße 世界 é\\n") == "Grüße 世界 é\\n"
    assert printable("a\x1b[2J\u202e\u200b\ud800\n\x9b") == "a\\x1b[2J\\u202e\\u200b\\ud800\\n\\x9b"


def test_a_run_without_a_call_says_that_nothing_was_judged():
    assert "verdict: no call was made, so nothing was judged" in told(calls=0)
    assert "verdict: no unexpected finding" in told()


def test_what_to_do_without_a_policy_is_the_callers_to_say():
    assert "NOT JUDGED: no policy. Name one with --policy" in told(judged=False, no_policy="Name one with --policy")
