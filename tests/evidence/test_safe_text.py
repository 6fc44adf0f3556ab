"""Hostile text on its way to a terminal or a CI's log."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.evidence.safe_text import quoted, safe


@given(st.text(), st.integers(1, 5))
def test_quoted_lines_are_visible_bounded_and_no_command_to_a_ci(text: str, lines: int):
    shown = quoted(text, lines=lines, limit=40)
    assert len(shown) <= lines
    for line in shown:
        assert line.isprintable()
        assert line.startswith("| ")
        assert "##[" not in line


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_plain_text_is_quoted_as_it_is(text: str):
    assert quoted(text, lines=1) == ["| " + text.replace("##[", "# #[")]
    assert safe(text) == text


def test_the_last_lines_are_kept():
    assert quoted("one\n\ntwo\nthree\n", lines=2) == ["| two", "| three"]
