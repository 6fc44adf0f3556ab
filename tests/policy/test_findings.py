"""What stands at the end of a test, and how it reads."""

import dataclasses

import pytest

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy import assertions
from tests.policy.cases import BOOKS, TOKEN, Bench, rules, rules_of, text_result

PAY = rules(
    "{id: PAY, allow: [stripe.refund], controls: [SOC2:CC6.3],"
    " args: {amount: {type: integer, max: 50000}, currency: {in: [usd, eur]}}}",
    "{id: READ, allow: ['books.get_*']}",
)
OBSERVE = "\nmode: observe"


def test_a_denial_is_a_finding_that_refers_to_message_and_decision() -> None:
    bench = Bench(BOOKS)
    event = bench.call_event("books.pay")
    decision = bench.judge.decide(event)
    bench.judge.recorded(event, decision, "main/9")
    (finding,) = bench.judge.conclude()
    assert finding.refs == (event.ref, "main/9")
    assert (finding.state, finding.mode, finding.rule, finding.tool) == ("blocked", "enforce", "DEFAULT-DENY", "pay")


def test_a_failure_reads_as_rule_place_call_argument_and_nearest() -> None:
    bench = Bench(PAY)
    bench.call("stripe.refund", {"amount": 82000, "currency": "usd"})
    lines = bench.judge.conclude()[0].describe().splitlines()
    assert lines == [
        "PAY  test.policy.yaml:5  SOC2:CC6.3",
        "  call stripe.refund  agent a-1  main/1",
        "  args.amount = 82000, must be <= 50000 (blocked)",
        "  nearest allowed: amount <= 50000",
        '  if this test is about the denial: with mcp_audit.expect_denied("PAY"):',
    ]


def test_a_call_that_no_rule_allows_names_the_nearest_patterns() -> None:
    bench = Bench(BOOKS)
    bench.call("books.gett_vendor")
    assert "nearest allowed: books.get_*" in bench.judge.conclude()[0].describe()


GROUPED = rules(
    "{id: READ, allow: ['books.get_*'], allow_resources: ['db://ap/*'], to: [payables]}",
    "{id: ALL, allow: ['books.list_*']}",
    head="agents: {payables: ['payables-?']}",
)


def test_a_rule_that_is_for_other_agents_is_named_with_the_agent_that_called() -> None:
    bench = Bench(GROUPED)
    bench.call("books.get_vendor", agent="payables-3")
    bench.decide(bench.ask("resources/read", {"uri": "db://ap/1"}, agent="clerk"))
    call, read = bench.judge.conclude()
    assert (call.rule, call.source) == ("DEFAULT-DENY", "test.policy.yaml:5")
    assert call.describe().splitlines()[2] == (
        "  rule READ allows books.get_vendor, but only to payables; this agent is payables-3 (blocked)"
    )
    assert "nearest" not in call.describe()
    assert read.reason == "rule READ allows db://ap/1, but only to payables; this agent is clerk"


def test_a_blocked_call_says_how_a_test_expects_it_unless_it_did_or_never_could() -> None:
    bench = Bench(PAY)
    bench.call("stripe.delete")
    token = bench.judge.expect_denied("DEFAULT-DENY")
    bench.call("stripe.delete")
    bench.judge.end_expectation(token)
    bench.call("stripe.refund", [])
    bench.judge.require(assertions.never("stripe.*", source="t:1"))
    told = [(f.rule, f.describe().splitlines()[-1]) for f in bench.judge.conclude()]
    hint = '  if this test is about the denial: with mcp_audit.expect_denied("DEFAULT-DENY"):'
    assert told[0] == ("DEFAULT-DENY", hint)
    assert [rule for rule, last in told if "expect_denied" in last] == ["DEFAULT-DENY"]


def test_a_finding_has_a_headline_of_rule_call_and_state() -> None:
    bench = Bench(BOOKS)
    bench.call("books.delete_vendor")
    bench.judge.gateway_opened("g1", False)
    assert [finding.headline for finding in bench.judge.conclude()] == [
        "DEFAULT-DENY books.delete_vendor blocked",
        "NO-CALLS no call came through gateway g1",
    ]


