"""What the lint warns of, and what it leaves alone."""

from datetime import date

import pytest

from pytest_mcp_governance.policy.lint import lint
from pytest_mcp_governance.policy.lockfile import Lock, LockedServer, locked_tool
from tests.policy.cases import policy, rules

TODAY = date(2026, 12, 1)
OWNED = "owner: {team: t}"


def codes(text: str, lock: Lock | None = None) -> list[str]:
    return [warning.code for warning in lint(policy(text), today=TODAY, lock=lock)]


def texts(text: str, lock: Lock | None = None) -> str:
    return "\n".join(f"{w.place}: {w.text}" for w in lint(policy(text), today=TODAY, lock=lock))


def test_a_sound_policy_has_no_warning():
    assert codes(rules("{id: A, allow: ['b.get_*']}", "{id: B, allow: [b.pay], args: {x: {max: 1}}}", head=OWNED)) == []


def test_a_policy_without_owner():
    assert codes(rules("{id: A, allow: ['b.get_*']}")) == ["no-owner"]


@pytest.mark.parametrize(("day", "found"), [("2026-11-30", ["review-due"]), ("2026-12-01", [])])
def test_a_review_that_is_due(day: str, found: list[str]):
    assert codes(rules("{id: A, allow: ['b.get_*']}", head=f"{OWNED}\nreview_by: {day}")) == found


@pytest.mark.parametrize(
    ("day", "found"),
    [("2026-11-30", ["waiver-expired"]), ("2026-12-01", ["waiver-expires"]), ("2026-12-15", ["waiver-expires"]),
     ("2026-12-16", [])],
)  # fmt: skip
def test_waivers_that_ran_out_or_soon_will(day: str, found: list[str]):
    waiver = "{id: W, rule: A, args: {x: {max: 9}}, agents: [a], ticket: G-1, owner: o, expires: DAY, reason: r}"
    text = rules("{id: A, allow: [b.pay], args: {x: {max: 1}}}", head=OWNED)
    assert codes(f"{text}\nwaivers: [{waiver.replace('DAY', day)}]") == found


def test_a_rule_that_allows_everything():
    assert codes(rules("{id: A, allow: ['*.*']}", head=OWNED)) == ["allows-everything"]
    assert codes(rules("{id: A, allow: ['*.*'], to: [clerk]}", head=OWNED)) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("{id: A, allow: ['b.*']}", "{id: B, allow: [b.get]}"), "rule B changes nothing: A"),
        (("{id: B, allow: [b.get]}", "{id: A, allow: ['b.*']}"), "rule B changes nothing: A"),
        (("{id: A, allow: [b.x], args: {n: {max: 9}}}", "{id: B, allow: [b.x], args: {n: {max: 5}}}"), "rule B"),
        (("{id: A, allow: [b.x]}", "{id: B, allow: [b.x]}"), "rule B changes nothing: A"),
        (("{id: A, allow: ['b.*']}", "{id: B, allow: [c.x]}", "{id: D, deny: ['c.*']}"), "D (test.policy.yaml:7) den"),
        (("{id: A, allow: ['b.*']}", "{id: D, deny: ['b.d*']}", "{id: E, deny: [b.del]}"), "rule E changes nothing: D"),
        (("{id: A, allow: ['b.*']}", "{id: D, deny: [c.del]}"), "rule D denies what no rule allows anyway"),
        (("{id: A, allow: ['b.g*']}", "{id: C, allow: ['b.h*']}", "{id: B, allow: [b.go, b.ho]}"), "rule B changes"),
    ],
)  # fmt: skip
def test_rules_that_change_nothing(lines: tuple[str, ...], said: str):
    assert said in texts(rules(*lines, head=OWNED))
    assert len(codes(rules(*lines, head=OWNED))) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("{id: A, allow: [b.x], args: {n: {max: 9}}}", "{id: B, allow: [b.x], args: {n: {min: 5}}}"),
        ("{id: A, allow: [b.x], to: [clerk], args: {n: {max: 9}}}", "{id: B, allow: [b.x], args: {n: {max: 5}}}"),
        ("{id: A, allow: ['b.*']}", "{id: D, deny: ['*.del']}"),
    ],
)  # fmt: skip
def test_rules_that_do_something_are_left_alone(lines: tuple[str, ...]):
    assert codes(rules(*lines, head=OWNED)) == []


def test_a_denied_rule_that_a_waiver_opens_is_not_unreachable():
    waiver = "{id: W, rule: D, agents: [a], ticket: G-1, owner: o, expires: 2027-12-15, reason: r}"
    text = rules("{id: A, allow: [b.x]}", "{id: D, deny: ['b.*']}", head=OWNED)
    assert codes(text) == ["unreachable"]
    assert codes(f"{text}\nwaivers: [{waiver}]") == []


def locked(**annotations: dict[str, object]) -> Lock:
    tools = [locked_tool("b", {"name": name, "annotations": value}) for name, value in annotations.items()]
    return Lock({"b": LockedServer("0" * 64, "b", "1", "2025-06-18")}, tuple(tools))


def test_patterns_that_match_no_locked_tool():
    lock = locked(get={"readOnlyHint": True})
    assert codes(rules("{id: A, allow: ['b.get*', b.gett]}", "{id: D, deny: [b.del]}", head=OWNED), lock) == [
        "denies-nothing", "no-such-tool", "no-such-tool",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("annotations", "found"),
    [
        ({"readOnlyHint": True}, []),
        ({"destructiveHint": False}, []),
        ({"destructiveHint": True}, ["destructive"]),
        ({}, ["destructive"]),
        ({"readOnlyHint": "true"}, ["destructive"]),
    ],
)
def test_a_tool_that_may_destroy_something_needs_limits(annotations: dict[str, object], found: list[str]):
    lock = locked(drop=annotations)
    assert codes(rules("{id: A, allow: [b.drop]}", head=OWNED), lock) == found
    assert codes(rules("{id: A, allow: [b.drop], args: {id: {type: string}}}", head=OWNED), lock) == []
    denied = rules("{id: A, allow: ['b.*']}", "{id: D, deny: [b.drop]}", head=OWNED)
    assert codes(denied, lock) == []
