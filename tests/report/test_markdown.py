"""A run as Markdown: what a reviewer reads in a pull request, whatever the recorded names hold."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_mcp_governance.evidence.reader import Withheld
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.escaping import code, name, prose
from pytest_mcp_governance.report.facts import Checked
from pytest_mcp_governance.report.markdown import COMMENT_BYTES, markdown

from .conftest import Rendered
from .other_runs import broken_run, crowded_run, expectations_run, hostile_run, partial_run, unjudged_run
from .sample_run import Scribe, reader_of

CHECKED = Checked(
    file="governance-report.html",
    run="20261123t061500z-3f9a1c",
    status="complete",
    outcome="VERIFIED",
    meaning="unaltered since recorded, and signed by a key you trust.",
    signer="SHA256:x3mVbq0N7cJ0m2f4W8n5oT1sYkq9rLZ3dEwPqA6uHhI",
    open_digest="9c41" * 16,
    close_digest="ab12" * 16,
    commit="8fc304296c00d9fdd3593b101f21c981df7ce826",
)
OURS = {"h2", "h3", "p", "strong", "em", "code", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": True})


class _Seen(HTMLParser):
    """The elements of a page, its attributes, and what stands in its code spans and table cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.codes: list[str] = []
        self.cells: list[int] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(key for key, _ in attrs)
        if tag == "tr":
            self.cells.append(0)
        if tag in ("td", "th"):
            self.cells[-1] += 1
        if tag == "code":
            self._inside = "code"
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == "code" else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.codes[-1] += data


def rendered(text: str) -> _Seen:
    return _Seen(RENDERER.render(text))


def test_findings_stand_worst_first_with_rule_call_agent_test_and_place(tmp_path: Path) -> None:
    text = markdown(collect(broken_run(tmp_path)[0]), CHECKED)
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    assert rows[0] == (
        "| **Reached** | `READ-BOOKS` | `files.read_text_file` | `payables-3` | `test_x.py::test_refunds` (failed) "
        "| `ledgerline-agents.policy.yaml:9` |"
    )
    assert [row.split("**")[1] for row in rows] == ["Reached", "Blocked", "Unproven"]


def test_the_first_lines_say_the_verdict_and_what_became_of_the_run(sample: Rendered) -> None:
    head, _, rest = markdown(collect(sample.reader), CHECKED).partition("### Findings")
    assert head.startswith("## MCP governance: Passed\n\n**No enforced rule was broken in 12 calls by 3 agents, apart")
    assert "`20261123t061500z-3f9a1c` is complete. VERIFIED: unaltered since recorded" in head
    assert "commit `8fc304296c00d9fdd3593b101f21c981df7ce826`." in head
    assert "Its test provoked 1 finding on purpose." in rest


def test_who_accessed_what_is_agents_against_data_scopes(sample: Rendered) -> None:
    text = markdown(collect(sample.reader), CHECKED)
    assert "| Agent | Calls | `finance.account` (pii) | `finance.invoice` | In no scope | Unresolved |" in text
    assert "| `portal-1` | 5 |  | 4 | 1 (1 observed) |  |" in text


def test_it_says_how_to_check_and_what_is_not_proven(sample: Rendered) -> None:
    text = markdown(collect(sample.reader), CHECKED)
    for said in (
        "mcp-governance verify governance-report.html --trust SHA256:…",
        "9c41" * 16,
        "ab12" * 16,
        "Not proven:",
    ):
        assert said in text
    assert "2 were deselected and 7 ran without an audit" in text
    assert "compliant" not in text


@pytest.mark.parametrize("status", ["partial", "recovered", ""])
def test_a_run_that_is_not_whole_says_so_before_anything_good(tmp_path: Path, status: str) -> None:
    checked = Checked(file="r.html", run="r", status=status)
    text = markdown(collect(partial_run(tmp_path)[0]), checked)
    assert text.startswith("## MCP governance: Incomplete")
    assert f"Run `r` {f'is {status}' if status else 'was not closed'}. Nobody has verified its report yet." in text