def test_a_missing_argument_is_told_with_those_that_were_sent() -> None:
    bench = Bench(rules("{id: R, allow: [a.b], args: {id: {type: string}}}"))
    bench.call("a.b", {"ident": "v1", TOKEN: 1})
    bench.call("a.b", {})
    told = [finding.describe().splitlines()[2] for finding in bench.judge.conclude()]
    assert told == [
        "  args.id is missing (sent: ident, [builtin.secret]) (blocked)",
        "  args.id is missing (no argument was sent) (blocked)",
    ]


def test_the_place_of_an_assertion_is_told_once() -> None:
    bench = Bench(BOOKS)
    bench.call("books.get_x")
    (finding,) = bench.judge.require(assertions.never("books.*", source="test_a.py:19"))
    assert finding.describe().splitlines()[0] == "test_a.py:19"


def test_a_denied_resource_is_named() -> None:
    bench = Bench(BOOKS)
    bench.decide(bench.ask("resources/read", {"uri": "db://hr/1"}))
    assert "no rule allows this resource: db://hr/1" in bench.judge.conclude()[0].describe()


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        f"x{'y' * 110} {TOKEN}",
        "ann@acme.example",
        "4111 1111 1111 1111",
        "Ann Hart",
        "hunter2-value",
        {"k": [TOKEN]},
    ],
)
def test_secret_and_personal_values_never_appear_in_a_finding(value: object) -> None:
    head = 'data: {hr: {class: pii, results: {books.get_worker: ["$.name"]}}}'
    text = rules("{id: READ, allow: ['books.get_*']}", "{id: PAY, allow: [b.pay], args: {to: {in: [x]}}}", head=head)
    bench = Bench(text, secrets=["hunter2-value"])
    bench.exchange("books.get_worker", {}, text_result('{"name": "Ann Hart"}'))
    decision = bench.call("b.pay", {"to": value})
    bench.call("b.pay", {"to": "x", str(value): 1})
    bench.call("b.pay", {"to": f"and {value} inside"})
    bench.decide(bench.ask("resources/read", {"uri": f"db://{value}"}))
    shown = "\n".join(f"{finding.describe()}\n{finding!r}\n{finding.detail}" for finding in bench.judge.conclude())
    leaks = [TOKEN, TOKEN[:20], "ann@acme.example", "4111 1111", "Ann Hart", "hunter2"]
    assert [leak for leak in leaks if leak in shown or leak in decision.reason or leak in str(decision.detail)] == []


def test_control_and_bidirectional_characters_are_escaped() -> None:
    bench = Bench(BOOKS)
    bench.call("books.x\x1b[31m\u202ey\nz")
    assert all(line.isprintable() for line in bench.judge.conclude()[0].describe().splitlines())


def test_an_expected_denial_is_marked_and_satisfies() -> None:
    bench = Bench(PAY)
    token = bench.judge.expect_denied("PAY")
    bench.call("stripe.refund", {"amount": 82000, "currency": "usd"})
    assert bench.judge.end_expectation(token) == ()
    (finding,) = bench.judge.conclude()
    assert finding.expected
    assert "expected by the test" in finding.describe()


@pytest.mark.parametrize("expected", ["OTHER", "DEFAULT-DENY"])
def test_a_denial_by_another_rule_is_not_the_expected_one(expected: str) -> None:
    bench = Bench(PAY)
    token = bench.judge.expect_denied(expected)
    bench.call("stripe.refund", {"amount": 82000, "currency": "usd"})
    (missing,) = bench.judge.end_expectation(token)
    assert (missing.rule, missing.state, missing.mode) == ("EXPECTED-DENIAL-MISSING", "unproven", "enforce")
    assert rules_of(bench.judge.conclude()) == ["PAY", "EXPECTED-DENIAL-MISSING"]
    assert not bench.judge.conclude()[0].expected


def missing(rule: str, *calls: str) -> str:
    bench = Bench(PAY)
    token = bench.judge.expect_denied(rule)
    for call in calls:
        bench.call(call)
    return bench.judge.end_expectation(token)[0].reason


