"""A pattern covers whole names, in linear time, and takes nothing in a name for a pattern."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.policy.jsonpath import parse_jsonpath
from pytest_mcp_governance.policy.matching import MAX_SUBJECT, parse_glob, parse_tool_pattern


@pytest.mark.parametrize(
    ("pattern", "server", "tool", "covered"),
    [
        ("books.read", "books", "read", True),
        ("books.read", "books", "read_secrets", False),
        ("books.read", "books", "xread", False),
        ("books.read", "Books", "read", False),
        ("books.read", "books", "Read", False),
        ("books.read", "books", "read\n", False),
        ("books.get_*", "books", "get_", True),
        ("books.get_*", "books", "get_a.b", True),
        ("books.get_*", "books", "get_\n", True),
        ("books.get_*", "books2", "get_a", False),
        ("*.*", "any", "thing", True),
        ("*.*", "any", "", False),
        ("{a,b}.{get,list}_*", "b", "list_x", True),
        ("{a,b}.{get,list}_*", "c", "list_x", False),
        ("a.{x*,y}z", "a", "x1z", True),
        ("a.[r]ead", "a", "read", False),
        ("a.[r]ead", "a", "[r]ead", True),
        ("a.rea?", "a", "read", False),
        (r"a.\*", "a", "*", True),
        (r"a.\*", "a", "x", False),
        (r"a.{\,,b}", "a", ",", True),
        ("a.b.c", "a", "b.c", True),
        ("a.b.c", "a.b", "c", False),
    ],
)
def test_a_tool_pattern_covers(pattern: str, server: str, tool: str, covered: bool) -> None:
    assert parse_tool_pattern(pattern).matches(server, tool) is covered


def test_glob_characters_in_a_name_are_plain_characters() -> None:
    assert not parse_tool_pattern("a.read").matches("a", "*")
    assert not parse_tool_pattern("a.{b,c}").matches("a", "{b,c}")
    assert parse_tool_pattern("a.*").matches("a", "{*}")


@pytest.mark.parametrize(
    ("pattern", "uri", "covered"),
    [
        ("file:///srv/*", "file:///srv/a", True),
        ("file:///srv/*", "file:///srv/a/b", False),
        ("file:///srv/**", "file:///srv/a/b", True),
        ("file:///srv/**", "file:///srv", False),
        ("db://*/{a,b}/**/x", "db://h/a/1/2/x", True),
        ("db://*/{a,b}/**/x", "db://h/c/1/2/x", False),
    ],
)
def test_a_uri_pattern_stops_at_slashes(pattern: str, uri: str, covered: bool) -> None:
    assert parse_glob(pattern, separator="/").matches(uri) is covered


PIECES = st.one_of(
    st.text(alphabet="ab./,", min_size=1, max_size=3),
    st.sampled_from(["*", "**"]),
    st.lists(st.text(alphabet="ab./*", min_size=1, max_size=3), min_size=1, max_size=3).map(
        lambda c: f"{{{','.join(c)}}}"
    ),
)


def as_regex(piece: str, separator: str | None) -> str:
    if piece.startswith("{"):
        return "(?:" + "|".join(as_regex(choice, separator) for choice in piece[1:-1].split(",")) + ")"
    form = re.escape(piece).replace(r"\*\*", ".*")
    return form.replace(r"\*", "[^/]*" if separator else ".*")


@given(st.lists(PIECES, min_size=1, max_size=4), st.text(alphabet="ab,./", min_size=1, max_size=12))
def test_the_matcher_agrees_with_a_regular_expression(pieces: list[str], name: str) -> None:
    if any(one.endswith("*") and two.startswith("*") for one, two in pairwise(pieces)):
        return  # two stars would read as one **
    for separator in (None, "/"):
        try:
            glob = parse_glob("".join(pieces), separator=separator)
        except ValueError:
            continue
        form = "".join(as_regex(piece, separator) for piece in pieces)
        assert glob.matches(name) == bool(re.fullmatch(form, name, re.DOTALL))


@given(st.text(min_size=1, max_size=30))
def test_an_escaped_name_covers_itself_and_nothing_longer(name: str) -> None:
    if name != name.strip():
        return
    glob = parse_glob(re.sub(r"([*{},\\])", r"\\\1", name))
    assert glob.matches(name)
    assert not glob.matches(name + "x")


def test_a_hostile_name_costs_linear_time() -> None:
    glob = parse_glob("*a*a*a*a*a*a*a*b")
    began = time.process_time()
    assert not glob.matches("a" * MAX_SUBJECT)
    assert time.process_time() - began < 1


def test_an_overlong_name_is_covered_by_nothing() -> None:
    assert not parse_glob("*").matches("a" * (MAX_SUBJECT + 1))


def test_a_pattern_of_too_many_choices_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 256"):
        parse_glob("{a,b,c,d}" * 5)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$", [{"a": {"b": [{"c": 1}, {"c": 2}]}, "d e": 0}]),
        ("$.a.b[*].c", [1, 2]),
        ("$.a.b[0].c", [1]),
        ("$.a.b[-1].c", [2]),
        ("$['d e']", [0]),
        ("$.a.*", [[{"c": 1}, {"c": 2}]]),
        ("$.a.b.c", []),
        ("$.x.y", []),
        ("$.a[0]", []),
    ],
)
def test_a_result_path_finds(path: str, values: list[object]) -> None:
    assert parse_jsonpath(path).values({"a": {"b": [{"c": 1}, {"c": 2}]}, "d e": 0}) == values
