"""No call that was denied is allowed by a change that `diff` calls not wider: the judge itself is asked."""

from collections.abc import Sequence
from datetime import date
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.classes import name_classes
from pytest_mcp_governance.policy.diff import diff
from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.matching import parse_glob
from pytest_mcp_governance.policy.model import Policy
from tests.policy.cases import Links, policy, rules

GLOBS = ("a", "b", "ab", "*", "a*", "*b", "{a,b}", "{a,ab}*")
TOOLS = ("*.a", "a.*", "a.a", "a.a*", "*.{a,ab}", "a.b")
LIMITS = (
    "type: any", "type: integer", "type: number", "type: string", "min: 1", "min: 1, max: 5", "max: 3", "max: 4",
    "type: integer, max: 3", "in: [1, 2]", "in: [1.0, true]", "in: [ab, 3]", "regex: 'a+'", "regex: 'a|b'",
    "host: [x.example]", "host: ['*.x.example']", "host: ['*.example'], no_ip: true", "no_ip: true",
    "scheme: [https]", "scheme: [https, http]", "host: [x.example], no_userinfo: true", "within: /a",
    "within: [/a, /b]", "type: any, optional: true", "max: 3, optional: true", "within: /b/c",
)  # fmt: skip
SCOPES = (
    "paths: [/a]", "paths: ['/a/**']", "paths: ['/b/**', '/a/**']", "class: pii, detect: [email]",
    "class: untrusted, paths: [/b]",
    "hosts: [x.example], paths: [/b]", "class: pii, results: {'a.*': ['$.id']}", "class: secret, results: {a.a: ['$']}",
    "detect: [email]", "paths: ['/b/**'], detect: [email]",
)  # fmt: skip
VALUES = (
    0, 1, 2, 3, 4, 6, 1.0, 2.5, True, None, "a", "ab", "b", "3", "https://x.example/", "/a/x", "/b", "/a", "/c",
    "http://u@y.x.example/", "https://1.2.3.4/", "/a/../b/y", "/b/c/d", "/l/x", [], 10**400, "./a", "ann@x.example",
)  # fmt: skip
ANSWERS = ('{"id": "ann@x.example"}', '{"id": 1}', "ann@x.example")
ARGUMENTS = ({}, *({"x": value} for value in VALUES), *({"x": value, "y": 1} for value in (1, 4, "a", "/a")), {"y": 1})
CALLS = tuple(product(("a",), ("a", "ab", "b"), ("a", "ab"), ARGUMENTS))
DAYS = (date(2026, 12, 1), date(2026, 12, 2), date(2026, 12, 16))
LINKS = {"/l": "/a", "/b/c": "/a"}


@st.composite
def texts(draw: st.DrawFn, constraint: bool = False) -> str:
    """A small policy, as it comes; a line a rule, so that edits can take parts of it."""
    scopes = dict(zip("st", draw(st.lists(st.sampled_from(SCOPES), max_size=2)), strict=False))
    lines = [_rule(draw, f"R{n}", tuple(scopes), constraint) for n in range(draw(st.integers(1, 3)))]
    if not constraint and not any("allow" in line for line in lines):
        lines.append("{id: LAST, allow: ['a.a']}")
    head = [f"data: {{{', '.join(f'{name}: {{{body}}}' for name, body in scopes.items())}}}"] if scopes else []
    head += ["kind: constraint"] if constraint else []
    return rules(*lines, head="\n".join(head)) + _waivers(draw, lines)


def _rule(draw: st.DrawFn, name: str, scopes: tuple[str, ...], constraint: bool) -> str:
    denies = constraint or draw(st.integers(0, 3)) == 0
    patterns = draw(st.lists(st.sampled_from(TOOLS), min_size=1, max_size=2, unique=True))
    parts = [f"id: {name}", f"{'deny' if denies else 'allow'}: [{', '.join(repr(text) for text in patterns)}]"]
    if draw(st.integers(0, 2)) == 0:
        parts.append(f"to: ['{draw(st.sampled_from(GLOBS))}']")
    if not denies and draw(st.booleans()):
        limits = draw(st.lists(st.sampled_from(LIMITS), min_size=1, max_size=2))
        named = ", ".join(f"{key}: {{{text}}}" for key, text in zip("xy", limits, strict=False))
        parts.append(f"args: {{{named}}}")
    if not denies and scopes and draw(st.booleans()):
        parts.append(f"data: [{', '.join(draw(st.lists(st.sampled_from(scopes), min_size=1, unique=True)))}]")
        parts += draw(st.sampled_from([[], ["unresolved: deny"]]))
    return f"{{{', '.join(parts)}}}"


def _waivers(draw: st.DrawFn, lines: Sequence[str]) -> str:
    found = []
    for line in lines:
        if draw(st.integers(0, 2)) or ("deny:" not in line and "args:" not in line):
            continue
        args = draw(st.sampled_from(["x: {max: 4}", "y: {type: any}", "x: {optional: true}"]))
        until = draw(st.sampled_from(["2026-12-01", "2026-12-15"]))
        found.append(
            f"- {{id: W{len(found)}, rule: {line[5 : line.index(',')]}, args: {{{args}}}, "
            f"agents: ['{draw(st.sampled_from(GLOBS))}'], ticket: t, owner: o, expires: {until}, reason: r}}"
        )
    return "\nwaivers:\n" + "\n".join(found) if found else ""


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    """A policy, and the same with one part of it changed, added or taken out."""
    text = draw(texts())
    kinds = ([f": {{{limit}}}" for limit in LIMITS], [f": {{{scope}}}" for scope in SCOPES],
             [f"['{glob}']" for glob in GLOBS], [f"'{tool}'" for tool in TOOLS], ["2026-12-01", "2026-12-15"],
             [", unresolved: deny", ""], [", data: [s]", ", data: [t]", ", data: [s, t]", ""],
             ["x: {max: 4}", "y: {type: any}", "x: {optional: true}"])  # fmt: skip
    there = [(old, new) for words in kinds for old in words if old and old in text for new in words if old != new]
    lines = [(f"{line}\n", "") for line in text.splitlines() if line.startswith("- {id")]
    change = draw(st.sampled_from([*there, *lines]))
    return draw(st.sampled_from([(text, text.replace(*change, 1)), (text.replace(*change, 1), text)]))