def test_an_expectation_of_a_rule_that_does_not_exist_asks_what_was_meant() -> None:
    assert missing("REED", "books.get_x") == "no rule is named REED; did you mean READ?"
    assert missing("X", "books.get_x") == "no rule is named X; the policy's rules are PAY, READ"
    assert missing("REED", "books.pay") == "denied by DEFAULT-DENY; no rule is named REED; did you mean READ?"


def test_an_expectation_that_another_rule_met_names_that_rule() -> None:
    assert missing("READ", "books.pay", "books.pay") == "expected READ to deny it; DEFAULT-DENY did"
    assert missing("READ", "books.get_x") == "the test expected a denial by rule READ; none happened"


def test_a_denial_outside_the_block_is_unexpected() -> None:
    bench = Bench(PAY)
    bench.call("stripe.refund", {})
    token = bench.judge.expect_denied(None)
    bench.call("stripe.refund", {})
    bench.judge.end_expectation(token)
    bench.call("stripe.refund", {})
    assert [finding.expected for finding in bench.judge.conclude()] == [False, True, False]


def test_an_expectation_that_is_never_ended_counts_at_the_end() -> None:
    bench = Bench(PAY)
    bench.judge.expect_denied(None)
    bench.call("books.get_x")
    assert rules_of(bench.judge.standing()) == []
    assert rules_of(bench.judge.conclude()) == ["EXPECTED-DENIAL-MISSING"]


def test_an_error_of_ours_is_never_the_expected_denial() -> None:
    bench = Bench(PAY)
    token = bench.judge.expect_denied(None)
    bench.decide(bench.ask("tools/call", []))
    assert len(bench.judge.end_expectation(token)) == 1


def test_observing_a_would_be_denial_meets_the_expectation() -> None:
    bench = Bench(PAY + OBSERVE)
    token = bench.judge.expect_denied("PAY")
    bench.call("stripe.refund", {})
    assert bench.judge.end_expectation(token) == ()


def test_an_expected_denial_without_a_policy_is_missing() -> None:
    bench = Bench()
    token = bench.judge.expect_denied(None)
    bench.call("a.b")
    assert bench.judge.end_expectation(token)[0].mode == "enforce"


def test_only_holds_for_calls_before_and_after_the_assertion() -> None:
    bench = Bench(rules("{id: ALL, allow: ['*.*']}"))
    bench.call("books.get_x")
    requirement = assertions.only("books.get_*", source="test_x.py:12")
    assert bench.judge.require(requirement) == ()
    bench.call("bank.pay")
    (finding,) = bench.judge.conclude()
    assert (finding.rule, finding.clause, finding.state, finding.source) == (
        "test_x.py:12",
        "only",
        "reached",
        "test_x.py:12",
    )
    assert bench.judge.require(requirement)[0].tool == "pay"
    assert len(bench.judge.conclude()) == 1


def test_never_and_all_name_what_broke_them() -> None:
    bench = Bench(rules("{id: ALL, allow: ['*.*']}"))
    bench.call("stripe.refund", {"amount": 60000, "charge": "c"})
    assert bench.judge.require(assertions.never("*.delete_*", source="t:1")) == ()
    (broken,) = bench.judge.require(assertions.never("stripe.*", source="t:2"))
    assert "may never be called" in broken.describe()
    (high,) = bench.judge.require(assertions.all_args("stripe.refund", {"amount": {"max": 50_000}}, source="t:3"))
    assert "args.amount = 60000, must be <= 50000" in high.describe()
    assert bench.judge.require(assertions.all_args("stripe.refund", {"amount": {"max": 60_000}}, source="t:4")) == ()


def test_an_assertion_about_no_call_is_unproven() -> None:
    bench = Bench(BOOKS)
    bench.call("books.get_x")
    (finding,) = bench.judge.require(assertions.all_args("bank.pay", {"n": {"max": 1}}, source="t:1"))
    assert (finding.state, finding.clause) == ("unproven", "all.no-call")
    assert rules_of(bench.judge.conclude()) == ["t:1"]


