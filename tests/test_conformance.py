"""The comparison with the official suite tells differences apart from failures; the page lists the explained ones."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

CONFORMANCE = Path(__file__).parent.parent / "conformance"
KNOWN = json.loads((CONFORMANCE / "differences.json").read_text(encoding="utf-8"))
STATUSES = st.sampled_from(["SUCCESS", "FAILURE", "SKIPPED"])
CHECKS = st.dictionaries(
    st.sampled_from(["ping", "tools-list", "caching"]),
    st.lists(st.tuples(st.sampled_from("abc"), STATUSES), max_size=4).map(Counter),
)


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    sys.path.insert(0, str(CONFORMANCE))
    try:
        import compare  # type: ignore[import-not-found]  # a program of its own beside the package
    finally:
        sys.path.remove(str(CONFORMANCE))
    assert isinstance(compare, ModuleType)
    return compare


@given(direct=CHECKS, through=CHECKS)
def test_a_scenario_differs_exactly_when_a_check_came_out_differently(compare: ModuleType, direct, through):
    found = {d.scenario: d for d in compare.differences("sdk", "2026-07-28", direct, through)}
    for scenario in {*direct, *through}:
        here, there = direct.get(scenario), through.get(scenario)
        assert (scenario in found) == (here != there)
        if scenario in found and here is not None and there is not None:
            assert len(found[scenario].direct) - len(found[scenario].through) == here.total() - there.total()


@given(checks=CHECKS)
def test_a_check_that_fails_on_both_sides_is_no_difference(compare: ModuleType, checks):
    assert compare.differences("sdk", "2025-11-25", checks, checks) == []


def test_a_documented_difference_explains_its_own_checks_and_nothing_more(compare: ModuleType):
    (entry, *_) = KNOWN
    same = compare.Difference(
        entry["part"], "2025-11-25", entry["scenario"], tuple(entry["direct"]), tuple(entry["through"])
    )
    assert compare.explanation(same, KNOWN) == entry["why"]
    worse = compare.Difference(same.part, same.revision, same.scenario, same.direct, (*same.through, "other FAILURE"))
    elsewhere = compare.Difference(same.part, same.revision, "ping", same.direct, same.through)
    other_server = compare.Difference("sdk", same.revision, same.scenario, same.direct, same.through)
    assert [compare.explanation(d, KNOWN) for d in (worse, elsewhere, other_server)] == [None] * 3


def test_an_undocumented_difference_fails_the_comparison(compare: ModuleType, capsys: pytest.CaptureFixture[str]):
    found = compare.differences(
        "sdk", "2026-07-28", {"ping": Counter({("pong", "SUCCESS"): 1})}, {"ping": Counter({("pong", "FAILURE"): 1})}
    )
    assert compare._judge(found, KNOWN) == 1
    assert compare._judge([], KNOWN) == 0
    assert "NOT documented" in capsys.readouterr().out


def test_every_explained_difference_is_on_the_page():
    page = (CONFORMANCE.parent / "docs" / "transparency.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert all(any(f"`{e['part']}`, `{e['scenario']}`" in row for row in rows) for e in KNOWN)
    assert sum("`, `" in row for row in rows) == len(KNOWN)
