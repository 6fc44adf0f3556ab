"""A judge that keeps nothing tells each finding at once, says the same as one that keeps all, and does not grow."""

import pickle
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.policy import engine
from pytest_mcp_governance.policy.engine import Finding, Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.masking import Masker
from tests.policy.cases import Links, policy

TEXT = """\
governance: 1
policy: people
rules:
- {id: READ, allow: ["books.get_*"]}
- {id: FILE, allow: ["books.read"], args: {path: {within: /srv}}}
data:
  people: {class: pii, detect: [email]}
"""
TOOLS = ("get_vendor", "read", "drop", "pay")


def judge(*, keeps: bool, mode: str = "enforce") -> Judge:
    text = TEXT + f"mode: {mode}\n"
    return Judge([policy(text)], mode=None, resolver=Links(), keeps=keeps)


def call(number: int, tool: str, path: str = "/srv/a") -> tuple[Event, Event]:
    """A call with an address of its own, and its answer with another one."""
    params = {"name": tool, "arguments": {"path": path, "mail": f"a{number}@example.org"}}
    asked = Event(f"main/{2 * number}", "c2s", "request", "tools/call", "c1", "books", "clerk", tool, params=params)
    result = {"content": [{"type": "text", "text": f"b{number}@example.org"}]}
    answer = replace(asked, ref=f"main/{2 * number + 1}", direction="s2c", kind="result", params=None, result=result)
    return asked, answer


def play(one: Judge, calls: Iterable[tuple[Event, Event]]) -> list[Finding]:
    told = []
    for asked, answer in calls:
        decision = one.decide(asked)
        told.append(one.recorded(asked, decision, asked.ref + "d"))
        if decision.effect == "forward":
            decision = one.decide(answer, asked)
            told.append(one.recorded(answer, decision, answer.ref + "d"))
    return [finding for finding in told if finding is not None]


CALLS = st.lists(st.tuples(st.sampled_from(TOOLS), st.sampled_from(["/srv/a", "/etc/b"])), max_size=12)


@given(CALLS, st.sampled_from(["enforce", "observe"]))
def test_what_it_tells_at_once_is_what_the_other_one_tells_at_the_end(calls: list[tuple[str, str]], mode: str) -> None:
    events = [call(number, *one) for number, one in enumerate(calls)]
    keeps, forgets = judge(keeps=True, mode=mode), judge(keeps=False, mode=mode)
    for one in (keeps, forgets):
        one.gateway_opened("g1", True, label="agent clerk to books")
    assert play(keeps, events) == []
    told = play(forgets, events)
    assert told == list(keeps.conclude())
    assert forgets.conclude() == ()


def test_it_does_not_grow_with_the_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("_MOST_LEARNED", "_MOST_BLOCKED"):
        monkeypatch.setattr(engine, bound, 100)
    one = judge(keeps=False)
    sizes = []
    for part in range(3):
        play(one, (call(number, TOOLS[number % 4]) for number in range(part * 300, (part + 1) * 300)))
        sizes.append(_size(one))
    assert sizes[2] <= sizes[0] * 1.1  # longer numbers are longer


def _size(one: Judge) -> int:
    """Bytes of all that it refers to and that grows: labels, permits, refusals, calls."""
    account = one._account
    return len(
        pickle.dumps(
            [one._masker._labels, one._permits, list(one._blocked), account._refusals, account._calls,
             account._unrecorded, one._plain]
        )
    )  # fmt: skip


def test_a_masker_that_forgets_keeps_the_newest_and_the_secrets() -> None:
    masker = Masker(["hunter22"], most=2)
    for number in range(4):
        masker.learn([f"person-{number}"], "people")
    assert masker.text("person-0 and person-3, hunter22") == "person-0 and [people], [secret]"
    masker.learn(["hunter22"], "people")
    assert masker.text("hunter22") == "[secret]"