def test_a_call_that_the_test_expected_to_be_denied_breaks_no_assertion() -> None:
    bench = Bench(BOOKS)
    token = bench.judge.expect_denied(None)
    bench.call("bank.pay")
    bench.judge.end_expectation(token)
    assert bench.judge.require(assertions.only("books.*", source="t:1")) == ()


def test_inline_assertions_are_enforced_without_a_policy() -> None:
    bench = Bench()
    bench.call("bank.pay")
    assert bench.judge.require(assertions.never("bank.*", source="t:1"))[0].mode == "enforce"


@pytest.mark.parametrize(
    "raw",
    [
        {}, {"only": []}, {"only": "a.b"}, {"only": ["a"]}, {"only": [1]}, {"never": None}, {"named": "a.b"},
        {"named": "a.b", "all": {}}, {"named": "a.b", "all": {"x": 5}}, {"named": "a.b", "all": {"x": {}}},
        {"named": "a.b", "all": {"x": {"from": ["request"]}}}, {"only": ["a.b"], "never": ["a.b"]},
    ],
)  # fmt: skip
def test_an_assertion_that_says_nothing_is_an_error(raw: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        Bench(BOOKS).judge.require({"id": "t:1", **raw})


@pytest.mark.parametrize("name", ["only", "never"])
def test_an_empty_assertion_names_itself(name: str) -> None:
    with pytest.raises(PolicyError, match=rf"t:1: {name}\(\) needs at least one server\.tool pattern"):
        getattr(assertions, name)(source="t:1")


def test_a_gateway_without_a_call_is_unproven() -> None:
    bench = Bench(BOOKS)
    bench.judge.gateway_opened("g1", False)
    bench.judge.gateway_opened("g2", True)
    assert rules_of(bench.judge.standing()) == []
    (finding,) = bench.judge.conclude()
    assert (finding.rule, finding.state, finding.mode) == ("NO-CALLS", "unproven", "enforce")
    assert "g1" in finding.reason
    bench.judge.gateway_call("g1")
    assert bench.judge.conclude() == ()


def test_a_gateway_without_a_call_names_its_agent_and_servers() -> None:
    bench = Bench(BOOKS)
    bench.judge.gateway_opened("g1", False, label="agent payables-3 to books")
    bench.judge.gateway_opened("g2", False, label="agent a to b to books, files")
    bench.judge.gateway_opened("g3", False, label="agent a to b to books, files")
    one, two = bench.judge.conclude()
    assert one.reason == (
        "agent payables-3 made no call through its connection to books. If that is meant: gateway(…, idle_ok=True)."
    )
    assert (one.agent, one.server) == ("payables-3", "books")
    assert two.reason.startswith("agent a to b made no call through its 2 connections to books, files. If ")
    assert (two.agent, two.server) == ("a to b", None)
    assert one.describe().splitlines()[0:2] == ["NO-CALLS", f"  {one.reason} (unproven)"]


def test_a_test_without_gateway_and_call_is_unproven_unless_it_may_idle() -> None:
    assert rules_of(Bench(BOOKS).judge.conclude()) == ["NO-CALLS"]
    bench = Bench(BOOKS)
    bench.judge.gateway_opened("-", True)
    assert bench.judge.conclude() == ()


@pytest.mark.parametrize("text", [BOOKS + "mode: observe\n", None])
def test_no_calls_is_only_observed_where_nothing_is_enforced(text: str | None) -> None:
    assert [finding.mode for finding in Bench(*([text] if text else [])).judge.conclude()] == ["observe"]


def test_an_assertion_over_a_test_without_calls_fails_also_without_a_policy() -> None:
    bench = Bench()
    bench.judge.require(assertions.only("a.b", source="t:1"))
    assert [(finding.rule, finding.mode) for finding in bench.judge.conclude()] == [("NO-CALLS", "enforce")]


def test_findings_of_events_carry_no_payload_in_their_repr() -> None:
    bench = Bench(BOOKS)
    event = bench.call_event("books.pay", {"password": "correct horse"})
    assert "correct horse" not in repr(event)
    assert "correct horse" not in repr(dataclasses.replace(event, result="correct horse", params=None))
