"""What a strict reader refuses, because another reader could see another message in the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.session.strict import parse

CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1}}}'

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
ids = st.integers(-(2**53) + 1, 2**53 - 1) | texts


def test_a_sound_call_has_no_problems() -> None:
    parsed = parse(CALL)
    assert (parsed.kind, parsed.problems) == ("request", ())
    assert parsed.value == json.loads(CALL)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (CALL.replace(b'"name":"read"', b'"name":"read","name":"drop"'), "duplicate-key"),
        (CALL.replace(b'"x":1', b'"x":NaN'), "nan"),
        (CALL.replace(b'"x":1', b'"x":-Infinity'), "nan"),
        (CALL.replace(b'"x":1', b'"x":"\\ud800"'), "surrogate"),
        (CALL.replace(b'"method"', b'"Method"'), "case-variant"),
        (CALL.replace(b'"name"', b'"NAME"'), "case-variant"),
        (CALL.replace(b'"x":1', b'"x":\r1'), "control-byte"),
        (CALL.replace(b'"x":1', b'"x":"\t"'), "syntax"),
        (CALL.replace(b'"params"', '"param\u017f"'.encode()), "case-variant"),
        (CALL.replace(b'"id":1', b'"id":9007199254740993'), "shape"),
        (CALL + b"\r\r", "control-byte"),
        (b"\xef\xbb\xbf" + CALL, "bom"),
        (CALL.replace(b"read", b"re\xffad"), "utf8"),
        (b"[" + CALL + b"]", "batch"),
        (CALL[:-1], "syntax"),
        (b"[" * 100_000, "depth"),
        (b"7", "not-object"),
        (CALL.replace(b'"2.0"', b'"1.0"'), "jsonrpc-version"),
        (CALL.replace(b'"id":1', b'"id":null'), "shape"),
        (CALL.replace(b'"id":1', b'"id":true'), "shape"),
        (CALL.replace(b'"id":1', b'"id":1.0'), "shape"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "shape"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', "shape"),
    ],
)
def test_a_message_with_two_readings_is_named_and_invalid(raw: bytes, problem: str) -> None:
    parsed = parse(raw)
    assert problem in parsed.problems
    assert parsed.kind == "invalid"


def test_a_tab_between_tokens_is_sound() -> None:
    assert parse(CALL.replace(b'"x":1', b'"x":\t1')).problems == ()


def test_a_bare_carriage_return_before_the_newline_is_sound() -> None:
    assert parse(CALL + b"\r").problems == ()


def test_an_escaped_surrogate_pair_is_sound() -> None:
    assert parse(CALL.replace(b'"x":1', b'"x":"\\ud83d\\ude00"')).problems == ()


@given(
    ids,
    texts,
    st.dictionaries(texts.filter(lambda k: k.casefold() not in ("name", "arguments", "uri")), values, max_size=4),
)
def test_every_well_formed_request_is_read_as_the_standard_library_reads_it(
    id_: object, method: str, params: object
) -> None:
    message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
    parsed = parse(json.dumps(message).encode())
    assert (parsed.kind, parsed.problems, parsed.value) == ("request", (), message)


@given(st.binary(max_size=200) | st.builds(lambda v: json.dumps(v).encode(), values))
def test_no_bytes_make_it_raise_and_a_message_with_problems_is_never_a_request(raw: bytes) -> None:
    parsed = parse(raw)
    assert parsed.kind == "invalid" if parsed.problems else parsed.kind != "invalid"


@given(st.dictionaries(texts, values, max_size=3), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_body_may_be_laid_out_in_lines_and_a_line_may_not(arguments: dict[str, object], newline: str) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "arguments": arguments}}
    laid_out = json.dumps(call, indent=2).replace("\n", newline).encode()
    assert parse(laid_out, lines=False) == parse(json.dumps(call).encode())
    assert "control-byte" in parse(laid_out).problems
    # Inside of a text a line break is no JSON anywhere.
    assert parse(CALL.replace(b'"read"', b'"re' + newline.encode() + b'ad"'), lines=False).kind == "invalid"
