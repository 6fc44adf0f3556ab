"""The way of one agent to one server over HTTP: its MCP sessions, each a conversation, and what is under way on them.

Leaves out what becomes of one request (see `exchange`) and who is admitted (see `front`).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import GovernanceError, LedgerWriteError
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.session.conversation import Conversation
from pytest_mcp_governance.session.http.headers import Headers, Seal, first, towards_server
from pytest_mcp_governance.session.http.server import HttpServer
from pytest_mcp_governance.session.http.upstream import ServerRequest, Target
from pytest_mcp_governance.session.http.wire import AgentConnection
from pytest_mcp_governance.session.scribe import Connection
from pytest_mcp_governance.session.trial import Trial

SESSION_ID = b"mcp-session-id"
_OF_ONE_MESSAGE = (b"mcp-method", b"mcp-name", b"last-event-id")
_SETTLE_S = 3.0
_MOST_FAILURES = 100
_MOST_EVENTS = 10_000


@dataclass(eq=False, slots=True)
class HttpSession:
    """One MCP session; or, where server and agent have none, all that they say to each other.

    Attributes:
        id: its `Mcp-Session-Id`, None where there is none, or not yet.
        headers: those of the agent's last POST, with which the recorder speaks for it.
        under_way: HTTP exchanges that are not over.
        ended: the agent has ended it.
        passed: SHA-256 of what was passed on with each event id, for a server that says it again when a stream resumes.
        stream: 2024-11-05 only: where the agent reads.
        endpoint: 2024-11-05 only: where the server takes messages.
    """

    conversation: Conversation
    id: bytes | None = field(default=None, repr=False)
    headers: Headers = field(default=(), repr=False)
    under_way: int = 0
    scopes: int = 0
    ended: bool = False
    recorded_end: bool = False
    passed: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    stream: AgentConnection | None = None
    endpoint: Target | None = None

    def note(self, event: bytes, data: bytes) -> None:
        """Note that a message was passed on as it was."""
        self.passed[event] = hashlib.sha256(data).digest()
        if len(self.passed) > _MOST_EVENTS:
            del self.passed[next(iter(self.passed))]

    def repeats(self, event: bytes | None, data: bytes) -> bool:
        """Whether the same was passed on before, under the same event id."""
        return event is not None and self.passed.get(event) == hashlib.sha256(data).digest()


class Channel:
    """One agent's way to one server.

    Args:
        server: where it leads.
        trial: the test attempt that its messages belong to.
        seal: what stands in records for credentials.
        mint: makes the description of a new connection.
        tell: told what went wrong, in words.

    Attributes:
        path: where an agent finds it, without the last part.
        failures: what went wrong on it, in words.
        closed: nothing more may begin on it.
    """

    def __init__(
        self,
        server: HttpServer,
        trial: Trial,
        seal: Seal,
        mint: Callable[[], Connection],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.server = server
        self.seal = seal
        self.path = ""
        self.failures: list[str] = []
        self.max_message_bytes = trial.max_message_bytes
        self._trial = trial
        self._mint = mint
        self._tell_of = tell
        self._sessions: list[HttpSession] = []
        self._by_id: dict[bytes, HttpSession] = {}
        self._without_id: HttpSession | None = None
        self._running: dict[asyncio.Task[object], bool] = {}
        self.closed = False

    # -- sessions -------------------------------------------------------------------------------------------------

    def session(self, headers: Headers, *, initializes: bool = False) -> HttpSession:
        """The session that a request belongs to; a new one for `initialize` and for an id that is not known."""
        id_ = first(headers, SESSION_ID)
        if id_ is not None:
            if id_ not in self._by_id:
                # The server decides whether it knows it; here it is a connection of its own.
                self.bind(self.open_session(), id_)
            return self._by_id[id_]
        if initializes or self._without_id is None:
            self._without_id = self.open_session()
        return self._without_id

    def open_session(self) -> HttpSession:
        """A new session, recorded as opened."""
        session = HttpSession(Conversation(self._mint(), self._trial))
        session.conversation.scribe.session("opened")
        self._sessions.append(session)
        return session

    def continue_in(self, trial: Trial) -> None:
        """Let sessions that begin from now on belong to another test attempt."""
        self._trial = trial

    def posted_to(self, conn: str) -> HttpSession | None:
        """2024-11-05 only: the session whose endpoint names a connection, while its stream is open."""
        found = (s for s in self._sessions if s.conversation.connection.id == conn and s.endpoint is not None)
        return next((session for session in found if not session.ended), None)

    def bind(self, session: HttpSession, id_: bytes) -> None:
        """Note the id that the server gave a session."""
        session.id = id_
        self._by_id[id_] = session
        if self._without_id is session:
            self._without_id = None

    def ended(self, session: HttpSession) -> None:
        """Note that the agent ended a session; it is recorded as closed when nothing is under way on it."""
        session.ended = True
        if session.id is not None:
            self._by_id.pop(session.id, None)
        self.settle(session)

    def settle(self, session: HttpSession) -> None:
        """Record the end of a session that is over."""
        if session.ended and not session.under_way and not session.recorded_end:
            session.recorded_end = True
            self._sessions.remove(session)
            session.conversation.scribe.session("closed")

    def tell(self, session: HttpSession, target: Target, raw: bytes) -> None:
        """Send the server a message of the recorder's own, in the agent's place, without waiting for it."""
        task: asyncio.Task[object] = asyncio.create_task(self._tell(session, target, raw))
        self._running[task] = False
        task.add_done_callback(lambda done: self._running.pop(done, None))

    async def _tell(self, session: HttpSession, target: Target, raw: bytes) -> None:
        speaks = tuple(
            (n, v) for n, v in session.headers if n not in _OF_ONE_MESSAGE and not n.startswith(b"mcp-param-")
        )
        if session.id is not None:
            speaks = (*(pair for pair in speaks if pair[0] != SESSION_ID), (SESSION_ID, session.id))
        own = self.server.headers
        headers = towards_server(speaks, authority=target.authority.encode("ascii"), own=own, length=len(raw))
        scribe = session.conversation.scribe
        request: ServerRequest | None = None
        try:
            told = Committed(self.seal.headers(speaks))
            ref = scribe.exchange("request", {"method": "POST", "origin": "synthesised", "headers": told})
            request = await ServerRequest.send(target, "POST", headers, raw)
            answer = await request.head()
            got = Committed(self.seal.headers(answer.headers))
            scribe.exchange("response", {"ref": ref, "status": answer.status, "headers": got})
        except GovernanceError as error:
            self.failed(str(error))
            scribe.io("forward", text=str(error))
        finally:
            if request is not None:
                request.close()

    # -- what runs on it ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def under_way(self, session: HttpSession, *, stream: bool) -> Iterator[None]:
        """A block in which the current task serves an exchange; a `stream` only the server could end is cut first."""
        task = asyncio.current_task()
        assert task is not None
        session.under_way += 1
        self._running[task] = stream
        try:
            yield
        finally:
            self._running.pop(task, None)
            session.under_way -= 1
            self.settle(session)

    def failed(self, text: str) -> None:
        """Note what went wrong, for whoever reads the test's result; the same thing once."""
        if text not in self.failures and len(self.failures) < _MOST_FAILURES:
            self.failures.append(text)
            self._tell_of(text)

    async def close(self) -> None:
        """Let answers arrive that are under way, cut what does not end, and record the end of every session."""
        if self.closed:
            return
        self.closed = True
        for task, stream in list(self._running.items()):
            if stream:
                task.cancel()
        if waiting := set(self._running):
            _, late = await asyncio.wait(waiting, timeout=_SETTLE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        for session in list(self._sessions):
            session.ended, session.under_way = True, 0
            with contextlib.suppress(LedgerWriteError):
                self.settle(session)
