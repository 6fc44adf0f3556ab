"""Audits any agent command without a line of test code: its servers are reached through a recorder while it runs.

What the command does otherwise - tools that the agent has built in, servers that it starts by itself - passes no
recorder. Prints nothing and chooses no exit code.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pytest_mcp_governance.adopt import configurations
from pytest_mcp_governance.adopt.rewiring import Plan, left_over, plan, rewired
from pytest_mcp_governance.errors import ConfigurationError, GovernanceError
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.run.files import replace_file
from pytest_mcp_governance.run.standalone import Standalone, record
from pytest_mcp_governance.session.control import RunResult

NAME = "observe"  # of the one test that the evidence speaks of
PLACEHOLDER = "{mcp_config}"
VARIABLE = "MCP_GOVERNANCE_CONFIG"
_BACKUP_SUFFIX = ".before-observe"
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_ENFORCES = re.compile(r"^mode[ \t]*:[ \t]*(['\"]?)enforce\1[ \t]*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be observed.

    Args:
        command: the agent, and its arguments.
        folder: where it runs and where evidence goes.
        configuration: its MCP configuration; None to look for the only one in `folder`.
        policy: (name, text) to judge by; None for NOT JUDGED.
        agent: its name in the evidence.
        request: what it was asked to do, where known.
        report: where the report goes.
        signing_key: file or URI of the key that signs; None for one that nobody knows.
        enforce: block what the policy denies; without it, it is only recorded.
        in_place: put the audited configuration in the place of the agent's own while it runs.
        keep_unaudited: leave servers in the configuration that cannot be audited.
        secrets: values that the report must withhold.
    """

    command: tuple[str, ...]
    folder: Path
    configuration: Path | None
    policy: tuple[str, str] | None
    agent: str
    request: str | None
    report: Path
    signing_key: str | None = None
    enforce: bool = False
    in_place: bool = False
    keep_unaudited: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of it.

    Args:
        status: what the command ended with; 128 and the signal's number where a signal ended it.
        result: what became of the run.
        calls: how many tool calls came through the recorder.
        failures: what went wrong on the connections to servers, in words.
    """

    status: int
    result: RunResult
    calls: int
    failures: tuple[str, ...]


def prepare(wish: Wish) -> Plan:
    """Find the configuration and sort its servers, before anything is started.

    Raises:
        ConfigurationError: none, several, or one with no server that can be audited; or an unfinished `--in-place`.
    """
    chosen = configurations.choose(wish.configuration, wish.folder, wish.command[1:])
    if os.path.lexists(
        _backup(chosen.path)
    ):  # without --in-place too: what lies there leads to a recorder that is gone
        raise ConfigurationError(_unfinished(chosen.path))
    try:
        text = chosen.path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{chosen.path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{chosen.path} cannot be read: it is no UTF-8 text") from None
    if shutil.which(wish.command[0]) is None:
        raise ConfigurationError(f"the command {wish.command[0]!r} is not found; name a program after --")
    return plan(chosen, text, wish.folder, os.environ)


def observe(wish: Wish, prepared: Plan, started: Callable[[Path], None]) -> Observed:
    """Run the command with its servers behind a recorder, and close the run.

    Args:
        wish: what is to be observed.
        prepared: from `prepare`.
        started: told where the audited configuration lies, once it is there.

    Raises:
        GovernanceError: the recorder could not start or did not last; what it recorded is kept.
    """
    recorder = record(_standalone(wish, prepared))
    try:
        servers = {wire.name: wire.entry for wire in prepared.wires}
        gateway = recorder.open_gateway(servers=servers, agent=wish.agent, request=wish.request, idle_ok=False)
        text = rewired(
            prepared,
            cast("dict[str, list[str]]", gateway["commands"]),
            cast("dict[str, str]", gateway["urls"]),
            keep_unaudited=wish.keep_unaudited,
        )
        with _relayed() as relay, _configured(wish, prepared, text) as audited:
            started(audited)
            status = _run(wish, prepared, audited, relay)
        failures = recorder.close_gateway(str(gateway["gateway"]))
        calls = len(recorder.calls())
        recorder.conclude()
        recorder.end_test(outcome="passed" if status == 0 else "failed", failure=None)
        return Observed(status, recorder.finish_run(complete=True), calls, tuple(failures))
    except BaseException:
        with contextlib.suppress(GovernanceError):
            recorder.finish_run(complete=False, reason="observing ended before its time")
        raise


def observing(name: str, text: str) -> tuple[str, str]:
    """A policy that denies nothing any more, only finds: its name and text say so, and are what is recorded.

    Raises:
        PolicyError: the policy cannot be read.
    """
    if load_policy(text, name=name).mode == "observe":
        return name, text
    changed, count = _ENFORCES.subn("mode: observe", text)
    if not count:
        changed = text + ("" if text.endswith("\n") else "\n") + "mode: observe  # added by mcp-governance observe\n"
    if load_policy(changed, name=name).mode != "observe":
        raise ConfigurationError(f"{name}: its mode cannot be changed; write `mode: observe` into a copy and name that")
    return f"{name} (observed only)", changed


def _standalone(wish: Wish, prepared: Plan) -> Standalone:
    unaudited = list(left_over(prepared)) if wish.keep_unaudited else []
    policy = wish.policy if wish.policy is None or wish.enforce else observing(*wish.policy)
    return Standalone(
        name=NAME,
        folder=wish.folder,
        evidence=wish.folder / ".mcp-governance",
        report=wish.report,
        recorded_by="mcp-governance observe",
        policies=(policy,) if policy is not None else (),
        mode="enforce" if wish.enforce and policy is not None else None,
        agent=wish.agent,
        signing_key=wish.signing_key,
        secrets=wish.secrets,
        keep_runs=0 if os.environ.get("CI") else 10,
        stated={"unaudited_servers": unaudited} if unaudited else {},
    )


@contextlib.contextmanager
def _configured(wish: Wish, prepared: Plan, text: str) -> Iterator[Path]:
    """The audited configuration, in a private folder; and in the agent's own place too, where that is wished."""
    original = prepared.configuration.path
    folder = Path(tempfile.mkdtemp(prefix="mcpg-observe-"))
    try:
        copy = folder / original.name
        copy.touch(mode=0o600)
        copy.write_text(text, encoding="utf-8")
        if wish.in_place:
            with _swapped(original, text):
                yield copy
        else:
            yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _swapped(original: Path, text: str) -> Iterator[None]:
    """Another text in a file's place; the file itself gets a second name, then its own back."""
    backup = _backup(original)
    try:
        os.link(original, backup, follow_symlinks=False)  # refuses, unlike a rename, where another observe was faster
    except FileExistsError:
        raise ConfigurationError(_unfinished(original)) from None
    except OSError as error:
        raise ConfigurationError(f"{backup} cannot be made: {error.strerror}; leave out --in-place") from None
    try:
        replace_file(original, [text.encode()])
        yield
    finally:
        if os.path.lexists(original) and os.path.samestat(os.lstat(original), os.lstat(backup)):
            backup.unlink()  # nothing was replaced; a rename between two names of one file does nothing
        else:
            os.replace(backup, original)


