"""Framing keeps every byte, and an answer finds the request it answers, whichever side asked."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.session.unread import Unread
from pytest_mcp_governance.session.wire import Exchange, LineSplitter, plain_tool, storable

lines = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8)


@given(lines, st.binary(max_size=10).map(lambda b: b.replace(b"\n", b"")), st.data())
def test_however_the_stream_is_cut_the_lines_are_the_same(sent: list[bytes], torn: bytes, data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in sent) + torn
    splitter, seen = LineSplitter(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += splitter.feed(stream[:size])
        stream = stream[size:]
    assert seen == sent
    assert splitter.rest() == torn


@given(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), st.integers(0, 20), st.data())
def test_of_a_line_past_the_limit_only_its_length_and_digest_are_kept(
    line: bytes, limit: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(line)))
    splitter = LineSplitter(max_bytes=limit)
    first = splitter.feed(line[:cut])
    (found, after) = (*first, *splitter.feed(line[cut:] + b"\nab\n"))
    if len(line) <= limit:
        assert found == line
    else:
        assert found == Unread(line, line, len(line), hashlib.sha256(line).hexdigest())
    assert after == b"ab" if limit >= 2 else isinstance(after, Unread)


BIG = b"x" * 9000
CALL = b'"method":"tools/call"'


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (b'{"jsonrpc":"2.0","id":7,' + CALL + b',"params":{"x":"' + BIG + b'"}}', (7, "tools/call")),
        (b"{" + CALL + b',"params":{"x":"' + BIG + b'"},"jsonrpc":"2.0","id":"a"}', ("a", "tools/call")),
        (b'{"result":{"x":"' + BIG + b'"},"jsonrpc":"2.0","id":7}', (7, None)),
        (b'{"jsonrpc":"2.0","id":7,"result":{"x":"' + BIG + b'"},"id":8}', (None, None)),
        (b'{"x":"' + BIG + b'","y":{},"id":true}', (None, None)),
        (b"[" + BIG + b"]", (None, None)),
        (BIG, (None, None)),
    ],
)
def test_the_ends_of_a_message_that_is_too_long_tell_whom_to_answer(line: bytes, names: object) -> None:
    (unread,) = LineSplitter(max_bytes=8192).feed(line + b"\n")
    assert isinstance(unread, Unread) and unread.names() == names


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_ends_make_it_raise(head: bytes, tail: bytes) -> None:
    id_, method = Unread(head, tail, 1, "").names()
    assert (id_ is None or isinstance(id_, int | str)) and (method is None or isinstance(method, str))


def _message(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


def _ask(exchange: Exchange, raw: bytes, direction: str, ref: str) -> None:
    message = exchange.classify(raw, direction)  # type: ignore[arg-type]  # the two directions as written below
    exchange.asked(message, ref, message.event(ref, conn="c1", server="s", agent="a"))


def test_both_sides_use_the_same_id_and_each_answer_finds_its_own_request() -> None:
    exchange = Exchange()
    _ask(exchange, _message(id=1, method="tools/call", params={"name": "read"}), "c2s", "main/1")
    _ask(exchange, _message(id=1, method="sampling/createMessage", params={}), "s2c", "main/2")
    answer = exchange.classify(_message(id=1, result={}), "s2c")
    assert (answer.request and answer.request.ref, answer.method, answer.tool) == (
        "main/1",
        "tools/call",
        "read",
    )
    other = exchange.classify(_message(id=1, result={}), "c2s")
    assert (other.request and other.request.ref, other.method) == ("main/2", "sampling/createMessage")


def test_the_number_1_and_the_text_1_are_two_ids() -> None:
    exchange = Exchange()
    _ask(exchange, _message(id=1, method="ping"), "c2s", "main/1")
    assert exchange.classify(_message(id="1", result={}), "s2c").problems == ("unknown-id",)


def test_an_answer_to_nothing_and_a_second_request_under_the_same_id_are_problems() -> None:
    exchange = Exchange()
    assert exchange.classify(_message(id=9, result={}), "s2c").problems == ("unknown-id",)
    _ask(exchange, _message(id=9, method="ping"), "c2s", "main/1")
    assert exchange.classify(_message(id=9, method="ping"), "c2s").problems == ("duplicate-id",)


def test_an_answered_request_is_forgotten() -> None:
    exchange = Exchange()
    _ask(exchange, _message(id=9, method="ping"), "c2s", "main/1")
    answer = exchange.classify(_message(id=9, result={}), "s2c")
    assert answer.request is not None
    exchange.answered("s2c", answer.request)
    assert exchange.open_requests == ()
    assert exchange.classify(_message(id=9, result={}), "s2c").problems == ("unknown-id",)


@pytest.mark.parametrize("name", ["a b", "ü", "x" * 129, "", "a\u202eb"])
def test_only_a_plain_tool_name_may_stand_in_the_clear(name: str) -> None:
    assert plain_tool(name) is None
    assert plain_tool("get_invoice-2.v1/x") == "get_invoice-2.v1/x"


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_whatever_a_message_holds_can_be_stored_as_utf8(value: object) -> None:
    json.dumps(storable(value), ensure_ascii=False).encode("utf-8")
