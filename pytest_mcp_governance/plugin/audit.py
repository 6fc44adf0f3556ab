"""`mcp_audit`: what a test asks of its audit. Every method is one question to the recorder.

Decides nothing and keeps no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.failures import Finding, Judgement
from pytest_mcp_governance.plugin.inprocess import InProcess
from pytest_mcp_governance.plugin.servers import choose
from pytest_mcp_governance.plugin.views import Accesses, Calls

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.connection import Callback, Connection
    from pytest_mcp_governance.session.control import Recorder

_KINDS = ("request", "prompt", "model")
_GatewayOpener = Callable[[], "tuple[str, dict[str, list[str]], dict[str, str]]"]


class Audit:
    """One test attempt's audit; the fixture `mcp_audit` gives it.

    Args:
        recorder: the process that records this attempt.
        judgement: what findings do to the test.
        agent: the agent's name where a call gives none; the marker's.
        servers: what the fixture `mcp_audit_servers` gave.
        rootdir: pytest's root folder.
        session: whether its gateways outlive the test that is running.
    """

    def __init__(
        self,
        recorder: Recorder,
        judgement: Judgement,
        *,
        agent: str | None,
        servers: object,
        rootdir: Path,
        session: bool = False,
    ) -> None:
        self._recorder = recorder
        self._judgement = judgement
        self._agent = agent
        self._servers = servers
        self._rootdir = rootdir
        self._session = session
        self._agents: dict[str, None] = {}  # in the order of their first gateway; set by several threads
        self._gateways: list[Gateway] = []
        self._in_process = InProcess()
        self._ended = False

    def __repr__(self) -> str:
        return f"<Audit: {len(self._gateways)} gateways>"

    def gateway(
        self, *servers: str, agent: str | None = None, request: str | None = None, idle_ok: bool = False
    ) -> Gateway:
        """Audited servers for an agent that brings its own MCP client; use it in a `with` block.

        Args:
            servers: names from `mcp.json`; none means all.
            agent: who will call them; the marker's agent where it is not given.
            request: what the agent was asked to do, kept as evidence.
            idle_ok: whether a block without any call is fine; otherwise it is the finding NO-CALLS.

        Raises:
            ConfigurationError: an unknown server, a definition that cannot be used, or no agent's name.
        """
        return self._gateway(servers, agent, request, idle_ok)

    def connect(
        self,
        server: str,
        agent: str | None = None,
        request: str | None = None,
        *,
        idle_ok: bool = False,
        sampling_callback: Callback | None = None,
        elicitation_callback: Callback | None = None,
        list_roots_callback: Callback | None = None,
        logging_callback: Callback | None = None,
        message_handler: Callback | None = None,
    ) -> Connection:
        """An audited session with one server, of the installed MCP SDK.

        `async with … as session` gives the SDK's ClientSession; plain `with` gives its sync façade, whose methods wait.
        The callbacks are the SDK's, as `async def` or as plain functions. Other arguments and errors are those of
        `gateway`; ServerError where the server does not start.
        """
        from pytest_mcp_governance.plugin.connection import Connection

        given = {
            "sampling_callback": sampling_callback,
            "elicitation_callback": elicitation_callback,
            "list_roots_callback": list_roots_callback,
            "logging_callback": logging_callback,
            "message_handler": message_handler,
        }
        return Connection(self._recorder, self._gateway((server,), agent, request, idle_ok), server, given)

    def context(self, kind: Literal["request", "prompt", "model"], text: str, agent: str | None = None) -> None:
        """Record what led to the calls that follow: a request, a prompt, or a model's message.

        Raises:
            ConfigurationError: another kind, or no agent's name.
        """
        if kind not in _KINDS:
            raise ConfigurationError(f"context kind must be one of {', '.join(_KINDS)}; got {kind!r}")
        self._live().context(kind=kind, text=text, agent=self._who(agent))

    @property
    def calls(self) -> Calls:
        """The tool calls so far, and assertions about all of them, later ones included."""
        recorder = self._live()
        return Calls(recorder.calls, self._require, self._rootdir)

    @property
    def accesses(self) -> Accesses:
        """The accesses to data so far."""
        return Accesses(self._live().accesses)

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents that this test gave a gateway or a connection, in that order."""
        return tuple(self._agents)

    def expect_denied(self, rule: str | None = None) -> ExpectedDenial:
        """A `with` block in which the policy must deny at least one call, by `rule` where it is named.

        The denials in it are expected: they are recorded and do not fail the test. A block without one does.
        """
        return ExpectedDenial(self._live(), self._judgement, rule)

    def check(self) -> None:
        """Bring forward what would fail the test at its end.

        Raises:
            FindingsError: the policy has found something in this test.
        """
        self._judgement.raise_now(self._live().standing())

    def end(self) -> tuple[str, ...]:
        """Called by the fixture: nothing may be asked any more; returns what did not end with it, in words."""
        self._ended = True
        return self._in_process.close()

    def server_failures(self) -> tuple[str, ...]:
        """What went wrong on the connections to servers, in words."""
        return tuple(dict.fromkeys(text for gateway in self._gateways for text in gateway.failures))

    def _gateway(self, servers: Sequence[str], agent: str | None, request: str | None, idle_ok: bool) -> Gateway:
        recorder = self._live()
        name = self._who(agent)
        chosen = choose(self._servers, servers, folder=self._rootdir)
        self._agents.setdefault(name)

        def opened() -> tuple[str, dict[str, list[str]], dict[str, str]]:
            self._live()
            servers = self._in_process.entries(chosen)
            reply = recorder.open_gateway(
                servers=servers, agent=name, request=request, idle_ok=idle_ok, session=self._session
            )
            urls = cast("dict[str, str]", reply["urls"])
            return str(reply["gateway"]), cast("dict[str, list[str]]", reply["commands"]), urls

        gateway = Gateway(recorder, opened, name)
        self._gateways.append(gateway)
        return gateway

    def _require(self, requirement: Mapping[str, object]) -> None:
        self._judgement.raise_now(self._live().require(requirement))

    def _who(self, agent: str | None) -> str:
        name = agent if agent is not None else self._agent
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(
                'no agent is named: pass agent="…" or mark the test with @pytest.mark.mcp_governance(agent="…")'
            )
        return name

    def _live(self) -> Recorder:
        if self._ended:
            raise ConfigurationError(
                "this test's audit has ended; ask for the fixture mcp_audit in every test that uses it"
            )
        return self._recorder


