"""One HTTP exchange of an agent with a server: recorded, its messages judged one by one, passed on as they come.

An event stream is never held back: every event is judged when it is whole and sent on before the next one is read. When
the agent hangs up, the server's connection is closed at once. Leaves out sessions (see `channel`).
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from pytest_mcp_governance.errors import GovernanceError, LedgerWriteError, ServerError
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.session.http.channel import SESSION_ID, Channel, HttpSession
from pytest_mcp_governance.session.http.events import EventSplitter, EventTooLong, SseEvent
from pytest_mcp_governance.session.http.headers import Headers, first, media_type, towards_agent, towards_server
from pytest_mcp_governance.session.http.upstream import Answer, ServerRequest, Target
from pytest_mcp_governance.session.http.wire import AgentConnection, AgentGone, Incoming
from pytest_mcp_governance.session.strict import Parsed, header_problems, parse
from pytest_mcp_governance.session.unread import in_units
from pytest_mcp_governance.session.wire import Direction

JSON: Headers = ((b"content-type", b"application/json"),)
TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
_MAX_TEXT = 64 * 1024
_CREDENTIALS_MISSING = (
    "Set its credentials in the headers of its entry in mcp.json; the recorder does not take part in OAuth discovery."
)
Result = TypeVar("Result")


class HttpExchange:
    """One request of an agent, and all that comes in answer to it.

    Args:
        channel: the agent's way to the server.
        session: the MCP session that the request belongs to.
        agent: where the answer goes.
        incoming: method and headers.
        target: where the request goes on to.
    """

    def __init__(
        self, channel: Channel, session: HttpSession, agent: AgentConnection, incoming: Incoming, target: Target
    ) -> None:
        self._channel = channel
        self._session = session
        self._talk = session.conversation
        self._scribe = session.conversation.scribe
        self._agent = agent
        self._incoming = incoming
        self._target = target
        session.scopes += 1
        # Without a session nothing keeps the ids of two agents apart but the request that each came with.
        alone = session.id is None and channel.server.transport == "http"
        self._exchange = self._talk.exchange.within(session.scopes if alone else 0)
        self._server: ServerRequest | None = None
        self._answer = Answer(200, JSON)
        self._expects = False
        self._ref = ""

    async def post(self, body: bytes, parsed: Parsed) -> None:
        """Judge the message in a POST and pass it on, or answer it here; then what the server says."""
        self._expects = parsed.kind in ("request", "invalid")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._incoming.headers]
        problems = header_problems("POST", headers, parsed, input_schema=self._talk.input_schema(parsed))
        self._record_request()
        try:
            at = {"exchange": self._ref}
            await self._talk.receive(body, "c2s", self._send, problems=problems, exchange=self._exchange, at=at)
            if self._server is not None:
                await self._deliver()
            elif not self._agent.started:
                await self._answer_here(parsed)
        except (GovernanceError, AgentGone) as error:
            await self._ended_badly(error)
        finally:
            self._hang_up()

    async def pass_on(self) -> None:
        """Pass on a request without a body: a GET that opens a stream, a DELETE that ends a session."""
        self._record_request()
        try:
            self._server = await self._ask(None)
            await self._deliver()
        except (GovernanceError, AgentGone) as error:
            await self._ended_badly(error)
        finally:
            self._hang_up()

    # -- towards the server ---------------------------------------------------------------------------------------

    async def _ask(self, body: bytes | None) -> ServerRequest:
        headers = towards_server(
            self._incoming.headers,
            authority=self._target.authority.encode("ascii"),
            own=self._channel.server.headers,
            length=None if body is None else len(body),
        )
        return await ServerRequest.send(self._target, self._incoming.method, headers, body)

    async def _send(self, raw: bytes, direction: Direction) -> None:
        """What the conversation wants said when it has judged the agent's message."""
        if direction == "c2s":
            self._server = await self._ask(raw)
        else:
            await self._agent.answer(200, JSON, raw)

    async def _answer_here(self, parsed: Parsed) -> None:
        # Nothing was passed on and nobody waits for an answer: a notification that was dropped, or nothing readable.
        if parsed.kind == "invalid":
            text = (
                b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Denied by governance rule MALFORMED"}}'
            )
            await self._agent.answer(400, JSON, text)
        else:
            await self._agent.answer(202, (), b"")

    # -- towards the agent ----------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        assert self._server is not None
        self._agent.watch()
        answer = self._answer = await self._unless_gone(self._server.head())
        self._record("response", status=answer.status, headers=self._channel.seal.headers(answer.headers))
        self._refuse_detours(answer)
        self._exchange.failed = answer.status >= 400
        id_ = first(answer.headers, SESSION_ID)
        if id_ is not None and self._session.id is None and answer.status < 300:
            self._channel.bind(self._session, id_)
        if answer.status in (401, 403):
            self._channel.failed(
                f"server {self._target.name!r}: {self._target.origin} answered {answer.status}. {_CREDENTIALS_MISSING}"
            )
        if media_type(answer.headers) == "text/event-stream" and answer.status < 300:
            await self._stream()
        else:
            await self._whole(answer)
        if self._incoming.method == "DELETE" and answer.status < 300:
            self._channel.ended(self._session)

    def _refuse_detours(self, answer: Answer) -> None:
        if 300 <= answer.status < 400:
            place = first(answer.headers, b"location") or b""
            slash = place.split(b"?")[0].endswith(b"/") != self._target.path.partition("?")[0].endswith("/")
            raise ServerError(
                f"server {self._target.name!r}: {self._target.origin} answered {answer.status}, a redirect, which is "
                "not followed: credentials would go where they were not meant to. Write the final url into mcp.json"
                + (" (it differs by a slash at the end of the path)." if slash else ".")
            )
        coding = first(answer.headers, b"content-encoding") or b"identity"
        if coding.strip().lower() != b"identity":
            # What cannot be read cannot be judged.
            raise ServerError(
                f"server {self._target.name!r} answered with content-encoding "
                f"{coding[:20].decode('ascii', 'replace')}, though none was asked for; its answer was not passed on"
            )

    async def _whole(self, answer: Answer) -> None:
        body = await self._read_body()
        # An error page is the transport's and not a message, a JSON-RPC error is the server's whatever the status.
        if body and self._expects and (answer.status < 400 or "jsonrpc" in parse(body, lines=False).fields):
            at = {"exchange": self._ref}
            await self._talk.receive(body, "s2c", self._reply, exchange=self._exchange, at=at)
            if not self._agent.started and self._exchange.waits:
                raise ServerError(f"server {self._target.name!r}: its answer was refused, see the evidence")
        elif body:
            self._record("body", text=body[:_MAX_TEXT].decode("utf-8", "replace"), size=len(body))
        if not self._agent.started:
            # A text that is no message tells a client nothing that the status does not, and nobody could judge it.
            await self._agent.answer(answer.status, _without_body(towards_agent(answer.headers)), b"")

    async def _reply(self, raw: bytes, direction: Direction) -> None:
        if direction == "c2s":
            self._tell(raw)
        else:
            await self._agent.answer(self._answer.status, towards_agent(self._answer.headers), raw)

    async def _stream(self) -> None:
        assert self._server is not None
        await self._agent.start(self._answer.status, towards_agent(self._answer.headers))
        splitter = EventSplitter(self._channel.max_message_bytes)
        while chunk := await self._unless_gone(self._server.read()):
            try:
                events = splitter.feed(chunk)
            except EventTooLong:
                raise ServerError(
                    f"server {self._target.name!r}: an event is longer than "
                    f"{in_units(self._channel.max_message_bytes)}; the connection is closed"
                ) from None
            for event in events:
                await self._pass_event(event)
        if rest := splitter.rest():
            self._scribe.io("forward", text=f"torn event at the end of the server's stream, {len(rest)} bytes")
        await self._agent.finish()

    async def _pass_event(self, event: SseEvent) -> None:
        if event.beside or not event.data:
            said = {"text": event.raw.decode("utf-8", "replace")} if event.beside else {}
            self._record("event", **said, **({"event": text(event.id)} if event.id else {}))
        if not event.data:
            await self._agent.send(event.raw)
            return
        data = event.data
        if first(self._incoming.headers, b"last-event-id") is not None and self._session.repeats(event.id, data):
            # Resumed after an event that the agent never got: the same words, judged and recorded when first said.
            self._record("event", event=text(event.id), repeated=True)
            await self._agent.send(event.raw)
            return

        async def send(raw: bytes, direction: Direction) -> None:
            if direction == "c2s":
                self._tell(raw)
            elif raw is data:
                if event.id:
                    self._session.note(event.id, data)
                await self._agent.send(event.raw)
            else:
                await self._agent.send(event.with_data(raw))

        problems = ("control-byte",) if event.bare_cr else ()
        at = {"exchange": self._ref, **({"event": Committed(text(event.id))} if event.id else {})}
        await self._talk.receive(data, "s2c", send, problems=problems, exchange=self._exchange, at=at)

    def _tell(self, raw: bytes) -> None:
        """Answer a request of the server's in the agent's place."""
        self._channel.tell(self._session, self._target, raw)

    async def _read_body(self) -> bytes:
        assert self._server is not None
        parts: list[bytes] = []
        length = 0
        while chunk := await self._unless_gone(self._server.read()):
            length += len(chunk)
            if length > self._channel.max_message_bytes:
                raise ServerError(
                    f"server {self._target.name!r}: its answer is longer than "
                    f"{in_units(self._channel.max_message_bytes)}; it was not passed on"
                )
            parts.append(chunk)
        return b"".join(parts)

    async def _unless_gone(self, waiting: Awaitable[Result]) -> Result:
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({task, self._agent.watch()}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise AgentGone
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # -- ends -----------------------------------------------------------------------------------------------------

    async def _ended_badly(self, error: Exception) -> None:
        if isinstance(error, AgentGone):
            # A client that has its answer often hangs up before the stream ends; that is no event.
            if self._exchange.waits or self._incoming.method == "GET":
                self._record("left")
            return
        self._channel.failed(str(error))
        if isinstance(error, LedgerWriteError) or self._agent.started:
            self._agent.close()  # half an answer must not look like a whole one
            return
        self._scribe.io("forward", text=str(error))
        try:
            brought = self._exchange.brought
            if brought is not None and self._exchange.waits:
                self._answer = Answer(502, JSON)
                await self._talk.fail(brought, str(error), self._reply, exchange=self._exchange)
            else:
                await self._agent.answer(502, TEXT, str(error).encode())
        except (AgentGone, LedgerWriteError):
            self._agent.close()

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()

    def _record_request(self) -> None:
        fields = {"method": self._incoming.method, "headers": self._channel.seal.headers(self._incoming.headers)}
        self._ref = self._scribe.exchange("request", _committed(fields))

    def _record(self, state: str, **fields: object) -> None:
        self._scribe.exchange(state, {"ref": self._ref, **_committed(fields)})


def text(value: bytes | None) -> str:
    """Bytes of a header or an event's id, for a record."""
    return (value or b"").decode("utf-8", "backslashreplace")


def _committed(fields: Mapping[str, object]) -> dict[str, object]:
    """Everything but method, status and the like comes from others, and stands in the ledger as a commitment."""
    return {k: v if k in ("method", "status", "size", "repeated") else Committed(v) for k, v in fields.items()}


def _without_body(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name != b"content-type")
