"""Server-sent events: any cut of the stream gives the same events, and all of them are the stream's bytes."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_mcp_governance.session.http.events import EventSplitter, EventTooLong, SseEvent, message_event

LIMIT = 1 << 20
_TEXT = st.text('abc:{}"é\u2028 ', max_size=12).map(str.encode)
_LINES = st.one_of(
    st.tuples(
        st.sampled_from([b"data: ", b"data:", b"event: ", b"id: ", b": ", b"retry: ", b"x: ", b"data"]), _TEXT
    ).map(b"".join),
    st.just(b""),
)
_STREAMS = st.lists(st.tuples(_LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])).map(b"".join), max_size=14).map(
    b"".join
)


def split(chunks: Sequence[bytes]) -> tuple[list[SseEvent], bytes]:
    splitter = EventSplitter(LIMIT)
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.rest()


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({min(place, len(stream)) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def said(event: SseEvent) -> tuple[object, ...]:
    return event.data, event.name, event.id, event.beside, event.bare_cr


@given(_STREAMS, st.lists(st.integers(0, 160)))
@example(b"data: a\r\rdata: b\r\n\r\n", [8, 9, 19])
def test_any_cut_of_the_stream_gives_the_same_events_and_all_its_bytes(stream: bytes, places: list[int]) -> None:
    whole, whole_rest = split([stream])
    cut_up, rest = split(cut(stream, places))
    assert [said(event) for event in cut_up] == [said(event) for event in whole]
    assert b"".join(event.raw for event in cut_up) + rest == stream
    assert b"".join(event.raw for event in whole) + whole_rest == stream


def test_the_parts_of_an_event_are_read() -> None:
    stream = b"\xef\xbb\xbf: hello\nretry: 100\n\n"
    stream += b'event: message\r\nid: 7\r\ndata: {"a":\r\ndata:1}\r\nodd: x\r\n\r\n' + b"data\n\n"
    first, second, third = split([stream])[0]
    assert said(first) == (None, b"", None, b": hello", False)
    assert said(second) == (b'{"a":\n1}', b"message", b"7", b"odd: x", False)
    assert said(third) == (b"", b"", None, b"", False)


def test_an_event_is_there_with_the_bytes_that_end_it_and_not_later() -> None:
    splitter = EventSplitter(LIMIT)
    assert splitter.feed(b"data: 1\r") == []
    (event,) = splitter.feed(b"\n\r")
    assert event.data == b"1" and not event.bare_cr
    (following,) = splitter.feed(b"\ndata: 2\n\n")
    assert following.raw == b"\ndata: 2\n\n" and following.data == b"2"


def test_a_line_that_ends_with_a_cr_alone_is_told_in_any_cut() -> None:
    stream = b"data: a\rdata: b\n\n"
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        (event,) = split(chunks)[0]
        assert event.bare_cr and event.data == b"a\nb"


def test_an_event_past_the_limit_is_an_error_before_it_ends() -> None:
    splitter = EventSplitter(100)
    splitter.feed(b"data: " + b"x" * 80)
    with pytest.raises(EventTooLong):
        splitter.feed(b"y" * 30)


@given(_TEXT, st.binary(max_size=8).filter(lambda b: not set(b) & set(b"\r\n\0")))
def test_an_event_of_our_own_keeps_name_and_id_of_the_one_it_stands_for(data: bytes, id_: bytes) -> None:
    (asked,) = split([b"event: message\nid: " + id_ + b"\ndata: secret\n\n"])[0]
    (made,) = split([asked.with_data(data)])[0]
    assert (made.data, made.name, made.id) == (data, asked.name, asked.id)
    (own,) = split([message_event(data)])[0]
    assert (own.data, own.id) == (data, None)
