"""Framing of an MCP stdio stream and the join of answers with the requests they answer.

Knows lines, ids and methods; leaves parsing to `strict`, decisions to the policy and transport to `relay`.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from pytest_mcp_governance.policy.detectors import mask
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.verdicts import TOO_LONG
from pytest_mcp_governance.session.strict import Parsed, is_id, parse
from pytest_mcp_governance.session.unread import END_BYTES, Unread

Direction = Literal["c2s", "s2c"]
MAX_FRAME_BYTES = 64 * 1024 * 1024

_Key = tuple[Direction, int, str, int | str]
_MOST_CANCELLED = 1000  # their answers may still come; more than these are not waited for

_PLAIN_METHOD = re.compile(r"[A-Za-z0-9_./$-]{1,100}")
_PLAIN_TOOL = re.compile(r"[A-Za-z0-9_./-]{1,128}")


class LineSplitter:
    """Cuts a byte stream at `\\n`, keeping every other byte of lines that are not too long.

    Args:
        max_bytes: longest line that is kept, in bytes without its newline.
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._length = 0
        self._left_out: _LeftOut | None = None

    def feed(self, chunk: bytes) -> list[bytes | Unread]:
        """Return the lines that `chunk` completes, without their newlines; of one that is too long, its ends."""
        *whole, last = chunk.split(b"\n")
        lines: list[bytes | Unread] = []
        for part in whole:
            self._keep(part)
            lines.append(b"".join(self._parts) if self._left_out is None else self._left_out.unread())
            self._parts, self._length, self._left_out = [], 0, None
        self._keep(last)
        return lines

    def rest(self) -> bytes:
        """What came after the last newline: a torn message when the stream has ended."""
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._length += len(part)
        self._parts.append(part)
        if self._left_out is None and self._length > self._max_bytes:
            self._left_out = _LeftOut()
        if self._left_out is not None:
            for kept in self._parts:
                self._left_out.add(kept)
            self._parts = []


