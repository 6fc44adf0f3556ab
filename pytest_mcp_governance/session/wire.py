"""Framing of an MCP stdio stream and the join of answers with the requests they answer.

Knows lines, ids and methods; leaves parsing to `strict`, decisions to the policy and transport to `relay`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from pytest_mcp_governance.policy.detectors import mask
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.session.strict import Parsed, is_id, parse

Direction = Literal["c2s", "s2c"]
MAX_FRAME_BYTES = 64 * 1024 * 1024

_PLAIN_METHOD = re.compile(r"[A-Za-z0-9_./$-]{1,100}")
_PLAIN_TOOL = re.compile(r"[A-Za-z0-9_./-]{1,128}")


class FrameTooLong(Exception):
    """A line grew past the limit before its newline came."""


class LineSplitter:
    """Cuts a byte stream at `\\n`, keeping every other byte.

    Args:
        max_bytes: longest line accepted, in bytes without its newline.
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without their newlines.

        Raises:
            FrameTooLong: the line under way is longer than the limit.
        """
        head, *rest = chunk.split(b"\n")
        if not rest:
            self._keep(head)
            return []
        self._keep(head)
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts, self._length = [], 0
        self._keep(rest[-1])
        return lines

    def rest(self) -> bytes:
        """What came after the last newline: a torn message when the stream has ended."""
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._max_bytes:
            raise FrameTooLong
        if part:
            self._parts.append(part)


@dataclass(frozen=True, slots=True)
class Request:
    """A request under way: its record, its event and when it was forwarded (monotonic ns, 0 before)."""

    ref: str
    event: Event
    id: int | str


@dataclass(frozen=True, slots=True)
class Message:
    """One received message, classified: what to record and what to decide on."""

    raw: bytes
    parsed: Parsed
    direction: Direction
    request: Request | None
    method: str | None
    tool: str | None
    id: int | str | None
    problems: tuple[str, ...]

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
        )


@dataclass(slots=True)
class Exchange:
    """The requests under way on one connection, by direction and id: both sides count from 0 independently."""

    _pending: dict[tuple[Direction, int, str, int | str], Request] = field(default_factory=dict)
    _scope: int = 0

    def within(self, scope: int) -> "HttpExchange":
        """The part of it that one HTTP request brings; a `scope` other than 0 is for ids that other agents use too."""
        return HttpExchange(self._pending, scope)

    def classify(self, raw: bytes, direction: Direction, problems: Sequence[str] = ()) -> Message:
        """Parse `raw` and find the request that it answers; `problems` are what its transport found already."""
        parsed = parse(raw)
        fields = parsed.fields
        found_problems = [*parsed.problems, *problems]
        found = fields.get("id")
        id_ = found if isinstance(found, int | str) and is_id(found) else None
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
        return Message(raw, parsed, direction, request, method, tool, id_, tuple(found_problems))

    def asked(self, message: Message, ref: str, event: Event) -> Request | None:
        """Remember a request until its answer comes, also one with problems that was passed on all the same."""
        if message.method is None or message.id is None or message.request is not None:
            return None
        request = Request(ref, event, message.id)
        self._pending[self._key(message.direction, message.id)] = request
        return request

    def answered(self, direction: Direction, request: Request) -> None:
        """Forget the request that was answered in `direction`."""
        self._pending.pop(self._key(opposite(direction), request.id), None)

    def current(self, request: Request) -> Request:
        """The request as it is on record now, which it may be anew since `request` was handed out."""
        return self._pending.get(self._key(request.event.direction, request.id), request)

    def renewed(self, old: Request, new: Request) -> None:
        """From now on answers belong to `new`: the same request on another record."""
        for key, found in self._pending.items():
            if found is old:
                self._pending[key] = new
                return

    @property
    def open_requests(self) -> tuple[Request, ...]:
        """Requests that nobody has answered."""
        return tuple(self._pending.values())

    def _key(self, direction: Direction, id_: int | str) -> tuple[Direction, int, str, int | str]:
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
