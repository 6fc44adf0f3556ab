"""Any text at all becomes harmless: no markup, no hidden character, always encodable."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.evidence.reader import Withheld
from pytest_mcp_governance.report.hostile import HIDDEN, clip, identifier, plain, prose, show

from .markup import Page

ANY_TEXT = st.text(
    st.one_of(st.characters(codec=None), st.sampled_from("<>&\"'`\x1b\u202e\u200b\ud800\U000e0041\u0301\n\t"))
)


@given(ANY_TEXT, st.booleans())
@settings(max_examples=150, deadline=None)
def test_shown_text_is_text_and_chips_only(text: str, lines: bool) -> None:
    markup = str(show(text, lines=lines))
    markup.encode()
    assert Page(markup).tags <= {"bdi", "span"}
    assert not HIDDEN.search(markup)


@given(ANY_TEXT)
@settings(max_examples=150, deadline=None)
def test_plain_text_is_one_printable_line(text: str) -> None:
    said = plain(text)
    said.encode()
    assert not HIDDEN.search(said)
    assert "\n" not in said


@given(ANY_TEXT, st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_a_clip_counts_bytes(text: str, limit: int) -> None:
    kept, left = clip(text, limit)
    size = len(kept.encode("utf-8", "surrogatepass"))
    assert text.startswith(kept)
    assert size <= limit
    assert size + left == len(text.encode("utf-8", "surrogatepass"))


def test_a_withheld_value_is_a_chip_never_an_empty_text() -> None:
    assert "withheld" in show(Withheld("x"))
    assert "withheld" in identifier(Withheld("x"))
    assert plain(Withheld("x")) == "(withheld)"


def test_newlines_stay_in_blocks_and_are_chips_in_lines() -> None:
    assert "LF" not in show("a\nb", lines=True)
    assert ">LF<" in show("a\nb")


def test_ansi_sequences_are_spelled_out_in_plain_text() -> None:
    assert plain("\x1b]0;x\x07") == "[ESC]]0;x[BEL]"


def test_code_in_our_sentences_is_escaped_too() -> None:
    assert prose("run `a<b`") == "run <code>a&lt;b</code>"
    assert prose("odd ` tick <b>") == "odd ` tick &lt;b&gt;"
