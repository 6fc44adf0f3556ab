"""What the page says of the last approved run: every new thing by its name, or that there is nothing, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.report import RunFacts, render
from pytest_mcp_governance.report.since import Difference, Named

from .markup import Page
from .other_runs import HOSTILE, changed_run

Section = Callable[..., str]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvidenceReader, RunFacts]:
    return changed_run(tmp_path_factory.mktemp("changed"))


@pytest.fixture
def section(changed: tuple[EvidenceReader, RunFacts]) -> Section:
    def text(**facts: object) -> str:
        page = render(changed[0], replace(changed[1], **facts)).decode()
        found = page.partition('<section class="card" id="since"')[2].partition("</section>")[0]
        return Page(f"<section {found}").text

    return text


def test_every_new_thing_is_named_the_many_ones_too(section: Section) -> None:
    text = section()
    assert "Compared with run 20261101t000000z-abcdef , approved on 2026-11-01" in text
    for shown in ("Wider policy", "books.pay", "now allowed by PAY", "payroll", "pii", "very_long_", "0, was 2"):
        assert shown in text
    assert all(f"books.tool_{n}" in text for n in range(30))
    assert "20 more" in text


def test_it_stands_between_the_check_and_the_findings(changed: tuple[EvidenceReader, RunFacts]) -> None:
    page = render(*changed).decode()
    assert page.index('id="check"') < page.index('id="since"') < page.index('id="findings"')
    assert '<a href="#since">Changes</a>' in page


def test_letters_that_look_like_others_are_named(section: Section) -> None:
    assert "\u0430=U+0430" in section()


def test_hostile_names_are_text(changed: tuple[EvidenceReader, RunFacts]) -> None:
    reader, facts = changed
    assert facts.since is not None
    items = tuple((Named(text), ": ", Named(text)) for text in HOSTILE)
    since = replace(facts.since, by=HOSTILE[0], ticket=HOSTILE[1], source=HOSTILE[2],
                    differences=(Difference("New agents", "warn", items),))  # fmt: skip
    page = render(reader, replace(facts, since=since)).decode()
    seen = Page(page)
    assert "PWNED" not in "".join(seen.scripts)
    assert len(seen.scripts) == 1
    assert not [a for _, a in seen.elements if any(name.startswith("on") for name in a)]
    assert "\u202e" not in page and "\x1b" not in page


def test_nothing_changed_is_said(section: Section, changed: tuple[EvidenceReader, RunFacts]) -> None:
    assert changed[1].since is not None
    text = section(since=replace(changed[1].since, differences=(), notes=("This run is one shard.",), ephemeral=True))
    assert "Nothing changed: the same agents, tools" in text
    assert "This run is one shard." in text
    assert "a key made for it alone" in text


def test_without_an_approved_run_one_line_says_so_and_how(section: Section) -> None:
    text = section(since=None)
    assert "No approved run is named. mcp-governance approve REPORT" in text
    assert "Nothing changed" not in text


def test_an_approval_that_cannot_be_used_is_never_taken_for_none(section: Section) -> None:
    text = section(since=None, approved_problem="its signature is wrong")
    assert "could not be compared with: its signature is wrong" in text
    assert "No approved run" not in text


def test_a_page_leaves_the_last_of_very_many_out_and_says_so(
    section: Section, changed: tuple[EvidenceReader, RunFacts], tmp_path: Path
) -> None:
    assert changed[1].since is not None
    many = Difference("Fewer tests", "warn", tuple((Named(f"test_{n}"),) for n in range(700)))
    text = section(since=replace(changed[1].since, differences=(many,)))
    assert "test_499" in text and "test_500" not in text
    assert "and 200 more, which this page leaves out" in text
