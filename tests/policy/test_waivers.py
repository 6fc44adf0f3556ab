"""Waivers: whose limits they lift, for whom and until when, and how they read where they do not."""

from collections.abc import Mapping
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.engine import Decision, Judge
from pytest_mcp_governance.policy.events import Event
from tests.policy.cases import Links, policy, rules

TODAY = date(2026, 12, 1)
REFUND = (
    "{id: REFUND, allow: [bank.refund], to: [pay], args: {amount: {type: integer, min: 1, max: 50}, cur: {in: [usd]}}}"
)
GROUPS = "agents: {pay: ['pay-*'], batch: [pay-batch]}"
WAIVER = (
    "waivers:\n"
    "- {id: W-7, rule: REFUND, args: {amount: {max: 90}}, agents: [batch], ticket: GRC-451, owner: risk,"
    " expires: 2026-12-15, reason: holiday refunds}\n"
)
WAIVED = rules(REFUND, head=GROUPS) + "\n" + WAIVER
NO_DELETE = "{id: NO-DELETE, deny: ['*.delete_*']}"
LIFTED = (
    rules("{id: ALL, allow: ['b.*']}", NO_DELETE)
    + "\nwaivers:\n- {id: W-1, rule: NO-DELETE, args: {id: {in: [a]}}, agents: [a-1], tools: [b.delete_row],"
    " ticket: G-1, owner: o, expires: 2026-12-15, reason: r}\n"
)


class Bank:
    """A judge on a day."""

    def __init__(self, *texts: str, today: date | None = TODAY) -> None:
        self.judge = Judge([policy(text) for text in texts], mode=None, resolver=Links(), today=today)

    def call(self, target: str, arguments: Mapping[str, object], agent: str = "pay-batch") -> Decision:
        server, _, tool = target.partition(".")
        params = {"name": tool, "arguments": dict(arguments)}
        event = Event("main/1", "c2s", "request", "tools/call", "c1", server, agent, tool, params)
        return self.judge.decide(event)

    def refund(self, amount: object, agent: str = "pay-batch", **more: object) -> Decision:
        return self.call("bank.refund", {"amount": amount, "cur": "usd", **more}, agent)


def test_a_waiver_lifts_the_limit_that_it_names_and_the_decision_names_it():
    decision = Bank(WAIVED).refund(82)
    assert (decision.verdict, decision.rule, decision.clause) == ("allow", "REFUND", "waiver.W-7")


def test_where_no_waiver_is_needed_none_is_named():
    assert Bank(WAIVED).refund(50).clause == "allow"


def test_the_limits_that_a_waiver_does_not_name_stay():
    bank = Bank(WAIVED)
    for amount, more in ((82.5, {}), (0, {}), (91, {}), ("82", {}), (82, {"note": "x"})):
        assert bank.refund(amount, **more).verdict == "deny"
    assert bank.call("bank.refund", {"amount": 82, "cur": "eur"}).verdict == "deny"
    assert bank.call("bank.refund", {"amount": 82}).verdict == "deny"


def test_a_waiver_is_for_its_agents_only_and_the_failure_says_so():
    bank = Bank(WAIVED)
    decision = bank.refund(82, agent="pay-3")
    assert decision.verdict == "deny"
    (finding,) = bank.judge.conclude()
    assert finding.describe().splitlines()[2:5] == [
        "  args.amount = 82, must be <= 50 (blocked)",
        "  nearest allowed: amount <= 50",
        "  waiver W-7 allows amount <= 90 but is for batch",
    ]


@pytest.mark.parametrize(
    ("today", "verdict"),
    [(date(2026, 12, 15), "allow"), (date(2026, 12, 16), "deny"), (None, "deny")],
)
def test_a_waiver_holds_through_its_last_day_and_not_without_a_day(today: date | None, verdict: str):
    assert Bank(WAIVED, today=today).refund(82).verdict == verdict


def test_an_expired_waiver_is_named_where_it_would_have_helped():
    decision = Bank(WAIVED, today=date(2027, 1, 1)).refund(82)
    assert decision.detail is not None
    assert decision.detail["waiver"] == "waiver W-7 allows amount <= 90 but expired on 2026-12-15"


def test_beyond_what_a_waiver_allows_the_failure_says_how_far_it_goes():
    decision = Bank(WAIVED).refund(95)
    assert decision.detail is not None and decision.detail["waiver"] == "waiver W-7 allows amount <= 90 only"


def test_a_waiver_lifts_a_deny_rule_for_the_calls_that_match_it():
    bank = Bank(LIFTED)
    allowed = bank.call("b.delete_row", {"id": "a", "force": True}, "a-1")
    assert (allowed.verdict, allowed.rule, allowed.clause) == ("allow", "ALL", "waiver.W-1")
    for target, args, agent in (
        ("b.delete_row", {"id": "b"}, "a-1"),
        ("b.delete_row", {}, "a-1"),
        ("b.delete_all", {"id": "a"}, "a-1"),
        ("b.delete_row", {"id": "a"}, "a-2"),
    ):
        decision = bank.call(target, args, agent)
        assert (decision.verdict, decision.rule) == ("deny", "NO-DELETE")
    assert decision.detail is not None
    assert decision.detail["waiver"] == 'waiver W-1 allows id one of "a" but is for a-1'