class _LeftOut:
    """A line that is not kept: its ends, its length and its digest."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, part: bytes) -> None:
        self._size += len(part)
        self._digest.update(part)
        self._head += part[: max(0, END_BYTES - len(self._head))]
        self._tail = (self._tail + part[-END_BYTES:])[-END_BYTES:]

    def unread(self) -> Unread:
        return Unread(self._head, self._tail, self._size, self._digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Request:
    """A request under way: its record, its event and when it was forwarded (monotonic ns, 0 before)."""

    ref: str
    event: Event
    id: int | str


@dataclass(frozen=True, slots=True)
class Message:
    """One received message, classified: what to record and what to decide on.

    `earlier` is the record that a request or notification goes back to, `origin` the request that made the task it is
    about, `state_sha256` the digest of the opaque state that it carries for the next round, `unread` what is known of
    one that was too long to be read.
    """

    raw: bytes
    parsed: Parsed
    direction: Direction
    request: Request | None
    method: str | None
    tool: str | None
    id: int | str | None
    problems: tuple[str, ...]
    earlier: str | None = None
    origin: Event | None = None
    state_sha256: str | None = None
    unread: Unread | None = None

    def event(self, ref: str, *, conn: str, server: str, agent: str | None) -> Event:
        """The message as the policy sees it."""
        fields = self.parsed.fields
        return Event(
            ref=ref,
            direction=self.direction,
            kind="invalid" if self.problems else self.parsed.kind,
            method=self.method,
            conn=conn,
            server=server,
            agent=agent,
            tool=self.tool,
            params=fields.get("params"),
            result=fields.get("result"),
            error=fields.get("error"),
            problems=self.problems,
            origin=self.origin,
        )


@dataclass(slots=True)
class Exchange:
    """The requests under way on one connection, by direction and id: both sides count from 0 independently."""

    _pending: dict[_Key, Request] = field(default_factory=dict)
    _progress: dict[_Key, Request] = field(default_factory=dict)
    _cancelled: OrderedDict[_Key, Request] = field(default_factory=OrderedDict)
    _scope: int = 0

    def within(self, scope: int) -> "HttpExchange":
        """The part of it that one HTTP request brings; a `scope` other than 0 is for ids that other agents use too."""
        return HttpExchange(self._pending, self._progress, self._cancelled, scope)

    def classify(self, raw: bytes, direction: Direction, problems: Sequence[str] = ()) -> Message:
        """Parse `raw` and find the request that it answers; `problems` are what its transport found already."""
        parsed = self._parsed(raw)
        fields = parsed.fields
        found_problems = [*parsed.problems, *problems]
        found = fields.get("id")
        id_ = found if is_id(found) else None
        request: Request | None = None
        if "method" not in fields and id_ is not None:
            # An answer with problems still ends the wait for it: whoever asked must hear that it was refused.
            request = self._pending.get(self._key(opposite(direction), id_))
            if request is None:
                found_problems.append("unknown-id")
        if parsed.kind == "request" and id_ is not None and self._key(direction, id_) in self._pending:
            found_problems.append("duplicate-id")
        method = fields.get("method")
        if request is not None:
            method, tool = request.event.method, request.event.tool
        else:
            method = method if isinstance(method, str) else None
            tool = _tool(method, fields.get("params"))
        about = self._about(direction, method, fields.get("params")) if parsed.kind == "notification" else None
        earlier = about.ref if about is not None else None
        return Message(raw, parsed, direction, request, method, tool, id_, tuple(found_problems), earlier)

    def unread(self, unread: Unread, direction: Direction) -> Message:
        """A message that is too long, as far as its ends tell what it is."""
        id_, method = unread.names()
        id_ = id_ if is_id(id_) else None
        request = self._pending.get(self._key(opposite(direction), id_)) if method is None and id_ is not None else None
        known = {name: value for name, value in (("id", id_), ("method", method)) if value is not None}
        parsed = Parsed("invalid", known, (TOO_LONG,))
        about = (request.event.method, request.event.tool) if request is not None else (method, None)
        return Message(b"", parsed, direction, request, *about, id_, (TOO_LONG,), unread=unread)

    def asked(self, message: Message, ref: str, event: Event) -> Request | None:
        """Remember a request until its answer comes, also one with problems that was passed on all the same."""
        if message.method is None or message.id is None or message.request is not None:
            return None
        request = Request(ref, event, message.id)
        self._pending[self._key(message.direction, message.id)] = request
        token = _progress_token(event.params)
        if token is not None:
            self._progress[self._key(message.direction, token)] = request
        return request

    def passed_on(self, message: Message) -> None:
        """Note a notification that reached the other side: nobody need answer what was cancelled."""
        if message.method != "notifications/cancelled" or message.earlier is None:
            return
        request = self._about(message.direction, message.method, message.parsed.fields.get("params"))
        if request is None:
            return
        self._cancelled[self._key(message.direction, request.id)] = request
        if len(self._cancelled) > _MOST_CANCELLED:
            key, forgotten = self._cancelled.popitem(last=False)
            if self._pending.get(key) is forgotten:
                self._forget(key)

    def answered(self, direction: Direction, request: Request) -> None:
        """Forget the request that was answered in `direction`."""
        key = self._key(opposite(direction), request.id)
        self._cancelled.pop(key, None)
        self._forget(key)

    def _forget(self, key: _Key) -> None:
        request = self._pending.pop(key, None)
        token = _progress_token(request.event.params) if request is not None else None
        if token is not None:
            self._progress.pop(self._key(key[0], token), None)

    def _parsed(self, raw: bytes) -> Parsed:
        return parse(raw)

    def _about(self, direction: Direction, method: str | None, params: object) -> Request | None:
        """The request that a notification speaks of: its progress, its cancellation, or the subscription it made."""
        if not isinstance(params, dict):
            return None
        if method == "notifications/cancelled" and is_id(found := params.get("requestId")):
            return self._pending.get(self._key(direction, found))
        if method == "notifications/progress" and is_id(found := params.get("progressToken")):
            return self._progress.get(self._key(opposite(direction), found))
        meta = params.get("_meta")
        if isinstance(meta, dict) and is_id(found := meta.get("io.modelcontextprotocol/subscriptionId")):
            return self._pending.get(self._key(opposite(direction), found))
        return None

    def current(self, request: Request) -> Request:
        """The request as it is on record now, which it may be anew since `request` was handed out."""
        return self._pending.get(self._key(request.event.direction, request.id), request)

    def renewed(self, old: Request, new: Request) -> None:
        """From now on answers belong to `new`: the same request on another record."""
        for known in (self._pending, self._progress, self._cancelled):
            known.update({key: new for key, found in known.items() if found is old})

    @property
    def open_requests(self) -> tuple[Request, ...]:
        """Requests that nobody has answered."""
        return tuple(self._pending.values())

    def _key(self, direction: Direction, id_: int | str) -> _Key:
        # What a server asks is answered by another HTTP request than the one on which it asked.
        return direction, self._scope if direction == "c2s" else 0, type(id_).__name__, id_


@dataclass(slots=True)
class HttpExchange(Exchange):
    """The requests under way as one HTTP request sees them, and the one that it brought itself.

    Attributes:
        brought: the request in its body, once that was passed on; None before, and for any other body.
        failed: its answer has an HTTP status of failure. An error in it answers the request whatever id it has: servers
            write null, or a name, where they have not looked at the request.
    """

    brought: Request | None = None
    failed: bool = False

    def _parsed(self, raw: bytes) -> Parsed:
        return parse(raw, lines=False)

    def classify(self, raw: bytes, direction: Direction, problems: Sequence[str] = ()) -> Message:
        message = Exchange.classify(self, raw, direction, problems)
        brought = self.brought
        if not self.failed or direction == "c2s" or brought is None or message.parsed.kind != "error":
            return message
        if message.request is not None or not self.waits:
            return message
        left = tuple(problem for problem in message.problems if problem != "unknown-id")
        return replace(message, request=brought, method=brought.event.method, tool=brought.event.tool, problems=left)

    def asked(self, message: Message, ref: str, event: Event) -> Request | None:
        request = Exchange.asked(self, message, ref, event)
        if message.direction == "c2s":
            self.brought = request
        return request

    @property
    def waits(self) -> bool:
        """Whether the request that it brought has no answer yet."""
        return self.brought is not None and self._pending.get(self._key("c2s", self.brought.id)) is self.brought


def plain_method(method: str | None) -> str | None:
    """The method where it may stand in the clear, else None."""
    return method if method is not None and _PLAIN_METHOD.fullmatch(method) and _is_name(method) else None


def plain_tool(tool: str | None) -> str | None:
    """The tool's name where it may stand in the clear, else None."""
    return tool if tool is not None and _PLAIN_TOOL.fullmatch(tool) and _is_name(tool) else None


@lru_cache(maxsize=1024)
def _is_name(text: str) -> bool:
    """Whether a text is no secret or personal value in the place of a name."""
    return mask(text) == text


def opposite(direction: Direction) -> Direction:
    """The way back."""
    return "s2c" if direction == "c2s" else "c2s"


def _progress_token(params: object) -> int | str | None:
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if is_id(token) else None


def _tool(method: str | None, params: object) -> str | None:
    if method != "tools/call" or not isinstance(params, dict):
        return None
    name = params.get("name")
    return name if isinstance(name, str) else None


def storable(value: object) -> object:
    """`value` with lone surrogates, which no UTF-8 ledger can hold, written as `\\udXXX` escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {str(storable(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value
