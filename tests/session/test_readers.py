"""Where we forward when enforcing, no lenient reader sees another call than we do.

The readers: the last of two equal keys wins, the first wins, members in any case, and streams that are cut where
`str.splitlines` or Node's readline cut: at a bare CR, U+2028, U+2029, U+0085 and the like.
"""

import json
import re
from collections.abc import Callable, Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.session.resolve import FileResolver
from pytest_mcp_governance.session.wire import Exchange

POLICY = "governance: 1\npolicy: p\nrules:\n- {id: READ, allow: ['srv.read'], allow_prompts: ['srv.*']}\n"
ENDS = ["\r", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\t", " ", "\x00"]
_NODE = re.compile("\r\n|\n|\r|\u2028|\u2029")


def first_wins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(reversed(pairs))


def any_case(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {key.casefold(): value for key, value in pairs}


def lines(raw: bytes) -> Iterator[str]:
    text = raw.decode("utf-8", "replace")
    yield text
    yield text.lstrip("\ufeff")
    yield from text.splitlines()
    yield from _NODE.split(text)
    yield from raw.decode("latin-1").splitlines()


def calls(raw: bytes) -> set[str]:
    """Every tool that some lenient reader would run."""
    found: set[str] = set()
    readers: list[Callable[[list[tuple[str, object]]], object]] = [dict, first_wins, any_case]
    for line in lines(raw):
        for pairs in readers:
            try:
                value = json.loads(line, object_pairs_hook=pairs, strict=False)
            except (ValueError, RecursionError):
                continue
            for message in value if isinstance(value, list) else [value]:
                if isinstance(message, dict) and message.get("method") == "tools/call":
                    params = message.get("params")
                    name = params.get("name") if isinstance(params, dict) else None
                    found.add(str(name))
    return found


def forwarded(raw: bytes) -> tuple[bool, str | None]:
    """Whether it is passed on when enforcing, and for which tool."""
    message = Exchange().classify(raw, "c2s")
    judge = Judge([load_policy(POLICY, name="p.yaml")], mode="enforce", resolver=FileResolver("/"))  # type: ignore[arg-type]  # a path
    decision = judge.decide(message.event("main/1", conn="c1", server="srv", agent="a"))
    return decision.effect == "forward", message.tool


# Pieces of which messages with two readings are made.
keys = st.sampled_from(
    ["jsonrpc", "id", "method", "params", "name", "arguments", "Method", "NAME", "param\u017f", "Params", "x", "result"]
)
scalars = st.sampled_from(['"2.0"', '"tools/call"', '"read"', '"drop"', "1", "NaN", "null", '"ping"', '"x"'])
gaps = st.sampled_from(["", "", "", " ", *ENDS])
inside = st.sampled_from(
    [
        "",
        *ENDS,
        '{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"tools/call\\",\\"params\\":{\\"name\\":\\"drop\\"}}',
        "{",
        "}",
    ]
)
texts = st.lists(inside, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(keys, gaps, values).map(lambda m: f'"{m[0]}":{m[1]}{m[2]}')
    return st.tuples(gaps, st.lists(member, max_size=5)).map(lambda o: "{" + o[0] + ("," + o[0]).join(o[1]) + "}")


pieces = st.recursive(scalars | texts, lambda inner: objects(inner) | st.lists(inner, max_size=3).map(
    lambda items: "[" + ",".join(items) + "]"), max_leaves=8)  # fmt: skip
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":%s}}}'
DROP = '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"drop"}}'
OTHERS = ['"name":"drop"', '"Name":"drop"', DROP, '"x":' + DROP, "", '"id":1']


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A call to the allowed tool, with something else in the middle, or anything at all."""
    base, gap, other = CALL % draw(pieces), draw(gaps), draw(st.sampled_from(OTHERS))
    at = draw(st.integers(0, len(base)))
    head, tail = base[:at], base[at:]
    made = [base, draw(pieces), head + gap + tail, head + other + tail, head + gap + other + gap + tail]
    return draw(st.sampled_from([*made, base + gap + other])).replace("\n", "").encode("utf-8", "surrogatepass")


@settings(max_examples=400, deadline=None)
@given(messages())
@example((CALL % f"\r{DROP}\r").encode())
@example((CALL % '1},"name":"drop","y":{').encode())
@example((CALL % '1},"Name":"drop","y":{').encode())
@example((CALL % '"\u2028"').encode())
def test_what_is_forwarded_runs_the_same_tool_for_every_reader(raw: bytes) -> None:
    passed, tool = forwarded(raw)
    if passed:
        assert calls(raw) <= ({tool} if tool is not None else set())


def test_the_readers_see_what_the_strict_parse_refuses() -> None:
    """The property is about something: without the strict parse it would not hold."""
    hidden = CALL % f"\r{DROP}\r"
    assert "drop" in calls(hidden.encode()) and forwarded(hidden.encode())[0] is False
    assert forwarded(hidden.replace("\r", " ").encode())[0] is True
