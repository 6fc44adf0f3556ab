"""Every operator requires its type; what it cannot read does not pass."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.policy.arguments import first_failure, make_argument_rule
from pytest_mcp_governance.policy.operators import OperatorError
from pytest_mcp_governance.policy.places import Paths
from tests.policy.cases import Broken, Links

LINKS = {"/srv/ap/out": "/etc", "/srv/ap/in": "/srv/ap/deep", "/ap": "/srv/ap"}


def passes(operators: dict[str, object], value: object, links: dict[str, str] | None = None) -> bool:
    return (
        make_argument_rule("x", operators).failure(value, Paths(Links(links if links is not None else LINKS))) is None
    )


@pytest.mark.parametrize(
    ("operators", "good", "bad"),
    [
        ({"type": "integer"}, [0, -1, 10**30], [1.0, True, "1", None, [1]]),
        ({"type": "number"}, [0, 1.5], [True, "1", math.nan, math.inf, None]),
        ({"type": "string"}, ["", "a"], [1, None, ["a"]]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "null"}, [None], [0, "", False]),
        ({"type": "array"}, [[], [1]], [{}, "[]"]),
        ({"type": "object"}, [{}], [[], None]),
        ({"type": "any"}, [None, 1, "a", [], {}], []),
        ({"max": 5000}, [5000, -1, 4999.5], [5001, "5000", "1", None, True, math.nan, [1]]),
        ({"min": 1}, [1, 2.5], [0, "2", True, None]),
        ({"in": ["usd", 1, None, True]}, ["usd", 1, None, True], ["USD", "usd ", 1.0, False, ["usd"]]),
        ({"in": [0]}, [0], [False, "0", 0.0]),
        ({"regex": "[a-z]+"}, ["abc"], ["abc1", "1abc", "abc\n", "", 5, None, "a" * 5000]),
        ({"regex": "a|b"}, ["a", "b"], ["ab", "ax"]),
    ],
)
def test_an_operator_requires_its_type(operators: dict[str, object], good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not passes(operators, value)] == []
    assert [value for value in bad if passes(operators, value)] == []


@pytest.mark.parametrize(
    "value", ["/srv/ap", "/srv/ap/a", "/srv/ap/x/../a", "/srv/ap/in/a", "/ap/a", "file:///srv/ap/a%20b", "/srv//ap/./a"]
)
def test_within_takes_what_lies_inside_with_symlinks_resolved(value: str) -> None:
    assert passes({"within": "/srv/ap"}, value)


@pytest.mark.parametrize(
    "value",
    [
        "/srv/ap/../hr",
        "/srv/ap2/a",
        "/srv/ap/out/passwd",
        "/etc/passwd",
        "a",
        "./a",
        "../ap/a",
        "~/a",
        "",
        "/srv/ap/\0",
        "file://host/srv/ap/a",
        "file:///srv/ap/%2e%2e/hr",
        "file:///srv/ap%2f..%2fhr",
        "file:/srv/ap/a",
        "https:///srv/ap/a",
        5,
        None,
        ["/srv/ap/a"],
    ],
)
def test_within_refuses_what_leaves_or_might(value: object) -> None:
    assert not passes({"within": "/srv/ap"}, value)


def test_within_may_name_several_directories_and_a_relative_one_is_from_the_rootdir() -> None:
    assert passes({"within": ["/srv/ap", "data"]}, "/rootdir/data/a")
    assert not passes({"within": ["/srv/ap", "data"]}, "/data/a")


def test_within_resolves_the_policy_s_own_directory_too() -> None:
    assert passes({"within": "/ap"}, "/srv/ap/a")


def test_a_failing_resolver_passes_nothing() -> None:
    rule = make_argument_rule("x", {"within": "/srv"})
    with pytest.raises(OSError, match="no such place"):
        rule.failure("/srv/a", Paths(Broken()))


GOOD = {"scheme": ["https"], "host": ["*.irs.gov", "app.acme.example"], "no_userinfo": True, "no_ip": True}


@pytest.mark.parametrize(
    "url",
    ["https://www.irs.gov/a", "https://a.b.irs.gov", "HTTPS://APP.acme.example:8443/x?y", "https://app.acme.example./"],
)
def test_a_url_within_its_limits_passes(url: str) -> None:
    assert passes(GOOD, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://www.irs.gov",
        "https://irs.gov",
        "https://evilirs.gov",
        "https://www.irs.gov.evil.example",
        "https://www.irs.gov@evil.example",
        "https://user@www.irs.gov",
        "https://@www.irs.gov",
        "https://evil.example\\@www.irs.gov",
        "https://evil.example/\\www.irs.gov",
        "https://www.irs.gov\t.evil.example",
        " https://www.irs.gov",
        "https://www.irs.gov\n",
        "https:www.irs.gov",
        "https:/www.irs.gov",
        "https:///www.irs.gov",
        "//www.irs.gov",
        "www.irs.gov",
        "https://www%2eirs.gov",
        "https://\uff57ww.irs.gov",
        "https://www.irs。gov",
        "https://www.irs.gov:99999",
        "https://[::1",
        "javascript://www.irs.gov/%0aalert(1)",
        "",
        5,
        None,
        ["https://www.irs.gov"],
    ],
)
def test_a_url_outside_or_ambiguous_does_not_pass(url: object) -> None:
    assert not passes(GOOD, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "017700000001", "[::1]", "1.2.3.4."])
def test_no_ip_refuses_every_spelling_that_a_browser_takes_for_an_address(host: str) -> None:
    assert not passes({"no_ip": True}, f"http://{host}/")


def test_an_address_can_be_a_host() -> None:
    assert passes({"host": ["127.0.0.1", "localhost"]}, "http://127.0.0.1:8123/x")


def clause(rule: dict[str, dict[str, object]], arguments: dict[str, object], *, closed: bool = True) -> str | None:
    rules = [make_argument_rule(name, operators) for name, operators in rule.items()]
    failure = first_failure(rules, arguments, Paths(Links()), closed=closed)
    return failure.clause if failure else None


def test_a_missing_argument_fails_unless_it_is_optional() -> None:
    assert clause({"a": {"max": 1}}, {}) == "args.a.missing"
    assert clause({"a": {"max": 1, "optional": True}}, {}) is None
    assert clause({"a": {"max": 1, "optional": True}}, {"a": 2}) == "args.a.max"
    assert clause({"a": {"max": 1, "optional": True}}, {"a": None}) == "args.a.max"


def test_an_argument_that_the_rule_does_not_name_fails() -> None:
    assert clause({"a": {"type": "any"}}, {"a": 1, "b": 2}) == "args.unnamed"
    assert clause({"a": {"type": "any"}}, {"a": 1, "b": 2}, closed=False) is None


def test_the_clause_holds_no_word_of_the_call() -> None:
    assert clause({"a": {"type": "any"}}, {"a": 1, "hunter2": 2}) == "args.unnamed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OPERATORS = [
    {"type": "integer"}, {"max": 5}, {"min": 5}, {"in": ["a", 1]}, {"regex": "a+"}, {"within": "/srv"},
    {"scheme": ["https"]}, {"host": ["a.b"]}, {"no_userinfo": True}, {"no_ip": True},
]  # fmt: skip


@given(st.sampled_from(OPERATORS), JSON)
def test_an_operator_answers_for_any_value(operators: dict[str, object], value: object) -> None:
    assert passes(operators, value) in (True, False)


@given(st.sampled_from(OPERATORS), st.sampled_from(OPERATORS), JSON)
def test_another_operator_never_widens(one: dict[str, object], two: dict[str, object], value: object) -> None:
    try:
        both = make_argument_rule("x", {**one, **two})
    except OperatorError:
        return
    if set(one) != set(two) and both.failure(value, Paths(Links())) is None:
        assert passes(one, value, {})


@given(st.integers(), st.integers())
def test_max_is_inclusive_and_exact(limit: int, value: int) -> None:
    assert passes({"max": limit}, value) == (value <= limit)


@given(st.dictionaries(st.sampled_from(["type", "min", "max", "in", "regex", "optional", "host"]), JSON, max_size=3))
def test_any_operators_are_a_rule_or_an_operator_error(operators: dict[str, object]) -> None:
    with contextlib.suppress(OperatorError):
        assert make_argument_rule("x", operators).limits or operators.get("optional") in (True, False)
