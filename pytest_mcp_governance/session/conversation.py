"""One audited connection on any transport: record a message, decide, record the decision, then forward the same bytes.

Owns the order of those four and nothing else: parsing is `strict`, the decision is the policy's, the ledger the
evidence package's; how bytes reach the agent or the server is the transport's, passed in with every message.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.policy.engine import Decision
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.session import answers
from pytest_mcp_governance.session.screens import Screens
from pytest_mcp_governance.session.scribe import Connection, Scribe
from pytest_mcp_governance.session.strict import Parsed
from pytest_mcp_governance.session.trial import Call, Trial
from pytest_mcp_governance.session.unread import Unread, in_units
from pytest_mcp_governance.session.wire import Direction, Exchange, Message, Request, opposite

Send = Callable[[bytes, Direction], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A request that was forwarded and not answered yet."""

    request: Request
    exchange: Exchange
    message: Message
    decision: Decision
    forwarded_ns: int


class Conversation:
    """What is said on one connection between an agent and a server.

    Args:
        connection: whose it is and where it leads.
        trial: the test attempt that its messages belong to.
    """

    def __init__(self, connection: Connection, trial: Trial) -> None:
        self.connection = connection
        self.scribe = Scribe(trial, connection)
        self.screens: Screens | None = None
        self.exchange = Exchange()
        self._trial = trial
        self._under_way: dict[str, _UnderWay] = {}
        self._calls: dict[str, Call] = {}
        trial.conversations.add(self)

    async def receive(
        self,
        raw: bytes | Unread,
        direction: Direction,
        send: Send,
        *,
        problems: Sequence[str] = (),
        exchange: Exchange | None = None,
        at: Mapping[str, object] | None = None,
    ) -> None:
        """Take one message: record it, judge it, and pass it on or refuse it.

        Args:
            raw: the message as it came, without the framing of its transport; or what is known of one that is longer
                than the limit, which is refused in every mode.
            direction: "c2s" from the agent, "s2c" from the server.
            send: how the transport takes bytes to the agent ("s2c") or to the server ("c2s"); it gets `raw` itself,
                or what the recorder says in its place or in answer to it.
            problems: what the transport itself found ambiguous, such as headers that contradict the body.
            exchange: the requests under way that an answer may belong to; the connection's own where none is given.
            at: what the transport adds to the message's record, such as the HTTP request that brought it.

        Raises:
            LedgerWriteError: it could not be recorded, and was not passed on.
            GovernanceError: it is too long, and nobody can be told, because it does not show whom it answers.
        """
        async with self._trial.turnstile:
            said, towards = await self._take(raw, direction, problems, exchange or self.exchange, at)
        if said is not None:
            await send(said, towards)
        elif isinstance(raw, Unread) and not (raw.names()[1] or "").startswith("notifications/"):
            raise GovernanceError(
                f"server {self.connection.server!r}, {direction}: a message of {raw.size} bytes is longer than "
                f"{in_units(self._trial.max_message_bytes)} and does not show whom it answers; the connection is "
                "closed. --mcp-governance-max-message sets the limit."
            )

    async def _take(
        self,
        raw: bytes | Unread,
        direction: Direction,
        problems: Sequence[str],
        exchange: Exchange,
        at: Mapping[str, object] | None,
    ) -> tuple[bytes | None, Direction]:
        """Record and judge a message; return what is to be said now, if anything, and to whom."""
        connection, threads = self.connection, self._trial.threads
        whose = {"conn": connection.id, "server": connection.server, "agent": connection.agent}
        if isinstance(raw, Unread):
            message = exchange.unread(raw, direction)
        else:
            message = threads.follow(exchange.classify(raw, direction, problems), **whose)
        ref = self.scribe.message(message, at)
        event = message.event(ref, **whose)
        asked = message.request.event if message.request else None
        decision = self._trial.decide(event, asked)
        self.scribe.learn(message)
        if message.method == "tools/list" and event.kind == "result":
            self.scribe.definitions(event, decision.effect == "forward")
        self._note_call(message, event, decision)
        if message.request is not None:
            await self._answered(message, ref, exchange)
        if self.screens is not None and message.method == "tools/call" and message.parsed.kind == "request":
            await self.screens.before(self._trial, ref, connection.agent)
        if decision.effect != "forward" or isinstance(raw, Unread):
            return self._refused(message, ref, decision)
        request = exchange.asked(message, ref, event)
        exchange.passed_on(message)
        threads.passed_on(message, **whose)
        if request is not None:
            self._under_way[ref] = _UnderWay(request, exchange, message, decision, time.monotonic_ns())
        return raw, direction

    def input_schema(self, parsed: Parsed) -> object:
        """The schema of the arguments of the tool that a message calls, as far as its server has listed it."""
        params = parsed.fields.get("params")
        tool = params.get("name") if isinstance(params, dict) else None
        if parsed.fields.get("method") != "tools/call" or not isinstance(tool, str):
            return None
        at = self.connection
        return self._trial.definitions.input_schema(tool, server=at.server, command=at.digest)

    def continue_in(self, trial: Trial, run: str) -> None:
        """Go on in another run, in which requests that nobody has answered are recorded again.

        Args:
            trial: the attempt of the new run that messages belong to from now on.
            run: the run in which they were received.
        """
        self._trial = trial
        self.scribe.taken_over(trial, run)
        carried, self._under_way = self._under_way, {}
        for ref, one in carried.items():
            again = self.scribe.message(one.message, carried={"run": run, "ref": ref})
            trial.decided(one.decision, again, "carried")
            request = replace(one.request, ref=again, event=replace(one.request.event, ref=again))
            one.exchange.renewed(one.request, request)
            self._under_way[again] = replace(one, request=request)
            if ref in self._calls:
                self._calls[again] = self._calls.pop(ref)

    async def fail(self, request: Request, text: str, send: Send, *, exchange: Exchange | None = None) -> None:
        """Tell whoever asked that a request that was passed on gets no answer.

        Args:
            request: what was asked.
            text: why, in words of the recorder's own.
            send: as for `receive`.
            exchange: as for `receive`.

        Raises:
            LedgerWriteError: it could not be recorded, and was not said.
        """
        exchange = exchange if exchange is not None else self.exchange
        request = exchange.current(request)
        event = request.event
        towards = opposite(event.direction)
        exchange.answered(towards, request)
        self._under_way.pop(request.ref, None)
        answer = answers.failure(request, text)
        self.scribe.synthesised(answer, towards, method=event.method, tool=event.tool, ref=event.ref)
        await send(answer, towards)

    async def _answered(self, message: Message, ref: str, exchange: Exchange) -> None:
        request = message.request
        assert request is not None
        exchange.answered(message.direction, request)
        under_way = self._under_way.pop(request.ref, None)
        sent_ns = under_way.forwarded_ns if under_way is not None else 0
        if self.screens is not None and message.tool is not None:
            await self.screens.after(self._trial, request.ref, self.connection.agent, sent_ns)
        self.scribe.images(message, ref)

    def _refused(self, message: Message, ref: str, decision: Decision) -> tuple[bytes | None, Direction]:
        towards = message.direction if message.request is not None else opposite(message.direction)
        # The reason may quote what was kept from the server, such as a root.
        text = _explain(decision) if towards == "s2c" else f"Denied by governance rule {decision.rule}"
        if message.request is not None and message.unread is not None:
            answer: bytes | None = answers.failure(message.request, text)
        elif message.request is not None:
            answer = answers.replacement(message.request, text)
        else:
            answer = answers.refusal(message, text)
        if answer is not None:
            self.scribe.synthesised(answer, towards, method=message.method, tool=message.tool, ref=ref)
        return answer, towards

    def _note_call(self, message: Message, event: Event, decision: Decision) -> None:
        if event.kind == "request" and message.method == "tools/call":
            self.scribe.facts.calls += 1
            params = event.params if isinstance(event.params, dict) else {}
            call = Call(
                ref=event.ref,
                agent=self.connection.agent,
                server=self.connection.server,
                tool=message.tool or "",
                arguments=params.get("arguments"),
                verdict=decision.verdict,
                rule=decision.rule,
                forwarded=decision.effect == "forward",
            )
            if call.forwarded:
                self._calls[event.ref] = call
            self._trial.called(self.connection.gateway, call)
        elif message.direction == "c2s" and (event.kind == "invalid" or message.method == "resources/read"):
            self._trial.called(self.connection.gateway, None)
        elif message.request is not None and (answered := self._calls.pop(message.request.ref, None)) is not None:
            result = event.result if isinstance(event.result, dict) else {}
            answered.is_error = event.kind == "error" or result.get("isError") is True
            answered.answered = True


def _explain(decision: Decision) -> str:
    place = f" ({decision.source})" if decision.source else ""
    return f"Denied by governance rule {decision.rule}{place}: {decision.reason}"
