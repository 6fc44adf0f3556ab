"""HTTP+SSE of revision 2024-11-05: one event stream for all that the server says, and POSTs beside it.

The stream's first event names where the agent posts; here that is an address of the recorder's own. What is refused is
answered on the stream, where the agent waits for it.
"""

from urllib.parse import urljoin

from pytest_mcp_governance.errors import ServerError
from pytest_mcp_governance.session.http.channel import Channel, HttpSession
from pytest_mcp_governance.session.http.events import SseEvent, message_event
from pytest_mcp_governance.session.http.exchange import HttpExchange
from pytest_mcp_governance.session.http.upstream import Target
from pytest_mcp_governance.session.http.wire import AgentConnection, Incoming
from pytest_mcp_governance.session.wire import Direction

_ENDPOINT = b"endpoint"


class LegacyStream(HttpExchange):
    """The GET that opens the stream, and all that the server says on it."""

    async def pass_on(self) -> None:
        """Pass on what the server says until one of them hangs up; then the session is over."""
        self._session.stream = self._agent
        try:
            await super().pass_on()
        finally:
            self._session.stream = None
            self._channel.ended(self._session)

    async def _pass_event(self, event: SseEvent) -> None:
        if event.name != _ENDPOINT:
            await super()._pass_event(event)
            return
        target = self._endpoint((event.data or b"").decode("utf-8", "replace"))
        self._record("event", endpoint=self._channel.seal.of(target.path.encode()))
        self._session.endpoint = target
        ours = f"{self._channel.path}/messages/{self._session.conversation.connection.id}"
        await self._agent.send(event.with_data(ours.encode()))

    def _endpoint(self, named: str) -> Target:
        target = Target.of(self._target.name, urljoin(self._channel.server.url, named))
        if target.origin != self._target.origin:
            raise ServerError(
                f"server {self._target.name!r}: it asks for messages at {target.origin[:80]}, which is another server "
                f"than {self._target.origin}; credentials are not sent there"
            )
        return target

    def _tell(self, raw: bytes) -> None:
        if self._session.endpoint is not None:
            self._channel.tell(self._session, self._session.endpoint, raw)


class LegacyPost(HttpExchange):
    """One message of the agent; its answer comes on the stream."""

    async def _deliver(self) -> None:
        self._expects = False  # the answer is not in the answer to this POST
        await super()._deliver()

    async def _send(self, raw: bytes, direction: Direction) -> None:
        if direction == "c2s":
            await super()._send(raw, direction)
        else:
            await self._reply(raw, direction)

    async def _reply(self, raw: bytes, direction: Direction) -> None:
        if self._session.stream is not None:
            await self._session.stream.send(message_event(raw))
        status = self._answer.status if self._answer.status >= 400 else 202
        await self._agent.answer(status, (), b"")


def legacy(channel: Channel, session: HttpSession, agent: AgentConnection, incoming: Incoming) -> HttpExchange:
    """The exchange of a request on an SSE channel."""
    if incoming.method == "GET":
        return LegacyStream(channel, session, agent, incoming, channel.server.target)
    assert session.endpoint is not None
    return LegacyPost(channel, session, agent, incoming, session.endpoint)
