"""Messages are shown as people read them, and nothing that a parser drops is lost."""

from __future__ import annotations

import json

import pytest

from pytest_mcp_governance.evidence.reader import Withheld
from pytest_mcp_governance.report import wiretext


def test_arguments_are_shown_without_the_envelope() -> None:
    wire = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"path":"/a","n":3}}}'
    shown = wiretext.request(wire)
    assert shown.body == '{\n  "path": "/a",\n  "n": 3\n}'
    assert shown.short == "/a  3"


@pytest.mark.parametrize(
    "written", ['"a": 1, "a": 2', '"a": 123456789012345678901234567890', '"a": 1.0e400', '"a": NaN', '"__proto__": 1']
)
def test_what_a_parser_would_lose_stays_as_written(written: str) -> None:
    shown = wiretext.request(f'{{"params": {{"arguments": {{{written}}}}}}}').body
    assert isinstance(shown, str)
    assert [part.strip().rstrip(",") for part in shown.splitlines()[1:-1]] == written.split(", ")


@pytest.mark.parametrize("wire", ["", "not json", "[1]", "7", "[" * 100_000, '{"params": ' * 5_000])
def test_what_is_no_message_is_shown_as_it_came(wire: str) -> None:
    assert wiretext.request(wire).body == wire
    assert wiretext.answer(wire).body == wire


def test_a_withheld_message_stays_withheld() -> None:
    assert wiretext.request(Withheld("d")).body == Withheld("d")
    assert wiretext.answer(Withheld("d")).body == Withheld("d")


def test_a_text_answer_is_its_text() -> None:
    wire = json.dumps({"result": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}})
    assert wiretext.answer(wire).body == "a\nb"


def test_a_mixed_answer_is_json_with_picture_data_counted() -> None:
    wire = json.dumps({"result": {"content": [{"type": "image", "data": "A" * 4000, "mimeType": "image/png"}]}})
    shown = wiretext.answer(wire).body
    assert "A" * 100 not in str(shown)
    assert "4,000 characters of base64" in str(shown)


def test_an_error_is_called_one() -> None:
    assert wiretext.answer('{"error": {"code": -32602, "message": "no"}}').is_error
    assert wiretext.answer('{"result": {"content": [], "isError": true}}').is_error