def _unfinished(path: Path) -> str:
    return (
        f"{_backup(path)} is there: an earlier `observe --in-place` could not put {path.name} back, or is still at "
        f"work. If none is, compare the two, then move it back: mv {_backup(path)} {path}"
    )


def _backup(path: Path) -> Path:
    return path.with_name(path.name + _BACKUP_SUFFIX)


class _Relay:
    """Passes on to the command what signals this process gets, also those from before the command was there."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def pass_on(self, number: int, _frame: object) -> None:
        if self._process is None:
            self._early.append(number)
        elif number not in _FROM_TERMINAL:  # a terminal sends these to both of us
            self._process.send_signal(number)

    def to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        for number in self._early:
            process.send_signal(number)


@contextlib.contextmanager
def _relayed() -> Iterator[_Relay]:
    """Until the agent's configuration is back in its place no signal that can be caught ends this process."""
    relay = _Relay()
    before = {}
    for number in (*_FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored, as under nohup: so it is for the command
            before[number] = signal.signal(number, relay.pass_on)
    try:
        yield relay
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(wish: Wish, prepared: Plan, audited: Path, relay: _Relay) -> int:
    """Run the command with this process's own streams."""
    original = prepared.configuration.path
    try:
        process = subprocess.Popen(
            [wish.command[0], *(_pointed(argument, original, audited) for argument in wish.command[1:])],
            cwd=wish.folder,
            env=os.environ | {VARIABLE: str(audited)},
        )
    except OSError as error:
        raise ConfigurationError(f"the command {wish.command[0]!r} cannot be started: {error.strerror}") from None
    relay.to(process)
    status = process.wait()
    return status if status >= 0 else 128 - status


def _pointed(argument: str, original: Path, audited: Path) -> str:
    """An argument, pointing to the audited configuration where it pointed to the agent's own."""
    argument = argument.replace(PLACEHOLDER, str(audited))
    option, equals, value = argument.partition("=")
    if equals and option.startswith("-") and configurations.is_file(value, original):
        return f"{option}={audited}"
    return str(audited) if configurations.is_file(argument, original) else argument


def reaches(wish: Wish, prepared: Plan) -> bool:
    """Whether the command was told of the audited configuration in a way that it cannot but use."""
    original = prepared.configuration.path
    return wish.in_place or any(_pointed(argument, original, Path("x")) != argument for argument in wish.command[1:])
