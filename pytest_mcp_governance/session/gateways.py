"""Gateways: which token lets which agent reach which server, and the connections that came through each.

Starts and ends relays; leaves what happens on a connection to `relay`.
"""

import asyncio
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_mcp_governance.session import shim
from pytest_mcp_governance.session.http.channel import Channel
from pytest_mcp_governance.session.http.front import HttpFront
from pytest_mcp_governance.session.http.server import HttpServer
from pytest_mcp_governance.session.inprocess import InProcessServer
from pytest_mcp_governance.session.relay import Relay
from pytest_mcp_governance.session.scribe import Connection
from pytest_mcp_governance.session.server import ServerSpec
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.upstream import StreamServer

_SETTLE_S = 3.0
_MOST_FAILURES = 1_000  # kept in memory; the records have all of them


@dataclass(slots=True)
class Gateway:
    """One `gateway()` or `connect()` block of a test: an agent, the servers it may reach, its connections."""

    id: str
    agent: str
    trial: Trial
    label: str = ""
    idle_ok: bool = False
    request: str | None = None
    token_files: list[Path] = field(default_factory=list)
    relays: dict[Relay, "asyncio.Task[None]"] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)
    closed: bool = False
    failed: list[str] = field(default_factory=list)

    def failures(self) -> list[str]:
        """What went wrong on its connections, in words."""
        over_http = (text for channel in self.channels for text in channel.failures)
        return [*self.failed, *(relay.failure for relay in self.relays if relay.failure), *over_http]

    def ended(self, relay: Relay) -> str | None:
        """Forget a connection but for what went wrong on it: an agent may come and go for days."""
        if self.relays.pop(relay, None) is None or not relay.failure:
            return None
        if len(self.failed) < _MOST_FAILURES:
            self.failed.append(relay.failure)
        return relay.failure


