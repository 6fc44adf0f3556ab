"""A recorder that stays: agents connect, leave and come back for hours or days, and what they did is one history.

Gives each agent a client configuration of its own, waits until it is told to end, and closes the run. Prints nothing
and chooses no exit code. How a message is recorded is the recorder's business, as in a test.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from pytest_mcp_governance.adopt import configurations
from pytest_mcp_governance.adopt.rewiring import Plan, plan, rewired
from pytest_mcp_governance.errors import ConfigurationError, EvidenceError, GovernanceError
from pytest_mcp_governance.run.files import replace_file
from pytest_mcp_governance.run.standalone import Standalone, new_run, record
from pytest_mcp_governance.session.control import LONG_S, Recorder, RunResult

NAME = "gateway"  # of the one test that the evidence speaks of
REPORT = "governance-report.html"
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be recorded.

    Args:
        folder: where servers start and where relative paths begin.
        evidence: the folder that holds the runs, the last report and the agents' configurations.
        configuration: the MCP configuration; None to look for the only one in `folder`.
        servers: the names of those to serve, as the configuration has them; none for all.
        policies: (name, text) of each policy; without any the run is NOT JUDGED.
        agents: their names in the evidence, each with tokens of its own.
        request: what they were asked to do, where known.
        signing_key: file or URI of the key that signs; None for one that nobody knows.
        secrets: values that the report must withhold.
        rotate_after_s: how long a run may last, in seconds; 0 for as long as it takes.
        rotate_bytes: how much a run may store, 0 for any amount.
    """

    folder: Path
    evidence: Path
    configuration: Path | None = None
    servers: tuple[str, ...] = ()
    policies: tuple[tuple[str, str], ...] = ()
    agents: tuple[str, ...] = ("agent",)
    request: str | None = None
    signing_key: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    rotate_after_s: int = 0
    rotate_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """How one agent reaches its servers.

    Args:
        agent: its name in the evidence.
        path: its client configuration, a file of mode 0600; gone when the gateway has ended.
        text: what stands in it.
        commands: server name -> what the agent starts in its place.
        urls: server name -> the URL that it uses in its place; a token is in it.
    """

    agent: str
    path: Path
    text: str = field(repr=False)
    commands: Mapping[str, Sequence[str]] = field(repr=False)
    urls: Mapping[str, str] = field(repr=False)


class Watch:
    """What is told while a gateway runs; every method may be overridden and does nothing by itself."""

    def started(self, run_dir: Path, clients: Sequence[Client]) -> None:
        """Agents can connect now."""

    def failed(self, text: str) -> None:
        """Something went wrong on a connection."""

    def rotated(self, run_dir: Path) -> None:
        """A new run began, over the same connections."""

    def closed(self, result: RunResult | str) -> None:
        """A run was closed; or could not be, and why."""

    def ending(self, signal_name: str) -> None:
        """A signal came; the run is being closed."""


def prepare(wish: Wish) -> Plan:
    """Find the configuration and sort its servers, before anything is started.

    Raises:
        ConfigurationError: none, several, one with no server that can be audited, a server that it does not name, or
            an agent's name that no file can have or that comes twice.
    """
    for agent in wish.agents:
        if _AGENT.fullmatch(agent) is None:
            raise ConfigurationError(
                f"--agent {agent!r}: use 1 to 64 of the characters A-Z a-z 0-9 . _ -, a letter or digit first; "
                "a file is named after it"
            )
    if len({agent.casefold() for agent in wish.agents}) < len(wish.agents):
        raise ConfigurationError("--agent: a name is given twice (capitals make no difference: files are named so)")
    chosen = configurations.choose(wish.configuration, wish.folder)
    try:
        text = chosen.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{chosen.path} cannot be read: {type(error).__name__}") from None
    return _narrowed(plan(chosen, text, wish.folder, os.environ), wish.servers)


def serve(wish: Wish, prepared: Plan, watch: Watch) -> None:
    """Record until SIGTERM, SIGINT or SIGHUP comes, then close the run. Further signals change nothing.

    Args:
        wish: what is to be recorded.
        prepared: from `prepare`.
        watch: told what happens meanwhile, and what became of each run.

    Raises:
        GovernanceError: the recorder could not start or did not last; what it recorded is kept and verifies as
            INCOMPLETE.
    """
    with _signals() as told, _alone(wish.evidence):
        recorder = record(_standalone(wish))
        try:
            with _admitted(recorder, wish, prepared) as clients:
                watch.started(recorder.run_dir, clients)
                _stay(recorder, wish, told, watch)
                watch.ending(told.name)
            recorder.end_test(outcome="passed", failure=None)
            _progress(recorder, watch)
            _earlier(recorder, watch, wait=True)
            watch.closed(recorder.finish_run(complete=True, patience_s=LONG_S))
        except BaseException:
            with contextlib.suppress(GovernanceError):
                recorder.finish_run(complete=False, reason="the gateway ended before its time")
            raise