class Gateway:
    """The audited way to some servers for one agent, open inside its `with` block."""

    def __init__(self, recorder: Recorder, opened: _GatewayOpener, agent: str) -> None:
        self._recorder = recorder
        self._opened = opened
        self._id: str | None = None
        self._commands: dict[str, list[str]] = {}
        self._urls: dict[str, str] = {}
        self.agent = agent
        self.failures: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Gateway: agent {self.agent!r}, {len(self._commands) + len(self._urls)} servers>"

    def __enter__(self) -> Self:
        if self._id is not None:
            raise ConfigurationError("this gateway has been opened before; ask mcp_audit.gateway() for a new one")
        self._id, self._commands, self._urls = self._opened()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._id is not None
        self.failures = tuple(self._recorder.close_gateway(self._id))
        if error is not None:
            for failure in self.failures:
                error.add_note(failure)

    @property
    def id(self) -> str:
        if self._id is None:
            raise ConfigurationError("the gateway is not open: use it as `with mcp_audit.gateway(…) as gw:`")
        return self._id

    @property
    def config(self) -> dict[str, dict[str, dict[str, object]]]:
        """`{"mcpServers": {name: {"command", "args"} or {"type", "url"}}}`, the form that most agents read."""
        return {"mcpServers": {name: self._entry(name) for name in self._names()}}

    @property
    def servers(self) -> dict[str, dict[str, object]]:
        """`{name: {"command", "args", "transport": "stdio"} or {"url", "transport": "streamable_http" or "sse"}}`.

        The form that langchain-mcp-adapters reads.
        """
        kinds = {"stdio": "stdio", "http": "streamable_http", "sse": "sse"}
        found = {}
        for name in self._names():
            entry = self._entry(name)
            kind = str(entry.pop("type", "stdio"))
            found[name] = {**entry, "transport": kinds[kind]}
        return found

    def command(self, name: str) -> list[str]:
        """The command and arguments that an agent runs in the place of one server that has a command.

        Raises:
            ConfigurationError: the gateway is not open, does not serve `name`, or reaches it by URL.
        """
        self._require(name)
        if name not in self._commands:
            # A recorder that bridged would hide what an agent does over the transport that it uses in production.
            raise ConfigurationError(
                f"server {name!r} is reached by URL: give the agent gw.url({name!r}). The recorder keeps the "
                "transport of a server; for a command, declare one in mcp.json"
            )
        return list(self._commands[name])

    def way(self, name: str) -> list[str] | str:
        """What leads to one server: its URL where it has one, else its command."""
        return self._urls[name] if name in self._urls else self.command(name)

    def url(self, name: str) -> str:
        """The URL that an agent uses in the place of one server that is reached over HTTP.

        Its path holds the agent's token: whoever has it speaks as the agent.

        Raises:
            ConfigurationError: the gateway is not open, does not serve `name`, or starts it by a command.
        """
        self._require(name)
        if name not in self._urls:
            raise ConfigurationError(
                f"server {name!r} is started by a command: give the agent gw.command({name!r}). The recorder keeps the "
                "transport of a server; for a URL, run the server over HTTP and declare its url in mcp.json"
            )
        return self._urls[name]

    def _require(self, name: str) -> None:
        if name not in self._names():
            raise ConfigurationError(
                f"this gateway serves no server named {name!r}; it serves {', '.join(sorted(self._names()))}"
            )

    def _names(self) -> tuple[str, ...]:
        assert self.id
        return (*self._commands, *self._urls)

    def _entry(self, name: str) -> dict[str, object]:
        if name in self._urls:
            return {"type": "sse" if self._urls[name].endswith("/sse") else "http", "url": self._urls[name]}
        program, *args = self._commands[name]
        return {"command": program, "args": args}


class ExpectedDenial:
    """A block in which a denial is what the test is about."""

    def __init__(self, recorder: Recorder, judgement: Judgement, rule: str | None) -> None:
        self._recorder = recorder
        self._judgement = judgement
        self._rule = rule
        self._token: int | None = None

    def __enter__(self) -> None:
        self._token = self._recorder.expect_denied(self._rule)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._token is not None
        findings: Sequence[Finding] = self._recorder.end_expectation(self._token)
        if error is None:
            self._judgement.raise_now(findings)