class Gateways:
    """All gateways of one recorder.

    Args:
        folder: short private folder for token files.
        socket_path: the recorder's socket.
        root: where relative paths of server entries start.
        front: where agents reach the servers that have a URL.
    """

    def __init__(self, folder: Path, socket_path: str, root: Path, front: HttpFront) -> None:
        self._folder = folder
        self._socket_path = socket_path
        self._root = root
        self._front = front
        self._by_id: dict[str, Gateway] = {}
        self._by_token: dict[str, tuple[Gateway, StreamServer]] = {}
        self._connections = 0
        self._opened = 0
        self._news: list[str] = []

    async def open(
        self,
        trial: Trial,
        servers: Mapping[str, Mapping[str, object]],
        agent: str,
        *,
        idle_ok: bool = False,
        request: str | None = None,
    ) -> tuple[Gateway, dict[str, list[str]], dict[str, str]]:
        """Make a gateway; return it and, for each server, what an agent uses in its place: a command, or a URL.

        Args:
            trial: the attempt that it belongs to.
            servers: name -> entry of those it leads to.
            agent: whose it is.
            idle_ok: no call through it is no finding.
            request: what the agent was asked to do.

        Raises:
            ConfigurationError: a server's entry is wrong, its command is missing, or no port can be had.
        """
        by_url = [HttpServer.from_mapping(name, entry) for name, entry in servers.items() if "url" in entry]
        specs = [self._server(name, entry) for name, entry in servers.items() if "url" not in entry]
        for server in by_url:
            server.require_certificates()
        if by_url:
            await self._front.open()
        label = f"agent {agent} to {', '.join(servers)}"
        self._opened += 1
        gateway = Gateway(f"g{self._opened}", agent, trial, label, idle_ok, request)
        self._by_id[gateway.id] = gateway
        commands = {spec.name: self._admit(gateway, spec) for spec in specs}
        return gateway, commands, {server.name: self._admit_to(gateway, server) for server in by_url}

    def _admit_to(self, gateway: Gateway, server: HttpServer) -> str:
        channel = Channel(
            server, gateway.trial, self._front.seal, lambda: self._connection(gateway, server), self._note
        )
        gateway.channels.append(channel)
        return self._front.admit(channel)

    def _connection(self, gateway: Gateway, server: StreamServer | HttpServer) -> Connection:
        self._connections += 1
        return Connection(
            id=f"c{self._connections}",
            gateway=gateway.id,
            agent=gateway.agent,
            server=server.name,
            digest=server.digest,
            transport=server.transport,
        )

    def _server(self, name: str, entry: Mapping[str, object]) -> StreamServer:
        if "memory" in entry:
            return InProcessServer.from_mapping(name, entry)
        spec = ServerSpec.from_mapping(name, entry, self._root)
        spec.require_command()
        return spec

    def _admit(self, gateway: Gateway, spec: StreamServer) -> list[str]:
        token = secrets.token_urlsafe(24)
        path = self._folder / f"{gateway.id}-{spec.name}"
        path.touch(mode=0o600)
        path.write_text(f"{self._socket_path}\n{token}\n", encoding="utf-8")
        gateway.token_files.append(path)
        self._by_token[token] = (gateway, spec)
        return [sys.executable, "-I", "-S", str(shim.__file__), str(path)]

    def knows(self, token: str) -> bool:
        """Whether a token was given out, also one whose gateway is closed."""
        return token in self._by_token

    async def serve(self, token: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Relay one agent's connection until it ends; False where the token admits nobody."""
        admitted = self._by_token.get(token)
        if admitted is None or admitted[0].closed:
            return False
        gateway, spec = admitted
        relay = Relay(self._connection(gateway, spec), spec, gateway.trial, reader, writer)
        task = asyncio.create_task(relay.run())
        gateway.relays[relay] = task
        await asyncio.wait({task})
        failure = gateway.ended(relay)
        if failure is not None:
            self._note(failure)
        return True

    async def close(self, gateway_id: str) -> list[str]:
        """Admit nobody more, let connections end, cut those that do not; return what went wrong, in words."""
        gateway = self._by_id.get(gateway_id)
        if gateway is None:
            return []  # its test has ended, and has been told
        if not gateway.closed:
            gateway.closed = True
            for path in gateway.token_files:
                path.unlink(missing_ok=True)
            for channel in gateway.channels:
                self._front.dismiss(channel)
            await asyncio.gather(*(channel.close() for channel in gateway.channels))
            running = {task for task in gateway.relays.values() if not task.done()}
            if running:
                _, late = await asyncio.wait(running, timeout=_SETTLE_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
        return gateway.failures()

    async def close_all(self, trial: Trial | None = None) -> None:
        """Close the gateways of one test attempt, or all."""
        ids = [gateway.id for gateway in self._by_id.values() if trial is None or gateway.trial is trial]
        await asyncio.gather(*(self.close(id_) for id_ in ids))

    def pass_on(self, before: Trial, after: Trial) -> list[Gateway]:
        """Let the gateways of one attempt belong to another one from now on; return them."""
        passed = [gateway for gateway in self._by_id.values() if gateway.trial is before and not gateway.closed]
        for gateway in passed:
            gateway.trial = after
            for channel in gateway.channels:
                channel.continue_in(after)
        return passed

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return sum(len(gateway.relays) for gateway in self._by_id.values())

    def _note(self, failure: str) -> None:
        if len(self._news) < _MOST_FAILURES:
            self._news.append(failure)

    def news(self) -> list[str]:
        """What went wrong on connections since this was asked last, in words."""
        told, self._news = self._news, []
        return told

    def failures(self, gateway_id: str) -> list[str]:
        """What went wrong on a gateway's connections so far, in words."""
        gateway = self._by_id.get(gateway_id)
        return gateway.failures() if gateway is not None else []

    def forget(self, trial: Trial) -> None:
        """Let go of the gateways of an attempt that has ended: a suite may have thousands."""
        self._by_id = {id_: gateway for id_, gateway in self._by_id.items() if gateway.trial is not trial}
        self._by_token = {token: found for token, found in self._by_token.items() if found[0].trial is not trial}