def allowed(policies: Sequence[Policy], today: date, answer: str) -> set[int]:
    """Which of all calls are allowed, and their answer too."""
    judge = Judge(policies, mode=None, resolver=Links(LINKS), today=today)
    result = {"content": [{"type": "text", "text": answer}]}
    found = set()
    for number, (server, tool, agent, arguments) in enumerate(CALLS):
        params = {"name": tool, "arguments": arguments}
        call = Event(f"m/{number}", "c2s", "request", "tools/call", "c", server, agent, tool, params)
        if judge.decide(call).verdict == "allow":
            back = Event(f"r/{number}", "s2c", "result", "tools/call", "c", server, agent, tool, None, result)
            if judge.decide(back, call).verdict == "allow":
                found.add(number)
    return found


def agrees(before: Sequence[Policy], after: Sequence[Policy], answer: str) -> None:
    found = diff(before, after)
    if found.widens:
        return
    days = DAYS if any(policy.waivers for policy in (*before, *after)) else DAYS[:1]
    waived = any(change.waiver for change in found.changes)
    for day in days[:1] if waived else days:  # what a waiver covers it covers while it holds
        more = allowed(after, day, answer) - allowed(before, day, answer)
        assert not more, f"denied before, allowed after, and not called wider: {[CALLS[n] for n in more][:3]}"


def made(*sources: str) -> list[Policy]:
    """The policies; none where one cannot be, such as one with a waiver whose limits exclude its rule's."""
    try:
        return [policy(text) for text in sources]
    except PolicyError:
        return []


QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(edits(), st.sampled_from(ANSWERS))
def test_an_edit_that_is_called_not_wider_allows_no_call_more(edit: tuple[str, str], answer: str):
    before, after = made(edit[0]), made(edit[1])
    if before and after:
        agrees(before, after, answer)


@settings(max_examples=15, deadline=None, suppress_health_check=QUIET)
@given(st.lists(texts(), min_size=2, max_size=3), st.sampled_from(ANSWERS))
def test_sources_that_are_called_not_wider_together_allow_no_call_more(sources: list[str], answer: str):
    loaded = made(*sources)
    for count in range(1, len(loaded)):
        agrees(loaded[:count], loaded[count:], answer)
        agrees(loaded, loaded[count:], answer)


@settings(max_examples=30, deadline=None, suppress_health_check=QUIET)
@given(texts(), st.lists(texts(), max_size=1), texts() | texts(constraint=True))
def test_sources_compared_with_themselves_and_more_never_widen(first: str, others: list[str], more: str):
    policies, added = made(first, *others), made(more)
    if policies and added:
        assert not diff(policies, policies).changes
        assert not diff(policies, [*policies, *added]).widens


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from(GLOBS), min_size=1, max_size=3), min_size=1, max_size=5),
    st.lists(st.text("abz", min_size=1, max_size=4), max_size=9),
)
def test_every_name_is_in_a_class(patterns: list[set[str]], names: list[str]):
    groups = [[parse_glob(text) for text in group] for group in patterns]
    classes = name_classes(groups)
    assert classes is not None
    known = {found.groups for found in classes}
    for name in names:
        assert sum(1 << n for n, group in enumerate(groups) if any(g.matches(name) for g in group)) in known


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["/a/*", "/a/**", "/**/b", "/a/*/b", "/{a,b}/**"]), min_size=1, unique=True),
    st.text("/abz"),
)
def test_every_uri_is_in_a_class(patterns: list[str], rest: str):
    groups = [[parse_glob(text, separator="/")] for text in patterns]
    classes = name_classes(groups)
    assert classes is not None
    name = f"/{rest}"
    covered = sum(1 << n for n, group in enumerate(groups) if group[0].matches(name))
    assert covered in {found.groups for found in classes}


def test_in_two_policies_of_a_hundred_rules_the_two_changes_are_found():
    before = hundred_rules(100)
    after = before.replace("max: 90}", "max: 91}").replace("put_3'", "put_3*'")
    found = diff(made(before), made(after))
    told = {(change.direction, change.agent) for change in found.changes}
    assert told == {("wider", "team2-*"), ("wider", "team3-*")}
    assert not diff(made(before), made(before)).changes


def hundred_rules(count: int) -> str:
    agents = "agents: {" + ", ".join(f"g{n}: ['team{n}-*']" for n in range(8)) + "}"
    lines = [
        f"{{id: R{n}, allow: ['s{n % 9}.get_{n}_*', 's{n % 9}.put_{n}', '*.list_{n}_*'], to: [g{n % 8}], "
        f"args: {{amount: {{type: integer, max: {n}}}, id: {{regex: 'x+'}}}}}}"
        for n in range(count - 5)
    ]
    lines += [f"{{id: D{n}, deny: ['*.*delete_{n}*', '*.drop_{n}']}}" for n in range(5)]
    return rules(*lines, head=agents)
