"""The pump of a connection that is a stream of lines: between an agent's pipe and a server, message by message.

Starts and ends the server and tells what went wrong with it; what becomes of a message is `conversation`'s.
"""

import asyncio
import codecs
import contextlib

from pytest_mcp_governance.errors import CaptureError, GovernanceError, LedgerWriteError
from pytest_mcp_governance.evidence.safe_text import quoted
from pytest_mcp_governance.session.conversation import Conversation
from pytest_mcp_governance.session.screens import Screens
from pytest_mcp_governance.session.scribe import Connection
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.unread import Unread
from pytest_mcp_governance.session.upstream import StreamServer, Upstream
from pytest_mcp_governance.session.wire import Direction, LineSplitter

_STDERR_TAIL_BYTES = 4096
_MAX_STDERR_LINE = 1_000_000
_DRAIN_S = 2.0


class Relay:
    """Both directions of one connection between an agent and a server.

    Args:
        connection: its id, minted by the recorder, whose it is and where it leads.
        server: the server to start.
        trial: the test attempt that its messages belong to.
        agent_in: reads from the agent.
        agent_out: writes to the agent.
    """

    def __init__(
        self,
        connection: Connection,
        server: StreamServer,
        trial: Trial,
        agent_in: asyncio.StreamReader,
        agent_out: asyncio.StreamWriter,
    ) -> None:
        self.failure: str | None = None
        self._trial = trial
        self._conversation = Conversation(connection, trial)
        self._scribe = self._conversation.scribe
        self._spec = server
        self._in = agent_in
        self._out = agent_out
        self._server: Upstream | None = None
        self._stderr_tail = b""
        self._agent_left = False

    async def run(self) -> None:
        """Serve the connection until one side ends; never raises for what agent or server do."""
        self._scribe.session("opened")
        try:
            await self._start()
            await self._pump()
        except LedgerWriteError as error:
            self.failure = str(error)
        except (GovernanceError, OSError) as error:
            self.failure = str(error)
            self._scribe.io("forward", text=str(error))
        except Exception as error:  # a fault of ours: what it cost is unknown, so the run must not look whole
            self.failure = f"the recorder failed on this connection ({type(error).__name__}); this is a bug in it"
            self._scribe.lost(f"internal error: {type(error).__name__}")
        finally:
            await self._finish()

    async def _start(self) -> None:
        screens = None
        if self._spec.needs_browser:
            self._conversation.screens = screens = await Screens.start()
        self._server = await self._spec.start(screens.endpoint if screens else None)

    async def _pump(self) -> None:
        assert self._server is not None
        upward = asyncio.create_task(self._agent_to_server())
        errors = asyncio.create_task(self._watch_stderr())
        downward = asyncio.create_task(self._server_to_agent())
        try:
            done, _ = await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
            if upward in done and upward.exception() is None:
                self._agent_left = True
                self._server.close_input()
                await asyncio.wait({downward}, timeout=_DRAIN_S)
            for task in (upward, downward):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            for task in (upward, downward):
                task.cancel()
            await asyncio.gather(upward, downward, return_exceptions=True)
            status = await self._server.end(grace_s=_DRAIN_S if self._agent_left else 0.2)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(errors, 1.0)
            self._scribe.io("exit", code=status, asked=self._agent_left)
            # A process may end as it likes when it was asked to; an exception in the test's own process is told.
            if not self._agent_left or (status and self._spec.transport == "memory"):
                self._explain_exit(status)

    def _explain_exit(self, status: int) -> None:
        waiting = len(self._conversation.exchange.open_requests)
        tail = self._trial.masked(self._stderr_tail.decode("utf-8", "replace"))
        last = "\n".join(f"    {line}" for line in quoted(tail, lines=6))
        said = "Its last lines on stderr" if self._spec.transport == "stdio" else "The end of its exception"
        self.failure = (
            f"server {self._spec.name!r} ended with status {status} "
            f"{'after the agent had left' if self._agent_left else 'while the agent was connected'}"
            f" ({waiting} request(s) unanswered).\n"
            + (f"  {said}:\n{last}\n" if last else "  It said nothing of why.\n")
            + f"  {self._spec.remedy}"
        )

    async def _agent_to_server(self) -> None:
        assert self._server is not None
        splitter = LineSplitter(self._trial.max_message_bytes)
        while chunk := await self._in.read(256 * 1024):
            for line in splitter.feed(chunk):
                await self._receive(line, "c2s")

    async def _server_to_agent(self) -> None:
        assert self._server is not None
        splitter = LineSplitter(self._trial.max_message_bytes)
        while chunk := await self._server.read():
            for line in splitter.feed(chunk):
                await self._receive(line, "s2c")
        if rest := splitter.rest():
            self._scribe.io("forward", text=f"torn message at the end of the server's output, {len(rest)} bytes")

    async def _watch_stderr(self) -> None:
        assert self._server is not None
        # Whole lines: what is withheld from a report is looked for in one record, not across two.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pending = ""
        while chunk := await self._server.read_stderr():
            self._stderr_tail = (self._stderr_tail + chunk)[-_STDERR_TAIL_BYTES:]
            whole, newline, pending = (pending + decoder.decode(chunk)).rpartition("\n")
            if newline:
                self._scribe.io("stderr", text=whole + newline)
            elif len(pending) > _MAX_STDERR_LINE:
                self._scribe.io("stderr", text=pending)
                pending = ""
        if rest := pending + decoder.decode(b"", final=True):
            self._scribe.io("stderr", text=rest)

    async def _receive(self, raw: bytes | Unread, direction: Direction) -> None:
        if isinstance(raw, bytes) and not raw.strip():
            await self._send(raw, direction)  # an empty line is no message
            return
        await self._conversation.receive(raw, direction, self._send)

    async def _send(self, raw: bytes, direction: Direction) -> None:
        if direction == "c2s":
            assert self._server is not None
            try:
                await self._server.write(raw + b"\n")
            except ConnectionError:
                # The server's end shows in its exit status; the agent may have more to say to nobody.
                self._scribe.io("forward", text="the server no longer reads its input")
            return
        try:
            self._out.write(raw + b"\n")
            await self._out.drain()
        except ConnectionError:
            self._scribe.io("forward", text="the agent no longer reads its input")

    async def _finish(self) -> None:
        with contextlib.suppress(LedgerWriteError):
            self._scribe.session("closed")
        if (screens := self._conversation.screens) is not None:
            with contextlib.suppress(CaptureError):
                await screens.close()
        self._out.close()
        with contextlib.suppress(ConnectionError):
            await self._out.wait_closed()
