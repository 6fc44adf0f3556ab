"""The recorder's HTTP door: on 127.0.0.1, for whoever has a token, and for no web page.

Admits a request or turns it away, and hands it to the channel that its token names; what is said is `exchange`'s.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Set

from pytest_mcp_governance.errors import GovernanceError, LedgerWriteError
from pytest_mcp_governance.session.http.channel import Channel, HttpSession
from pytest_mcp_governance.session.http.exchange import TEXT, HttpExchange
from pytest_mcp_governance.session.http.headers import Seal, credentials, first
from pytest_mcp_governance.session.http.legacy import legacy
from pytest_mcp_governance.session.http.server import HttpTransport
from pytest_mcp_governance.session.http.wire import AgentConnection, AgentGone, Incoming, Refused
from pytest_mcp_governance.session.strict import Parsed, parse

HOST = "127.0.0.1"
_METHODS = {
    ("http", "mcp"): ("POST", "GET", "DELETE"),
    ("sse", "sse"): ("GET",),
    ("sse", "messages"): ("POST",),
}
_PATHS: Mapping[HttpTransport, str] = {"http": "mcp", "sse": "sse"}


class HttpFront:
    """The one listener of a recorder, opened by the first server that is reached by URL.

    Args:
        turned_away: told the facts of a request that was not admitted, for the ledger, and whether it named an agent
            that there never was.
        learn: told the credentials that an agent brings itself, before anything of the request is recorded.
    """

    def __init__(
        self,
        turned_away: Callable[[Mapping[str, object], bool], None],
        learn: Callable[[Set[str]], Awaitable[None]],
    ) -> None:
        self.seal = Seal()
        self._turned_away = turned_away
        self._learn = learn
        self._channels: dict[str, Channel] = {}
        self._given_out: set[str] = set()
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._serving: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        """Listen on a port of the system's choice.

        Raises:
            OSError: no port can be had.
        """
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, 0)
            self._port = self._listener.sockets[0].getsockname()[1]

    def admit(self, channel: Channel) -> str:
        """Let whoever knows the returned URL use a channel."""
        token = secrets.token_urlsafe(24)
        self._channels[token] = channel
        self._given_out.add(token)
        channel.path = f"/{token}"
        return f"http://{HOST}:{self._port}{channel.path}/{_PATHS[channel.server.transport]}"

    def dismiss(self, channel: Channel) -> None:
        """Admit nobody more to a channel."""
        self._channels = {token: kept for token, kept in self._channels.items() if kept is not channel}

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._listener is not None:
            self._listener.close()
        for task in self._serving:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agent = AgentConnection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._next(agent):
                pass
        except (AgentGone, LedgerWriteError):
            pass  # nobody to tell; a full disk is reported where the plugin asks next
        finally:
            self._serving.discard(task)
            agent.close()

    async def _next(self, agent: AgentConnection) -> bool:
        incoming: Incoming | None = None
        try:
            incoming = await agent.request()
            if incoming is None:
                return False
            channel, place = self._channel(incoming)
            await self._exchange(channel, agent, incoming, place)
        except Refused as refused:
            self._record(refused, incoming)
            with contextlib.suppress(GovernanceError):
                await agent.refuse(refused.status, TEXT, f"mcp-governance: {refused.text}\n".encode())
        return True

    async def _exchange(self, channel: Channel, agent: AgentConnection, incoming: Incoming, place: str) -> None:
        body = await agent.body(incoming.headers, channel.max_message_bytes if incoming.method == "POST" else 0)
        if channel.closed:
            raise Refused(404, "the audited block of this address has ended")
        await self._learn(credentials(incoming.headers))
        parsed = parse(body, lines=False) if incoming.method == "POST" else None
        session = self._session(channel, incoming, place, parsed)
        if parsed is not None:
            session.headers = incoming.headers
        made = legacy if channel.server.transport == "sse" else _streamable
        exchange = made(channel, session, agent, incoming)
        with channel.under_way(session, stream=incoming.method == "GET"):
            try:
                await (exchange.pass_on() if parsed is None else exchange.post(body, parsed))
            except Exception as error:  # a fault of ours: what it cost is unknown, so the run must not look whole
                session.conversation.scribe.lost(f"internal error: {type(error).__name__}")
                channel.failed(f"the recorder failed on a request ({type(error).__name__}); this is a bug in it")
                agent.close()

    def _session(self, channel: Channel, incoming: Incoming, place: str, parsed: Parsed | None) -> HttpSession:
        if channel.server.transport == "http":
            starts = parsed is not None and parsed.fields.get("method") == "initialize"
            return channel.session(incoming.headers, initializes=starts)
        if parsed is None:
            return channel.open_session()
        session = channel.posted_to(place)
        if session is None:
            raise Refused(404, "the event stream that named this address is closed; open a new one")
        return session

    # -- who may come in ------------------------------------------------------------------------------------------

    def _channel(self, incoming: Incoming) -> tuple[Channel, str]:
        """The channel that a request may use, and the last part of its path."""
        self._check_host(incoming)
        _, token, place, *rest = [*incoming.target.partition("?")[0].split("/"), "", ""]
        channel = self._channels.get(token)
        if channel is None:
            # What belongs to no agent's address, as OAuth discovery asks for it, claims to be nobody's.
            stranger = bool(token) and not token.startswith(".well-known") and token not in self._given_out
            raise Refused(
                404, "no such agent's address, or its audited block has ended; take gw.url() inside of it", stranger
            )
        named = [part for part in rest if part]
        allowed = _METHODS.get((channel.server.transport, place))
        if allowed is None or len(named) != (place == "messages"):
            # OAuth discovery asks here for /.well-known/…: the recorder is no authorisation server and names none.
            raise Refused(404, "there is nothing here but the MCP endpoint; OAuth discovery is not passed on")
        if incoming.method not in allowed:
            raise Refused(405, f"expected {' or '.join(allowed)}")
        if first(incoming.headers, b"content-encoding") not in (None, b"identity"):
            raise Refused(415, "a compressed message cannot be judged; send it as it is")
        return channel, "".join(named)

    def _check_host(self, incoming: Incoming) -> None:
        """No page in a browser reaches an agent's address, under a name of its own (DNS rebinding) or otherwise."""
        names = [f"{host}:{self._port}" for host in (HOST, "localhost")]
        hosts = [value.decode("latin-1").lower() for name, value in incoming.headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in names:
            raise Refused(403, f"the Host header must be {names[0]}")
        for name, value in incoming.headers:
            if name == b"origin" and value.decode("latin-1").lower() not in [f"http://{known}" for known in names]:
                raise Refused(403, "requests of web pages are not served")

    def _record(self, refused: Refused, incoming: Incoming | None) -> None:
        facts: dict[str, object] = {"status": refused.status, "reason": refused.text}
        if incoming is not None:
            # The path may hold a token, of an agent that has left or of another server.
            facts |= {"method": incoming.method[:16], "headers": self.seal.headers(incoming.headers)}
        self._turned_away(facts, refused.stranger)


def _streamable(channel: Channel, session: HttpSession, agent: AgentConnection, incoming: Incoming) -> HttpExchange:
    return HttpExchange(channel, session, agent, incoming, channel.server.target)