def test_a_waiver_of_one_source_lifts_nothing_of_another():
    floor = rules(NO_DELETE, head="kind: constraint")
    assert Bank(LIFTED, floor).call("b.delete_row", {"id": "a"}, "a-1").verdict == "deny"
    tight = rules(REFUND, head=GROUPS)
    assert Bank(WAIVED, tight).refund(82).verdict == "deny"


def test_a_waiver_of_a_constraint_is_named_too():
    floor = rules(NO_DELETE, head="kind: constraint") + LIFTED[LIFTED.index("\nwaivers") :]
    decision = Bank(rules("{id: ALL, allow: ['b.*']}"), floor).call("b.delete_row", {"id": "a"}, "a-1")
    assert (decision.verdict, decision.clause) == ("allow", "waiver.W-1")


def test_a_waiver_lifts_no_data_limit():
    text = WAIVED.replace("to: [pay]", "to: [pay], data: [d]").replace(
        GROUPS, f"{GROUPS}\ndata: {{d: {{paths: [/d]}}}}"
    )
    text = text.replace("cur: {in: [usd]}", "cur: {type: string}")
    assert Bank(text).call("bank.refund", {"amount": 82, "cur": "/d"}).verdict == "allow"
    assert Bank(text).call("bank.refund", {"amount": 82, "cur": "/e"}).clause == "data.out"


def test_a_waiver_may_name_an_argument_that_the_rule_does_not():
    text = WAIVED.replace("{amount: {max: 90}}", "{note: {type: string, optional: true}}")
    assert Bank(text).refund(5, note="x").clause == "waiver.W-7"
    assert Bank(text).refund(5, memo="x").verdict == "deny"


@settings(deadline=None, max_examples=60)
@given(st.integers(-5, 120), st.sampled_from(["pay-batch", "pay-3", "other"]), st.integers(1, 28))
def test_only_what_the_waiver_says_is_allowed_more(amount: int, agent: str, day: int):
    today = date(2026, 12, day)
    more = Bank(WAIVED, today=today).refund(amount, agent).verdict == "allow"
    plain = Bank(rules(REFUND, head=GROUPS), today=today).refund(amount, agent).verdict == "allow"
    assert more == (plain or (agent == "pay-batch" and day <= 15 and 1 <= amount <= 90))


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("rule: REFUND", "rule: REFUMD", "no rule of this file is named 'REFUMD'", "Did you mean 'REFUND'?"),
        (" owner: risk,", "", "the waiver has no owner", "Somebody answers for an exception"),
        (" expires: 2026-12-15,", "", "the waiver has no expires", ""),
        (", reason: holiday refunds", "", "the waiver has no reason", ""),
        (", ticket: GRC-451, owner: risk", "", "the waiver has no ticket and no owner", ""),
        ("2026-12-15", "2026-02-30", "must be a day that there is", ""),
        ("2026-12-15", "soon", "must be a day that there is", ""),
        ("agents: [batch]", "agents: [betch]", "is no group", ""),
        ("agents: [batch]", "agent: [batch]", "unknown key 'agent' in a waiver", "Did you mean 'agents'?"),
        ("args: {amount: {max: 90}}, ", "", "names no argument", "say which limit is lifted"),
        ("{max: 90}", "{maxx: 90}", "did you mean 'max'?", ""),
        ("{max: 90}", "{max: 0}", "min 1 is above max 0", ""),
        ("{max: 90}", "{max: '90'}", "max needs a number", ""),
        ("id: W-7", "id: 'W 7'", "the waiver id", ""),
        (REFUND, "{id: REFUND, allow: [bank.refund]}", "limits no argument, so there is nothing to waive", ""),
    ],
)
def test_what_is_wrong_with_a_waiver_is_told_at_its_place(old: str, new: str, message: str, hint: str):
    assert old in WAIVED
    with pytest.raises(PolicyError) as caught:
        policy(WAIVED.replace(old, new))
    assert message in str(caught.value) and hint in caught.value.hint
    assert caught.value.line > 1 and caught.value.column > 0


def test_two_waivers_of_one_id_are_an_error():
    with pytest.raises(PolicyError, match="waiver id 'W-7' is used twice"):
        policy(WAIVED + WAIVER.removeprefix("waivers:\n"))


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="waivers:{}[], -W7\n'max90", max_size=60))
def test_whatever_stands_in_a_waiver_is_a_policy_or_an_error_of_ours(text: str):
    try:
        loaded = policy(f"{rules(REFUND, head=GROUPS)}\nwaivers: {text}")
    except PolicyError:
        return
    assert loaded.waivers


def test_a_review_date_is_a_day():
    assert policy(WAIVED + "review_by: 2027-05-01\n").review_by == date(2027, 5, 1)
    with pytest.raises(PolicyError, match="a day that there is"):
        policy(WAIVED + "review_by: 2027-02-30\n")
