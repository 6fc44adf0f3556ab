"""Waivers in a real run: what they let through, what the record says of it, and what an expired one leaves."""

from datetime import UTC, datetime

from tests.plugin.suites import Suite

POLICY = """\
governance: 1
policy: pay
rules:
- {id: PAY, allow: ["plain.pay"], args: {amount: {type: integer, max: 3}}}
waivers:
- {id: W-7, rule: PAY, args: {amount: {max: 9}}, agents: [batch], ticket: G-1, owner: risk, expires: UNTIL, reason: r}
"""
TEST = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="AGENT") as gw:
        run_agent(gw.command("plain"), PAY)
"""


def test_a_waived_call_passes_and_the_record_names_waiver_and_day(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2999-01-01"))
    suite.test(TEST.replace("AGENT", "batch"))
    day = datetime.now(UTC).date()
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1})
    assert [d["rule"] for d in ended.of_type("decision") if d["clause"] == "waiver.W-7"] == ["PAY"]
    (judged,) = ended.of_type("policy")
    assert day.isoformat() <= str(judged["day"]) <= datetime.now(UTC).date().isoformat()


def test_an_expired_waiver_lifts_nothing_and_the_failure_names_it(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2020-01-01"))
    suite.test(TEST.replace("AGENT", "batch"))
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"failed": 1})
    assert "args.amount = 5, must be <= 3 (blocked)" in ended.text
    assert "waiver W-7 allows amount <= 9 but expired on 2020-01-01" in ended.text
    assert [finding["rule"] for finding in ended.of_type("finding")] == ["PAY"]


def test_a_waiver_is_not_for_another_agent(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2999-01-01"))
    suite.test(TEST.replace("AGENT", "clerk"))
    ended = suite.run()
    assert ended.status == 1
    assert "waiver W-7 allows amount <= 9 but is for batch" in ended.text


NEEDS_NONE = TEST.replace("AGENT", "batch").replace("PAY)", "('pay', {'amount': 2}))")


def test_a_waiver_that_a_whole_run_did_not_need_is_noted_and_one_that_it_did_is_not(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2999-01-01"))
    suite.test(NEEDS_NONE)
    ended = suite.run()
    assert ended.status == 0
    assert "waiver W-7 of governance.policy.yaml let no call of this run pass; take it out" in ended.text
    suite.test(TEST.replace("AGENT", "batch"))
    assert "let no call of this run pass" not in suite.run().text


def test_a_run_of_some_of_the_tests_does_not_call_a_waiver_unused(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2999-01-01"))
    suite.test(NEEDS_NONE + "\ndef test_other(mcp_audit): pass\n")
    ended = suite.run("-k", "agent")
    assert ended.status == 0
    assert "let no call of this run pass" not in ended.text


def test_a_waiver_that_is_over_is_noted_even_where_nobody_asked_for_it(suite: Suite):
    suite.write("governance.policy.yaml", POLICY.replace("UNTIL", "2020-01-01"))
    suite.test(NEEDS_NONE)
    ended = suite.run()
    assert ended.status == 0
    assert "waiver W-7 of governance.policy.yaml expired on 2020-01-01 and lifts nothing" in ended.text