def test_a_run_without_a_policy_is_not_called_passed(tmp_path: Path) -> None:
    assert markdown(collect(unjudged_run(tmp_path)[0]), CHECKED).startswith("## MCP governance: Not judged")


def test_equal_findings_stand_once_with_their_number(tmp_path: Path) -> None:
    text = markdown(collect(expectations_run(tmp_path)[0]), CHECKED)
    assert "**Blocked** (3 times) | `NO-WRITE`" in text


def test_nothing_that_was_recorded_becomes_markup(tmp_path: Path) -> None:
    text = markdown(collect(hostile_run(tmp_path)[0]), CHECKED, max_bytes=500_000)
    seen = rendered(text)
    assert seen.tags <= OURS
    assert seen.attributes == set()
    assert "[RLO]" in text
    assert text.isprintable() or all(c == "\n" or c.isprintable() for c in text)


def test_a_cyrillic_letter_in_an_agents_name_is_named(tmp_path: Path) -> None:
    assert "(U+0430)" in markdown(collect(hostile_run(tmp_path)[0]), CHECKED, max_bytes=500_000)


def test_a_withheld_tool_stays_withheld() -> None:
    assert code(Withheld("ab" * 32)) == "`(withheld)`"


def test_too_many_rows_are_left_out_and_counted_until_it_fits(tmp_path: Path) -> None:
    evidence = collect(crowded_run(tmp_path, agents=400, calls=400)[0])
    whole = markdown(evidence, CHECKED, max_bytes=10_000_000)
    for limit in (COMMENT_BYTES, 6_000, 3_000):
        text = markdown(evidence, CHECKED, max_bytes=limit)
        assert len(text.encode()) <= limit
        assert text.endswith("\n")
        if len(whole.encode()) > limit:
            assert "more agents" in text or "more findings" in text
        assert "### Check it" in text


def test_findings_that_are_left_out_are_counted(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_x", agent="agent")
    for number in range(200):
        at.finding("blocked", f"RULE-{number:03}", at.denied("files", "write", {}, "NO-WRITE", "no"), "no",
                   server="files", tool="write")  # fmt: skip
    at.end("failed")
    at.close()
    text = markdown(collect(reader_of(tmp_path)), CHECKED, max_bytes=6_000)
    shown = text.count("| **Blocked** |")
    assert 0 < shown < 200
    assert f"and {200 - shown} more findings, in the report." in text


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (code, "a|b"),
        (code, "a\\|b"),
        (code, "``` @team [x](http://evil) ![i](y)"),
        (code, "`"),
        (name, "|\\"),
        (prose, "[click](https://evil) <b>@team</b> www.evil.example #12 user@host.example ![x](y) | a"),
        (prose, "unbalanced ` tick | [x](y)"),
        (prose, "- 1. # x"),
    ],
)
def test_a_value_cannot_leave_its_cell(made: Callable[[str], str], value: str) -> None:
    seen = rendered(f"| a | b |\n| --- | --- |\n| {made(value)} | end |\n")
    assert seen.tags <= OURS
    assert seen.cells == [2, 2]


@given(st.text(st.characters(codec=None), max_size=60))
@settings(max_examples=300)
def test_no_text_at_all_leaves_its_cell_or_becomes_markup(value: str) -> None:
    for made in (code, name, prose):
        shown = made(value)
        shown.encode()
        seen = rendered(f"| a | b |\n| --- | --- |\n| {shown} | end |\n")
        assert seen.tags <= OURS
        assert seen.cells == [2, 2]
        assert rendered(shown).tags <= {"p", "code"}


@given(st.text(st.characters(codec="ascii", exclude_characters="|\\\0", categories=["L", "N", "P", "S"]), min_size=1))
def test_a_code_span_shows_what_was_recorded(value: str) -> None:
    assert rendered(f"x {code(value, 10_000)} y").codes == [value]


def test_our_sentences_stay_readable() -> None:
    assert (
        prose("One of 3 calls broke the policy; it was blocked.") == "One of 3 calls broke the policy; it was blocked."
    )
    assert prose("clerk called files.write_file.") == "clerk called `files.write_file`."
    assert prose("See `mcp-governance keygen`.") == "See `mcp-governance keygen`."
