"""`--mcp-governance-gate`: what a finding does to its test and the run. The evidence never changes with it."""

import html
import re

import pytest

from pytest_mcp_governance.plugin import gate
from tests.plugin.suites import READ_ONLY, SERIAL_AND_PARALLEL, Suite

BLOCKED = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET, PAY)
"""
# An assertion over a call that the policy allows: it reached the server.
REACHED = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
    mcp_audit.calls.never("plain.get_*")
"""
UNPROVEN = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a"):
        pass
"""


@SERIAL_AND_PARALLEL
@pytest.mark.parametrize(
    ("which", "body", "status"),
    [
        pytest.param("any", BLOCKED, 1, id="any-blocked"),
        pytest.param("any", UNPROVEN, 1, id="any-unproven"),
        pytest.param("reached", BLOCKED, 0, id="reached-blocked"),
        pytest.param("reached", REACHED, 1, id="reached-reached"),
        pytest.param("reached", UNPROVEN, 1, id="reached-unproven"),
        pytest.param("off", BLOCKED, 0, id="off-blocked"),
        pytest.param("off", REACHED, 0, id="off-reached"),
        pytest.param("off", UNPROVEN, 0, id="off-unproven"),
    ],
)
def test_the_gate_says_which_findings_fail_and_the_evidence_says_no_all_the_same(
    suite: Suite, workers: int, which: str, body: str, status: int
):
    suite.test(body)
    ended = suite.run(f"--mcp-governance-gate={which}", workers=workers)
    assert ended.status == status
    assert ended.outcomes == ({"passed": 1} if status == 0 else {"failed": 1})
    assert ended.verified()[0] == 0
    code, report = ended.verified("passed")
    assert code == 5
    assert report["verdict"] == "unexpected findings in enforce mode"


@SERIAL_AND_PARALLEL
def test_what_is_recorded_does_not_depend_on_the_gate(suite: Suite, workers: int):
    suite.test(BLOCKED)
    ended = suite.run("--mcp-governance-gate=off", workers=workers)
    (finding,) = ended.of_type("finding")
    assert (finding["state"], finding["mode"], finding["expected"]) == ("blocked", "enforce", False)
    assert [d["effect"] for d in ended.of_type("decision") if d["verdict"] == "deny"] == ["block"]


@SERIAL_AND_PARALLEL
@pytest.mark.parametrize("which", ["reached", "off"])
def test_the_terminal_names_a_gate_that_is_not_any_and_how_much_it_let_pass(suite: Suite, which: str, workers: int):
    suite.test(BLOCKED)
    ended = suite.run(f"--mcp-governance-gate={which}", workers=workers)
    assert f"gate: {which} (" in ended.text
    assert "it let 1 finding pass" in ended.text
    assert "DEFAULT-DENY  plain.pay by a (blocked), let pass" in ended.text
    assert "verdict: 1 unexpected finding" in ended.text


def test_the_terminal_says_nothing_of_the_gate_that_everybody_gets(suite: Suite):
    suite.test(BLOCKED)
    assert "gate:" not in suite.run().text


@SERIAL_AND_PARALLEL
@pytest.mark.parametrize("which", ["any", "reached", "off"])
def test_the_gate_stands_in_the_signed_open_statement_and_on_the_page(suite: Suite, which: str, workers: int):
    suite.test(BLOCKED)
    ended = suite.run(f"--mcp-governance-gate={which}", workers=workers)
    assert ended.opened["gate"] == which
    assert re.search(rf"<dt>Gate</dt><dd>(<[^>]*>)*{which}<", ended.page)
    assert ("The suite's own gate was" in html.unescape(ended.page)) == (which != "any")


@SERIAL_AND_PARALLEL
def test_the_ini_setting_is_the_same_gate_and_the_option_overrides_it(suite: Suite, workers: int):
    suite.write("pytest.ini", "[pytest]\nmcp_governance_gate = off\n")
    suite.test(BLOCKED)
    assert suite.run(workers=workers).status == 0
    assert suite.run("--mcp-governance-gate=any", workers=workers).status == 1


def test_a_gate_outside_its_choices_is_a_usage_error(suite: Suite):
    suite.write("pytest.ini", "[pytest]\nmcp_governance_gate = most\n")
    suite.test(BLOCKED)
    ended = suite.run()
    assert ended.status == 4
    assert "'most'; it must be one of any, reached, off" in ended.text


@SERIAL_AND_PARALLEL
def test_a_recorder_that_died_fails_the_run_whatever_the_gate(suite: Suite, workers: int):
    suite.test("""
