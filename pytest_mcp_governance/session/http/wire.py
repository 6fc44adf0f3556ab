"""The agent's side of HTTP/1.1: requests read with limits, answers written part by part, a disconnect noticed at once.

Knows h11 and bytes. Leaves out which requests are admitted and what they say.
"""

import asyncio
import contextlib
from dataclasses import dataclass

import h11

from pytest_mcp_governance.session.http.headers import Headers, first

MAX_HEAD_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_IDLE_S = 120.0
_BODY_S = 60.0
_LINGER_S = 0.5


class Refused(Exception):
    """A request that the recorder answers itself: `status`, what it says, and whether no agent of ours made it."""

    def __init__(self, status: int, text: str, stranger: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.stranger = stranger


class AgentGone(Exception):
    """The agent closed its connection."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """The head of a request: header names in lower case."""

    method: str
    target: str
    headers: Headers


class AgentConnection:
    """One connection of an agent: requests one after the other, each answered before the next is read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._watch: asyncio.Task[None] | None = None
        self.started = False

    async def request(self) -> Incoming | None:
        """Wait for the next request; None when the agent is done.

        Raises:
            Refused: what came is no HTTP request, or its head is too large.
        """
        await self._unwatch()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return None
        self.started = False
        try:
            async with asyncio.timeout(_IDLE_S):
                event = await self._next()
        except (TimeoutError, AgentGone):
            return None
        if not isinstance(event, h11.Request):
            return None
        headers = tuple((bytes(name), bytes(value)) for name, value in event.headers)
        if sum(len(name) + len(value) for name, value in headers) + len(event.target) > MAX_HEAD_BYTES:
            raise Refused(431, f"the headers are longer than {MAX_HEAD_BYTES} bytes")
        return Incoming(event.method.decode("ascii"), event.target.decode("latin-1"), headers)

    async def body(self, headers: Headers, max_bytes: int) -> bytes:
        """Read the body of the request with these headers.

        Raises:
            Refused: it is longer than `max_bytes`, or does not come.
            AgentGone: the agent hung up before its end.
        """
        if (stated := first(headers, b"content-length")) is not None and int(stated) > max_bytes:
            raise Refused(413, f"the message is longer than {max_bytes} bytes")
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(_BODY_S):
                while isinstance(event := await self._next(), h11.Data):
                    length += len(event.data)
                    if length > max_bytes:
                        raise Refused(413, f"the message is longer than {max_bytes} bytes")
                    parts.append(bytes(event.data))
        except TimeoutError:
            raise Refused(408, f"the request's body did not come within {_BODY_S:.0f} s") from None
        return b"".join(parts)

    def watch(self) -> "asyncio.Task[None]":
        """A task that ends when the agent hangs up; call it when the request has been read whole."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_gone())
        return self._watch

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer.

        Raises:
            AgentGone: nobody reads it.
        """
        await self.start(status, (*headers, (b"content-length", str(len(body)).encode())))
        if body:
            await self.send(body)
        await self.finish()

    async def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer a request that was perhaps not read whole, and end the connection."""
        if self.started or self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.close()
            return
        await self.answer(status, (*headers, (b"connection", b"close")), body)
        # Closing over bytes that were not read would reset the connection, and the agent might not see the answer.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_LINGER_S):
                while await self._reader.read(_READ_BYTES):
                    pass

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers; without a content length the body is sent in chunks as it comes."""
        self.started = True
        await self._write(self._http.send(h11.Response(status_code=status, headers=list(headers))))

    async def send(self, data: bytes) -> None:
        """Send a part of the body at once."""
        await self._write(self._http.send(h11.Data(data=data)))

    async def finish(self) -> None:
        """End the body."""
        await self._write(self._http.send(h11.EndOfMessage()))

    def close(self) -> None:
        """Hang up."""
        if self._watch is not None:
            self._watch.cancel()
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(_READ_BYTES)
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            if self._reader.at_eof():
                raise AgentGone from None
            raise Refused(error.error_status_hint, f"this is no HTTP request that can be read: {error}") from None
        except OSError:
            raise AgentGone from None
        if isinstance(event, h11.ConnectionClosed):
            raise AgentGone
        return event

    async def _until_gone(self) -> None:
        # A request that comes while this one is answered waits in `_http`; more than one head of it need not.
        with contextlib.suppress(OSError):
            while data := await self._reader.read(MAX_HEAD_BYTES):
                self._http.receive_data(data)
                if len(self._http.trailing_data[0]) > MAX_HEAD_BYTES:
                    await asyncio.Event().wait()

    async def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None

    async def _write(self, data: bytes | None) -> None:
        try:
            if data:
                self._writer.write(data)
                await self._writer.drain()
        except OSError:
            raise AgentGone from None
