"""Server-sent events of an HTTP body: cut out of the byte stream as they come, each with the exact bytes it came in.

Knows the format and nothing of MCP. An event that is forwarded is forwarded as `raw`, so that all of them together are
the bytes of the server; `with_data` makes the one event that is sent in the place of another.
"""

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BARE_CR = re.compile(rb"\r[^\n]")
_BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """An event grew past the limit before it ended."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One block of an event stream, up to and including the blank line that ends it.

    Attributes:
        raw: its bytes as they came, in front of them what was left of the line end before (a CR came alone).
        data: its `data` lines, joined by `\\n`; None where it has none.
        name: its `event` field, "" for none: clients take it for `message` then.
        id: its `id` field, None for none.
        beside: comments, and fields that no client reads: forwarded, and so recorded.
        bare_cr: whether a line in it ended with a CR alone, which not all readers take for an end of line.
    """

    raw: bytes
    data: bytes | None
    name: bytes
    id: bytes | None
    beside: bytes
    bare_cr: bool

    def with_data(self, data: bytes) -> bytes:
        """An event with the same name and id that says something else, so that a client may still resume after it."""
        name = self.name or b"message"
        head = b"" if self.id is None else b"id: " + self.id + b"\n"
        return b"event: " + name + b"\n" + head + event_lines(data) + b"\n"


def event_lines(data: bytes) -> bytes:
    """`data` as the lines of an event."""
    return b"".join(b"data: " + line + b"\n" for line in _LINE_END.split(data))


def message_event(data: bytes) -> bytes:
    """A whole event that carries a message of our own."""
    return b"event: message\n" + event_lines(data) + b"\n"


class EventSplitter:
    """Cuts a byte stream into events (WHATWG HTML, "Server-sent events", parsing an event stream).

    Args:
        max_bytes: longest event accepted.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._raw: list[bytes] = []  # of the event under way
        self._length = 0
        self._partial: list[bytes] = []  # of the line under way, a part of `_raw`
        self._lines: list[bytes] = []
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that `chunk` completes.

        Raises:
            EventTooLong: the event under way is longer than the limit.
        """
        events: list[SseEvent] = []
        position = 0
        if self._after_cr and chunk:
            # An end of line that was a CR so far; an LF now belongs to it. The event before is out already: no wait.
            if chunk[:1] == b"\n":
                position = 1
                self._keep(b"\n")
            self._after_cr = False
        while found := _LINE_END.search(chunk, position):
            self._keep(chunk[position : found.end()])
            self._partial.append(chunk[position : found.start()])
            line = b"".join(self._partial)
            self._partial = []
            position = found.end()
            self._after_cr = found.end() == len(chunk) and found[0] == b"\r"
            if line:
                self._lines.append(line)
            else:
                events.append(self._complete())
        if position < len(chunk):
            self._keep(chunk[position:])
            self._partial.append(chunk[position:])
        return events

    def rest(self) -> bytes:
        """What came after the last event: torn when the stream has ended, and by the format no event."""
        return b"".join(self._raw)

    def _keep(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._max_bytes:
            raise EventTooLong
        self._raw.append(part)

    def _complete(self) -> SseEvent:
        event = _read(b"".join(self._raw), self._lines, self._at_start)
        self._raw, self._length, self._lines, self._at_start = [], 0, [], False
        return event


def _read(raw: bytes, lines: list[bytes], at_start: bool) -> SseEvent:
    if at_start and lines and lines[0].startswith(_BOM):
        lines = [lines[0][len(_BOM) :], *lines[1:]]
    data: list[bytes] = []
    beside: list[bytes] = []
    name, id_ = b"", None
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"id" and b"\0" not in value:
            id_ = value
        elif field != b"retry" or not value.isdigit():
            beside.append(line)
    return SseEvent(
        raw, b"\n".join(data) if data else None, name, id_, b"\n".join(beside), _BARE_CR.search(raw) is not None
    )
