"""One audited connection: record a message, decide, record the decision, then forward the same bytes.

Owns the order of those four and nothing else: parsing is `strict`, the decision is the policy's, the ledger the
evidence package's, the server process `server`'s.
"""

import asyncio
import codecs
import contextlib
import time

from pytest_mcp_governance.errors import CaptureError, GovernanceError, LedgerWriteError
from pytest_mcp_governance.policy.engine import Decision
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.session import answers
from pytest_mcp_governance.session.screens import Screens
from pytest_mcp_governance.session.scribe import Scribe
from pytest_mcp_governance.session.server import ServerProcess, ServerSpec
from pytest_mcp_governance.session.trial import Call, Trial
from pytest_mcp_governance.session.wire import Direction, Exchange, FrameTooLong, LineSplitter, Message

_STDERR_TAIL_BYTES = 4096
_MAX_STDERR_LINE = 1_000_000
_DRAIN_S = 2.0


class Relay:
    """Both directions of one connection between an agent and a server.

    Args:
        conn: id of the connection, minted by the recorder.
        gateway: the gateway it came through.
        spec: the server to start.
        trial: the test attempt that its messages belong to.
        agent_in: reads from the agent.
        agent_out: writes to the agent.
    """

    def __init__(
        self,
        *,
        conn: str,
        gateway: str,
        agent: str,
        spec: ServerSpec,
        trial: Trial,
        agent_in: asyncio.StreamReader,
        agent_out: asyncio.StreamWriter,
    ) -> None:
        self.conn = conn
        self.gateway = gateway
        self.agent = agent
        self.spec = spec
        self.failure: str | None = None
        self._trial = trial
        self._in = agent_in
        self._out = agent_out
        self._exchange = Exchange()
        self._scribe = Scribe(trial, conn=conn, gateway=gateway, agent=agent, spec=spec)
        self._screens: Screens | None = None
        self._server: ServerProcess | None = None
        self._stderr_tail = b""
        self._agent_left = False
        self._forwarded_ns: dict[str, int] = {}
        self._calls: dict[str, Call] = {}

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
        if self.spec.needs_browser:
            self._screens = await Screens.start()
        cdp = self._screens.endpoint if self._screens else None
        self._server = await ServerProcess.start(self.spec, cdp)

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
            if not self._agent_left:
                self._explain_exit(status)

    def _explain_exit(self, status: int) -> None:
        waiting = len(self._exchange.open_requests)
        tail = self._stderr_tail.decode("utf-8", "replace").strip()
        last = "\n".join(f"    {line}" for line in tail.splitlines()[-6:])
        self.failure = (
            f"server {self.spec.name!r} ended with status {status} while the agent was connected"
            f" ({waiting} request(s) unanswered).\n"
            + (f"  Its last lines on stderr:\n{last}\n" if last else "  It wrote nothing to stderr.\n")
            + f"  To see why, run by hand the command of its entry {self.spec.name!r} in mcp.json."
        )

    async def _agent_to_server(self) -> None:
        assert self._server is not None
        splitter = LineSplitter()
        while chunk := await self._in.read(256 * 1024):
            for line in self._lines(splitter, chunk, "c2s"):
                await self._handle(line, "c2s")

    async def _server_to_agent(self) -> None:
        assert self._server is not None
        splitter = LineSplitter()
        while chunk := await self._server.read():
            for line in self._lines(splitter, chunk, "s2c"):
                await self._handle(line, "s2c")
        if rest := splitter.rest():
            self._scribe.io("forward", text=f"torn message at the end of the server's output, {len(rest)} bytes")

    def _lines(self, splitter: LineSplitter, chunk: bytes, direction: Direction) -> list[bytes]:
        try:
            return splitter.feed(chunk)
        except FrameTooLong:
            raise GovernanceError(
                f"server {self.spec.name!r}, {direction}: a message is longer than 64 MiB; the connection is closed"
            ) from None

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

    async def _handle(self, raw: bytes, direction: Direction) -> None:
        if not raw.strip():
            await self._send(raw, direction)
            return
        message = self._exchange.classify(raw, direction)
        ref = self._scribe.message(message)
        event = message.event(ref, conn=self.conn, server=self.spec.name, agent=self.agent)
        asked = message.request.event if message.request else None
        decision = self._trial.decide(event, asked)
        self._scribe.learn(message)
        self._note_call(message, event, decision)
        if message.request is not None:
            await self._answered(message, ref)
        if self._screens is not None and message.tool is not None and message.parsed.kind == "request":
            await self._screens.before(self._trial, ref, self.agent)
        if decision.effect == "forward":
            await self._forward(message, ref, event)
        else:
            await self._refuse(message, ref, decision)

    async def _forward(self, message: Message, ref: str, event: Event) -> None:
        self._exchange.asked(message, ref, event)
        self._forwarded_ns[ref] = time.monotonic_ns()
        await self._send(message.raw, message.direction)

    async def _answered(self, message: Message, ref: str) -> None:
        request = message.request
        assert request is not None
        self._exchange.answered(message.direction, request)
        sent_ns = self._forwarded_ns.pop(request.ref, 0)
        if self._screens is not None and message.tool is not None:
            await self._screens.after(self._trial, request.ref, self.agent, sent_ns)
        self._scribe.images(message, ref)

    async def _refuse(self, message: Message, ref: str, decision: Decision) -> None:
        text = _explain(decision)
        if message.request is not None:
            answer: bytes | None = answers.replacement(message.request, text)
            towards = message.direction
        else:
            answer = answers.refusal(message, text)
            towards = "s2c" if message.direction == "c2s" else "c2s"
        if answer is None:
            return
        self._scribe.synthesised(answer, towards, message, ref)
        await self._send(answer, towards)

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

    def _note_call(self, message: Message, event: Event, decision: Decision) -> None:
        if event.kind == "request" and message.method == "tools/call":
            self._scribe.facts.calls += 1
            params = event.params if isinstance(event.params, dict) else {}
            call = Call(
                ref=event.ref,
                agent=self.agent,
                server=self.spec.name,
                tool=message.tool or "",
                arguments=params.get("arguments"),
                verdict=decision.verdict,
                rule=decision.rule,
                forwarded=decision.effect == "forward",
            )
            self._calls[event.ref] = call
            self._trial.called(self.gateway, call)
        elif message.direction == "c2s" and (event.kind == "invalid" or message.method == "resources/read"):
            self._trial.called(self.gateway, None)
        elif message.request is not None and (answered := self._calls.pop(message.request.ref, None)) is not None:
            result = event.result if isinstance(event.result, dict) else {}
            answered.is_error = event.kind == "error" or result.get("isError") is True
            answered.answered = True

    async def _finish(self) -> None:
        with contextlib.suppress(LedgerWriteError):
            self._scribe.session("closed")
        if self._screens is not None:
            with contextlib.suppress(CaptureError):
                await self._screens.close()
        self._out.close()
        with contextlib.suppress(ConnectionError):
            await self._out.wait_closed()


def _explain(decision: Decision) -> str:
    place = f" ({decision.source})" if decision.source else ""
    return f"Denied by governance rule {decision.rule}{place}: {decision.reason}"
