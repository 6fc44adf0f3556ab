"""A policy is read whole or refused with its place; nothing in it is ever ignored."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.loader import load_policy
from tests.policy.cases import BOOKS, policy, rules

READ = '{id: READ, allow: ["books.get_*"]}'


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_policy(text, name="p.yaml")
    return caught.value


def test_the_smallest_useful_file_is_read() -> None:
    read = policy(BOOKS)
    assert (read.id, read.mode, [rule.id for rule in read.rules]) == ("read-only-books", "enforce", ["READ"])
    assert read.rules[0].source == "test.policy.yaml:4"


def test_the_digest_is_that_of_the_text() -> None:
    assert policy(BOOKS).sha256 != policy(BOOKS + "\n").sha256


@pytest.mark.parametrize(
    "key",
    ["extends", "pins", "flows", "sequences", "budgets", "evidence", "coverage"],
)
def test_a_section_of_a_later_version_is_refused_not_ignored(key: str) -> None:
    error = refused(f"{BOOKS}{key}: {{a: b}}\n")
    assert (error.line, error.column) == (5, 1)
    assert "not supported in this version" in error.message


@pytest.mark.parametrize(
    "extra",
    [
        "where: {annotations: {readOnlyHint: true}}",
        "unless: [OTHER]",
        "approval: {always: true}",
        "deny_resources: ['file:///**']",
        "args: {a: {from: [request]}}",
        "args: {a: {format: iban}}",
        "args: {a: {sql: {tables: [x]}}}",
    ],
)
def test_a_clause_of_a_later_version_is_refused_not_ignored(extra: str) -> None:
    assert "not supported in this version" in refused(rules(f'{{id: R, allow: ["a.b"], {extra}}}')).message


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ("servers: {bank: {hosts: [bank.example], trust: internal}}", "hosts"),
        ("servers: {bank: {command: [bank]}}", "command"),
        ("protocol: {list_changed: {re_pin: true}}", "list_changed"),
        ("protocol: {elicitation: {allow: true, forbid_fields: [card]}}", "forbid_fields"),
        ("protocol: {elicitation: {allow: [approvals]}}", "a list"),
        ("data: {a: {tables: [b]}}", "tables"),
    ],
)
def test_a_part_of_a_later_version_is_refused_not_ignored(head: str, what: str) -> None:
    message = refused(rules(READ, head=head)).message
    assert what in message
    assert "not supported in this version" in message


@pytest.mark.parametrize("beside", ["args: {a: {max: 1}}", "data: [builtin.secret]", "unresolved: deny"])
def test_limits_beside_deny_are_refused(beside: str) -> None:
    assert "not supported" in refused(rules(READ, f"{{id: D, deny: ['a.b'], {beside}}}")).message


def test_an_unknown_key_asks_what_was_meant() -> None:
    error = refused(rules("{id: R, alow: ['a.b']}"))
    assert "Did you mean 'allow'?" in str(error)
    assert str(error).startswith("p.yaml:5:11: ")


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO"])
def test_a_bare_truth_word_is_an_error(word: str) -> None:
    assert "truth value" in refused(rules(f"{{id: R, allow: ['a.b'], args: {{x: {{in: [{word}]}}}}}}")).message


def test_a_quoted_truth_word_is_a_text() -> None:
    read = policy(rules("{id: R, allow: ['a.b'], args: {x: {in: ['yes', 'no']}}}"))
    assert read.rules[0].args is not None


@pytest.mark.parametrize("number", ["0x10", "1_000", "010", "1e3", ".inf", "+5", "0o17"])
def test_a_number_in_an_unusual_form_is_an_error(number: str) -> None:
    assert "plain decimal" in refused(rules(f"{{id: R, allow: ['a.b'], args: {{x: {{max: {number}}}}}}}")).message


def test_a_duplicate_key_is_an_error_at_its_second_place() -> None:
    error = refused(f"{BOOKS}mode: enforce\nmode: observe\n")
    assert (error.line, "twice" in error.message) == (6, True)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: !!str 1\n",
        "%YAML 1.1\n---\na: 1\n",
        f"{BOOKS}---\n{BOOKS}",
        "a: [1, 2\n",
        "\tgovernance: 1\n",
        "",
        "   \n",
        "# only a comment\n",
        "null",
        "[]",
        "governance: 1",
        "governance: 2\npolicy: p\nrules: []",
        "governance: true\npolicy: p\nrules: []",
        "a: " + "[" * 500,
        "\x00",
        "\ud800",
        "a: 1\n<<: {b: 2}\n",
        "? [a]\n: b\n",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "section",
    ["rules: []", "rules: {}", "rules:", "rules: READ", "rules: [READ]", "rules: [{}]", "rules: [{id: R}]"],
)
def test_rules_that_say_nothing_are_refused(section: str) -> None:
    assert refused(f"governance: 1\npolicy: p\n{section}\n").line >= 1


@pytest.mark.parametrize(
    "rule",
    [
        "{id: R, allow: []}",
        "{id: R, allow: ['']}",
        "{id: R, allow: 'a.b'}",
        "{id: R, allow: ['a']}",
        "{id: R, allow: ['*']}",
        "{id: R, allow: ['a.']}",
        "{id: R, allow: ['.b']}",
        "{id: R, allow: ['a.{b']}",
        "{id: R, allow: ['a.b}']}",
        "{id: R, allow: ['a.{b,}']}",
        "{id: R, allow: ['a.**']}",
        "{id: R, allow: [1]}",
        "{id: R, allow: [null]}",
        "{id: R, allow: ['a.b', 'a.b']}",
        "{id: R, allow: ['a.b'], deny: ['a.c']}",
        "{id: 'R R', allow: ['a.b']}",
        "{id: ERROR, allow: ['a.b']}",
        "{allow: ['a.b']}",
        "{id: R, allow: ['a.b'], to: []}",
        "{id: R, allow: ['a.b'], args: {}}",
        "{id: R, allow: ['a.b'], args: {x: {}}}",
        "{id: R, allow: ['a.b'], args: {x: 5}}",
        "{id: R, allow: ['a.b'], args: {x: {max: '5'}}}",
        "{id: R, allow: ['a.b'], args: {x: {max: true}}}",
        "{id: R, allow: ['a.b'], args: {x: {min: 5, max: 4}}}",
        "{id: R, allow: ['a.b'], args: {x: {type: string, max: 4}}}",
        "{id: R, allow: ['a.b'], args: {x: {type: int}}}",
        "{id: R, allow: ['a.b'], args: {x: {regex: '('}}}",
        "{id: R, allow: ['a.b'], args: {x: {regex: ''}}}",
        "{id: R, allow: ['a.b'], args: {x: {in: []}}}",
        "{id: R, allow: ['a.b'], args: {x: {no_ip: false}}}",
        "{id: R, allow: ['a.b'], args: {x: {host: ['https://a.b']}}}",
        "{id: R, allow: ['a.b'], args: {x: {host: ['a.*']}}}",
        "{id: R, allow: ['a.b'], args: {x: {within: ''}}}",
        "{id: R, allow: ['a.b'], args: {x: {within: /a/../b}}}",
        "{id: R, allow: ['a.b'], args: {x: {resolve: symlinks}}}",
        "{id: R, allow: ['a.b'], data: [nowhere]}",
        "{id: R, allow: ['a.b'], unresolved: deny}",
        "{id: R, allow_resources: ['/srv']}",
        "{id: R, allow_resources: ['file:///srv/../etc']}",
        "{id: R, allow_prompts: ['p']}",
    ],
)
def test_a_rule_that_cannot_mean_anything_is_refused(rule: str) -> None:
    assert refused(rules(rule)).line >= 4


def test_a_rule_id_is_used_once() -> None:
    error = refused(rules(READ, READ))
    assert (error.line, error.message) == (6, "rule id 'READ' is used twice, first in p.yaml:5")


@pytest.mark.parametrize("text", ["", "  \n", "# only a comment\n"])
def test_an_empty_policy_is_refused_at_its_first_line(text: str) -> None:
    assert str(refused(text)).startswith("p.yaml:1:1: the policy is empty")


def test_a_mode_outside_its_choices_is_refused_at_its_place() -> None:
    assert str(refused(f"{BOOKS}mode: obsreve\n")).startswith(
        "p.yaml:5:7: mode must be one of enforce, observe, not 'obsreve'\n  Did you mean 'observe'?"
    )


def test_a_group_with_a_typo_is_refused_because_its_rule_would_be_lost() -> None:
    head = 'agents: {payables: ["payables-*"]}'
    assert "no group" in refused(rules(READ, "{id: D, deny: ['a.b'], to: [payable]}", head=head)).message


def test_an_agent_may_be_named_where_a_group_covers_it() -> None:
    read = policy(rules("{id: R, allow: ['a.b'], to: [payables-3]}", head='agents: {payables: ["payables-*"]}'))
    assert read.rules[0].concerns("payables-3")
    assert not read.rules[0].concerns("payables-4")


def test_a_constraint_does_not_allow() -> None:
    assert "only limits" in refused(rules(READ, head="kind: constraint")).message


def test_a_source_without_any_allow_must_say_that_it_is_a_constraint() -> None:
    assert "no rule allows" in refused(rules("{id: D, deny: ['a.b']}")).message
    assert policy(rules("{id: D, deny: ['a.b']}", head="kind: constraint")).constraint


@pytest.mark.parametrize("path", ["$..a", "a.b", "$.a[?@.b]", "$.a[1:2]", "$.", "$['a'", "$.a b"])
def test_a_result_path_outside_the_subset_is_refused(path: str) -> None:
    refused(rules(READ, head=f'data: {{s: {{results: {{a.b: ["{path}"]}}}}}}'))


@pytest.mark.parametrize(
    "scope", ["{}", "{class: pii}", "{class: private, detect: [email]}", "{detect: [mail]}", "{hosts: []}"]
)
def test_a_scope_that_says_nothing_is_refused(scope: str) -> None:
    refused(rules(READ, head=f"data: {{s: {scope}}}"))


def test_what_only_informs_people_is_accepted() -> None:
    head = "owner: {team: t, ticket: G-1}\nreview_by: 2027-05-01\nservers: {books: {trust: vendor}}\ndefault: deny"
    assert policy(rules(READ, head=head)).rules


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["allow", "a.b", "id", "READ"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["id", "allow", "deny", "to", "args", "data", "unresolved", "controls", "allow_resources", "allow_prompts"]
)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        assert load_policy(text, name="p").rules


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from(["data", "agents", "protocol", "servers"]), VALUES)
@settings(max_examples=100, deadline=None)
def test_any_rule_is_a_rule_or_a_policy_error(rule: dict[str, object], section: str, value: object) -> None:
    text = f"governance: 1\npolicy: p\nrules: [{json.dumps(rule)}]\n{section}: {json.dumps(value)}\n"
    with contextlib.suppress(PolicyError):
        assert load_policy(text, name="p").rules
