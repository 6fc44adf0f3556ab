"""No call that was denied is allowed by a change that `diff` calls not wider: the judge itself is asked."""

import time
from collections.abc import Mapping
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.classes import name_classes
from pytest_mcp_governance.policy.diff import diff
from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.matching import parse_glob
from pytest_mcp_governance.policy.model import Policy
from tests.policy.cases import Links, policy, rules

GLOBS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "a*b", "{a,b}", "{a,b}*", "*a*", "c"])
NAMES = st.text(alphabet="abz", min_size=1, max_size=4)
LIMITS = st.sampled_from(
    [
        "type: any", "type: integer", "type: number", "type: string", "min: 1", "min: 1, max: 5", "max: 3",
        "type: integer, max: 3", "in: [1, 2]", "in: [1.0, true]", "in: [ab, 3]", "regex: 'a+'", "regex: 'a|b'",
        "host: [x.example]", "host: ['*.x.example']", "host: ['*.example'], no_ip: true", "no_ip: true",
        "scheme: [https]", "scheme: [https, http]", "host: [x.example], no_userinfo: true", "within: /a",
        "within: [/a, /b]", "optional: true", "max: 3, optional: true", "within: /b/c",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        0, 1, 2, 3, 4, 6, 1.0, 2.5, True, False, None, "a", "ab", "aa", "b", "3", "https://x.example/", "/a/x", "/b",
        "http://u@y.x.example/", "https://1.2.3.4/", "/a/../b/y", "/b/c/d", "/l/x", [], {}, 10**400, "./a",
        "ann@x.example",
    ]
)  # fmt: skip
ARGUMENTS = st.dictionaries(st.sampled_from(["x", "y"]), VALUES, max_size=2)
RESULTS = st.sampled_from(["none", "ann@x.example", '{"id": "ann@x.example"}', '{"id": 1}'])
DAYS = (date(2026, 12, 1), date(2026, 12, 2), date(2026, 12, 16))
LINKS = {"/l": "/a", "/b/c": "/a"}


@st.composite
def texts(draw: st.DrawFn, constraint: bool | None = None) -> str:
    """A small policy."""
    scopes = draw(st.dictionaries(st.sampled_from(["s", "t"]), _scope(), max_size=2))
    only_limits = draw(st.booleans()) if constraint is None else constraint
    lines = [_rule(draw, f"R{n}", tuple(scopes), only_limits) for n in range(draw(st.integers(1, 3)))]
    if not only_limits and not any("allow" in line for line in lines):
        lines.append("{id: LAST, allow: ['a.a']}")
    head = [f"data: {{{', '.join(f'{name}: {{{body}}}' for name, body in scopes.items())}}}"] if scopes else []
    head += ["kind: constraint"] if only_limits else []
    for word in draw(st.sampled_from([[], ["true"], ["false"]])):
        head.append(f"protocol: {{sampling: {{allow: {word}}}}}")
    return rules(*lines, head="\n".join(head)) + _waivers(draw, lines)


def _waivers(draw: st.DrawFn, lines: list[str]) -> str:
    found = []
    for line in lines:
        name = line[5 : line.index(",")]
        if draw(st.integers(0, 2)) or ("deny:" not in line and "args:" not in line):
            continue
        args = draw(st.sampled_from(["args: {x: {max: 4}}", "args: {y: {type: any}}", "args: {x: {optional: true}}"]))
        until = draw(st.sampled_from(["2026-12-01", "2026-12-15"]))
        found.append(
            f"- {{id: W{len(found)}, rule: {name}, {args}, agents: ['{draw(GLOBS)}'], ticket: t, owner: o, "
            f"expires: {until}, reason: r}}"
        )
    return "\nwaivers:\n" + "\n".join(found) if found else ""


def made(text: str) -> Policy | None:
    """The policy, None where a waiver's limits exclude those of its rule."""
    try:
        return policy(text)
    except PolicyError:
        return None


def _scope() -> st.SearchStrategy[str]:
    kinds = {
        "class": st.sampled_from(["pii", "secret", "untrusted"]),
        "paths": st.sampled_from(["[/a]", "['/a/**']", "[/b, /a]", "['/b/**', '/a/**']"]),
        "hosts": st.sampled_from(["[x.example]", "['*.x.example']"]),
        "results": st.sampled_from(["{'a.*': ['$.id']}", "{a.b: ['$']}"]),
        "detect": st.sampled_from(["[email]", "[email, jwt]"]),
    }
    found = st.fixed_dictionaries({}, optional=kinds).filter(lambda made: set(made) - {"class"})
    return found.map(lambda made: ", ".join(f"{name}: {value}" for name, value in made.items()))