def _stay(recorder: Recorder, wish: Wish, told: _Told, watch: Watch) -> None:
    """Wait for the signal that ends it; begin a new run whenever one has reached its limit."""
    began = time.monotonic()
    while not told.wait(_POLL_S):
        stored = _progress(recorder, watch)
        _earlier(recorder, watch, wait=False)
        old = wish.rotate_after_s and time.monotonic() - began >= wish.rotate_after_s
        if old or (wish.rotate_bytes and stored >= wish.rotate_bytes):
            recorder.rotate(new_run())
            began = time.monotonic()
            watch.rotated(recorder.run_dir)


def _earlier(recorder: Recorder, watch: Watch, *, wait: bool) -> None:
    for result in recorder.closed_runs(wait=wait):
        watch.closed(result)


def _narrowed(prepared: Plan, servers: tuple[str, ...]) -> Plan:
    if not servers:
        return prepared
    reasons = dict(prepared.unaudited)
    known = {wire.server.name: wire for wire in prepared.wires}
    for name in servers:
        if name in reasons:
            raise ConfigurationError(f"server {name!r} cannot be audited: {reasons[name]}")
        if name not in known:
            raise ConfigurationError(
                f"{prepared.configuration.path} names no server {name!r}; it has {', '.join(known)}"
            )
    return replace(prepared, wires=tuple(known[name] for name in dict.fromkeys(servers)), unaudited=())


def _standalone(wish: Wish) -> Standalone:
    return Standalone(
        name=NAME,
        folder=wish.folder,
        evidence=wish.evidence,
        report=wish.evidence / REPORT,
        recorded_by="mcp-governance gateway",
        policies=wish.policies,
        agent=wish.agents[0] if len(wish.agents) == 1 else None,
        signing_key=wish.signing_key,
        secrets=wish.secrets,
        stays=True,
    )


def _progress(recorder: Recorder, watch: Watch) -> int:
    """Tell what went wrong since the last time; return how many bytes the run has stored."""
    progress = recorder.progress()
    for text in cast("list[str]", progress["failures"]):
        watch.failed(text)
    return cast(int, progress["bytes"])


@contextlib.contextmanager
def _admitted(recorder: Recorder, wish: Wish, prepared: Plan) -> Iterator[tuple[Client, ...]]:
    """Every agent's gateway, and its configuration in a file; the files go when nobody is admitted any more."""
    servers = {wire.name: wire.entry for wire in prepared.wires}
    folder = wish.evidence / "agents"
    clients: list[Client] = []
    try:
        for agent in wish.agents:
            # Hours in which an agent calls nothing are no finding: it was not asked to.
            opened = recorder.open_gateway(servers=servers, agent=agent, request=wish.request, idle_ok=True)
            commands = cast("dict[str, list[str]]", opened["commands"])
            urls = cast("dict[str, str]", opened["urls"])
            client = Client(agent, folder / f"{agent}.mcp.json", rewired(prepared, commands, urls), commands, urls)
            _write(client)
            clients.append(client)
        yield tuple(clients)
    finally:
        for client in clients:
            client.path.unlink(missing_ok=True)


def _write(client: Client) -> None:
    try:
        client.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(client.path, [client.text.encode()])
    except (OSError, EvidenceError) as error:
        raise ConfigurationError(f"{client.path} cannot be written: {error}") from None


class _Told:
    """Which signal asked this process to end; those that come later change nothing."""

    def __init__(self) -> None:
        self.name = ""
        self._event = threading.Event()

    def hear(self, number: int, _frame: object) -> None:
        self.name = self.name or signal.Signals(number).name
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)


@contextlib.contextmanager
def _signals() -> Iterator[_Told]:
    told = _Told()
    before = {}
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored, as SIGHUP is under nohup
            before[number] = signal.signal(number, told.hear)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _alone(evidence: Path) -> Iterator[None]:
    """One gateway a folder: two would give their agents each other's configurations."""
    try:
        evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(evidence / ".gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the evidence folder {evidence} cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another gateway is at work in {evidence}: end it, or name another folder with --evidence"
            ) from None
        yield
    finally:
        os.close(descriptor)
