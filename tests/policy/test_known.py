"""The baseline's format: strict, narrow, and for a while only."""

import contextlib
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.adopt.baseline import literal, quoted
from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.known import Known, load_baseline
from pytest_mcp_governance.policy.loader import read_document
from pytest_mcp_governance.policy.matching import parse_glob
from pytest_mcp_governance.policy.verdicts import Finding

TODAY = date(2027, 1, 10)
ENTRY = 'id: K-1, rule: READ, tool: "books.get_*", owner: payables, reason: old, expires: 2027-02-25'
FINDING = Finding("blocked", "enforce", "READ", "no-rule", "r", agent="clerk-1", server="books", tool="get_vendor")


def load(*entries: str, head: str = "baseline: 1\nknown:\n") -> tuple[Known, ...]:
    text = head + "".join(f"- {{{entry}}}\n" for entry in entries)
    return load_baseline(text, name="known.yaml", today=TODAY).entries


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (ENTRY.replace("id: K-1, ", ""), "the entry has no id"),
        (ENTRY.replace("rule: READ, ", ""), "entry K-1 has no rule"),
        (ENTRY.replace("reason: old, ", ""), "entry K-1 has no reason"),
        (ENTRY.replace(", expires: 2027-02-25", ""), "entry K-1 has no expires"),
        (ENTRY.replace("owner: payables, ", ""), "entry K-1 has neither owner nor ticket"),
        (ENTRY.replace("owner: payables", "owner: null"), "owner is empty"),
        (ENTRY.replace("owner: payables", 'owner: " "'), "owner must be a text"),
        (ENTRY.replace('tool: "books.get_*", ', ""), "entry K-1 would let every finding of its rule pass"),
        (ENTRY.replace("owner", "ownr"), "Did you mean 'owner'?"),
        (ENTRY + ", state: bloked", "Did you mean 'blocked'?"),
        (ENTRY.replace("2027-02-25", "2027-02-30"), "expires must be a day such as"),
        (ENTRY.replace("2027-02-25", "20270225"), "expires must be a text"),
        (ENTRY.replace("2027-02-25", "2028-02-25"), "expires is 2028-02-25, more than a year after 2027-01-10"),
        (ENTRY.replace("books.get_*", "books"), "known.yaml:3:"),
        (ENTRY.replace("id: K-1", "id: K 1"), "the id 'K 1' must be letters"),
    ],
)
def test_what_is_wrong_with_an_entry_has_its_place_and_a_remedy(entry: str, says: str):
    with pytest.raises(PolicyError) as refused:
        load(entry)
    assert says in str(refused.value)
    assert str(refused.value).startswith("known.yaml:3:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "known.yaml:1:1: the baseline is empty"),
        ("baseline: 2\nknown: []\n", "known.yaml:1:11: format version 2 is unknown"),
        ("baseline: 1\n", "the baseline has no 'known'"),
        ("baseline: 1\nknown: {}\n", "known must be a list"),
        ("baseline: 1\nknwon: []\n", "Did you mean 'known'?"),
        ("baseline: 1\nbaseline: 1\nknown: []\n", "stands here twice"),
        ("governance: 1\npolicy: x\n", "unknown key 'governance' in the baseline"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(text: str, says: str):
    with pytest.raises(PolicyError) as refused:
        load_baseline(text, name="known.yaml", today=TODAY)
    assert says in str(refused.value)


def test_an_id_that_stands_twice_is_refused():
    with pytest.raises(PolicyError, match=r"'K-1' is used twice, first in known\.yaml:3"):
        load(ENTRY, ENTRY)


def test_a_baseline_may_know_nothing_any_more():
    assert load_baseline("baseline: 1\nknown: []\n", name="known.yaml", today=TODAY).entries == ()


def test_an_entry_matches_what_it_says_and_nothing_else():
    (entry,) = load(ENTRY)
    assert entry.matches(FINDING, "t.py::test_x")
    for other in (
        Finding("blocked", "enforce", "READ", "c", "r", server="books", tool="pay"),
        Finding("blocked", "enforce", "READ", "c", "r"),
        Finding("blocked", "enforce", "OTHER", "c", "r", server="books", tool="get_vendor"),
    ):
        assert not entry.matches(other, "t.py::test_x")


def test_what_could_not_be_judged_is_never_known():
    (entry,) = load(ENTRY.replace("READ", "ERROR"))
    error = Finding("blocked", "enforce", "ERROR", "exception", "r", server="books", tool="get_vendor")
    assert not entry.matches(error, "t.py::test_x")


@pytest.mark.parametrize("other", [replace(FINDING, expected=True), replace(FINDING, mode="observe")])
def test_expected_and_observed_findings_need_no_entry(other: Finding):
    baseline = load_baseline(f"baseline: 1\nknown:\n- {{{ENTRY}}}\n", name="known.yaml", today=TODAY)
    assert baseline.find(FINDING, "t") is not None
    assert baseline.find(other, "t") is None


@given(days=st.integers(-800, 800))
def test_an_entry_applies_until_its_last_day_and_no_file_reaches_beyond_a_year(days: int):
    entry = ENTRY.replace("2027-02-25", str(TODAY + timedelta(days=days)))
    text = f"baseline: 1\nknown:\n- {{{entry}}}\n"
    if days > 366:
        with pytest.raises(PolicyError):
            load_baseline(text, name="known.yaml", today=TODAY)
        return
    baseline = load_baseline(text, name="known.yaml", today=TODAY)
    assert (baseline.find(FINDING, "t") is not None) == (days >= 0)
    assert bool(baseline.expired) == (days < 0)


@given(st.text())
def test_any_text_is_refused_with_an_error_of_ours_or_read(text: str):
    with contextlib.suppress(PolicyError):
        load_baseline(text, name="known.yaml", today=TODAY)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_name_survives_being_written_as_a_pattern_into_yaml(name: str):
    node = read_document(f"a: {quoted(literal(name))}", "x")
    assert node.entries[0][1].value == literal(name)
    assert parse_glob(literal(name)).matches(name)
    assert parse_glob(literal(name)).exact == (name == name.strip())