import os, signal

def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        os.kill(mcp_audit._recorder.pid, signal.SIGKILL)

def test_other(mcp_audit):
    pass
""")
    ended = suite.run("--mcp-governance-gate=off", workers=workers)
    assert ended.status == 1
    assert "run fails:" in ended.text


@SERIAL_AND_PARALLEL
def test_a_failing_status_is_not_lowered_by_any_gate(suite: Suite, workers: int):
    suite.test(BLOCKED + "\ndef test_plain():\n    assert False\n")
    ended = suite.run("--mcp-governance-gate=off", workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1, "passed": 1}


@pytest.mark.parametrize("which", gate.GATES)
def test_an_error_of_ours_while_judging_fails_under_every_gate(which: gate.Gate):
    finding = {"expected": False, "mode": "enforce", "state": "blocked", "clause": "exception", "rule": "ERROR"}
    assert gate.fails(finding, which)


@pytest.mark.parametrize("state", ["blocked", "reached", "unproven"])
@pytest.mark.parametrize("which", gate.GATES)
def test_expected_and_observed_findings_fail_under_no_gate(which: gate.Gate, state: str):
    finding = {"expected": True, "mode": "enforce", "state": state, "clause": "no-rule"}
    assert not gate.fails(finding, which)
    assert not gate.fails({**finding, "expected": False, "mode": "observe"}, which)


# -- a gate that was asked for, and no policy ------------------------------------------------------------------------

NO_POLICY = "there is no policy to judge by"


def without_policy(suite: Suite, body: str = BLOCKED) -> None:
    (suite.folder / "governance.policy.yaml").unlink()
    suite.test(body)


@pytest.mark.parametrize("source", ["option", "ini"])
@pytest.mark.parametrize("body", [BLOCKED, "def test_plain(): pass\n"], ids=["audited", "unaudited"])
def test_a_gate_without_any_policy_is_a_usage_error_before_any_test(suite: Suite, source: str, body: str):
    without_policy(suite, body)
    if source == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_gate = any\n")
    ended = suite.run(*(["--mcp-governance-gate=any"] if source == "option" else []))
    assert ended.status == 4
    assert NO_POLICY in ended.text
    assert ended.outcomes == {}
    assert ended.runs == []


def test_with_workers_a_gate_without_any_policy_is_an_error_of_each_test(suite: Suite):
    without_policy(suite)
    ended = suite.run("--mcp-governance-gate=reached", workers=2)
    assert ended.status == 1
    assert ended.outcomes == {"errors": 1}
    assert f"run fails: a gate was asked for (mcp_governance_gate), but {NO_POLICY}" in ended.text


@SERIAL_AND_PARALLEL
def test_a_fixture_that_gives_no_policy_after_all_is_an_error_of_its_test_and_xfail_does_not_hide_it(
    suite: Suite, workers: int
):
    without_policy(
        suite,
        "@pytest.fixture\ndef mcp_audit_policy():\n    return None\n\n@pytest.mark.xfail" + BLOCKED,
    )
    ended = suite.run("--mcp-governance-gate=any", workers=workers)
    assert ended.status == 1
    assert f"run fails: a gate was asked for (mcp_governance_gate), but {NO_POLICY}" in ended.text


@SERIAL_AND_PARALLEL
def test_a_policy_that_a_mark_or_a_fixture_gives_is_enough_for_a_gate(suite: Suite, workers: int):
    suite.write("own.policy.yaml", READ_ONLY)
    without_policy(
        suite,
        """
@pytest.mark.mcp_governance(policy="own.policy.yaml", agent="a")
def test_marked(mcp_audit):
    with mcp_audit.gateway("plain") as gw:
        run_agent(gw.command("plain"), GET)
""",
    )
    assert suite.run("--mcp-governance-gate=any", workers=workers).status == 0


@SERIAL_AND_PARALLEL
def test_the_gate_off_asks_for_no_policy(suite: Suite, workers: int):
    without_policy(suite)
    ended = suite.run("--mcp-governance-gate=off", workers=workers)
    assert ended.status == 0
    assert "NOT JUDGED" in ended.text