def _rule(draw: st.DrawFn, name: str, scopes: tuple[str, ...], only_limits: bool) -> str:
    denies = only_limits or draw(st.integers(0, 3)) == 0
    patterns = draw(st.lists(st.tuples(GLOBS, GLOBS), min_size=1, max_size=2, unique=True))
    shown = ", ".join(f"'{server}.{tool}'" for server, tool in patterns)
    parts = [f"id: {name}", f"{'deny' if denies else 'allow'}: [{shown}]"]
    if draw(st.booleans()):
        parts.append(f"to: ['{draw(GLOBS)}']")
    if not denies and draw(st.booleans()):
        args = draw(st.dictionaries(st.sampled_from(["x", "y"]), LIMITS, min_size=1, max_size=2))
        parts.append(f"args: {{{', '.join(f'{key}: {{{limits}}}' for key, limits in args.items())}}}")
    if not denies and scopes and draw(st.booleans()):
        touched = draw(st.lists(st.sampled_from([*scopes, "builtin.secret"]), min_size=1, unique=True))
        parts.append(f"data: [{', '.join(touched)}]")
        parts += draw(st.sampled_from([[], ["unresolved: deny"]]))
    return f"{{{', '.join(parts)}}}"


CALLS = st.tuples(NAMES, NAMES, NAMES, ARGUMENTS, RESULTS)


SOURCES = st.lists(texts(), min_size=1, max_size=2)
EDITS = st.sampled_from(
    [
        "2026-12-01", "2026-12-15", "max: 4", "'a*'", "'a'", "'*'", "'b'", "max: 3", "type: string", "[email]", "[/a]",
        "pii", "secret", "/b/c", "type: any",
    ]
)  # fmt: skip


def allowed(
    policies: list[Policy], today: date, server: str, tool: str, agent: str, args: Mapping[str, object], text: str
) -> bool:
    """Whether the call is allowed on a day, and so is its answer."""
    judge = Judge(policies, mode=None, resolver=Links(LINKS), today=today)
    call = Event(
        "m/1", "c2s", "request", "tools/call", "c", server, agent, tool, {"name": tool, "arguments": dict(args)}
    )
    result = {"content": [{"type": "text", "text": text}]}
    answer = Event("m/2", "s2c", "result", "tools/call", "c", server, agent, tool, None, result)
    return judge.decide(call).verdict == "allow" and judge.decide(answer, call).verdict == "allow"


def agrees(
    before: list[Policy], after: list[Policy], calls: list[tuple[str, str, str, dict[str, object], str]]
) -> None:
    found = diff(before, after)
    if found.widens:
        return
    waived = any(change.waiver for change in found.changes)
    for day in (DAYS[0],) if waived else DAYS:  # what a waiver covers it covers while it holds
        for call in calls:
            if allowed(after, day, *call):
                assert allowed(before, day, *call), f"denied before, allowed after, and not called wider: {call}"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(texts(), min_size=1, max_size=2), st.lists(texts(), min_size=1, max_size=2), st.lists(CALLS, max_size=6)
)
def test_what_is_called_not_wider_allows_no_call_more(before: list[str], after: list[str], calls: list):
    loaded = [[found for text in side if (found := made(text))] for side in (before, after)]
    if all(loaded):
        agrees(*loaded, calls)


@settings(max_examples=40, deadline=None)
@given(texts(constraint=False), EDITS, EDITS, st.lists(CALLS, min_size=3, max_size=8))
def test_a_small_edit_that_is_called_not_wider_allows_no_call_more(before: str, old: str, new: str, calls: list):
    was, now = made(before), made(before.replace(old, new, 1))
    if was and now:
        agrees([was], [now], calls)


@settings(max_examples=40, deadline=None)
@given(texts(constraint=False), st.lists(texts(), max_size=1), texts())
def test_sources_compared_with_themselves_and_more_never_widen(first: str, others: list[str], more: str):
    policies = [found for text in (first, *others) if (found := made(text))]
    added = made(more)
    # Constraints alone allow nothing, not even what another source does.
    if added and any(not found.constraint for found in policies):
        assert not diff(policies, policies).changes
        assert not diff(policies, [*policies, added]).widens


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(GLOBS, min_size=1, max_size=3, unique=True), min_size=1, max_size=5), st.lists(NAMES, max_size=9)
)
def test_every_name_is_in_a_class(patterns: list[list[str]], names: list[str]):
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


def test_two_policies_of_a_hundred_rules_are_compared_in_a_second():
    agents = "agents: {" + ", ".join(f"g{n}: ['team{n}-*']" for n in range(8)) + "}"
    lines = [
        f"{{id: R{n}, allow: ['s{n % 9}.get_{n}_*', 's{n % 9}.put_{n}', '*.list_{n}_*'], to: [g{n % 8}], "
        f"args: {{amount: {{type: integer, max: {n}}}, id: {{regex: 'x+'}}}}}}"
        for n in range(95)
    ] + [f"{{id: D{n}, deny: ['*.*delete_{n}*', '*.drop_{n}']}}" for n in range(5)]
    before = policy(rules(*lines, head=agents))
    after = policy(rules(*lines, head=agents).replace("max: 90}", "max: 91}").replace("put_3'", "put_*'"))
    begun = time.process_time()
    assert not diff([before], [before]).changes
    assert time.process_time() - begun < 1
    begun = time.process_time()
    assert diff([before], [after]).widens
    assert time.process_time() - begun < 1
