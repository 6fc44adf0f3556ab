"""Holds a run's evidence against a server's own log: what only the log knows went past the recorder.

Says nothing of whether the log is true or whole: that is the server's word. Verifying the evidence comes first, and is
the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.report.model import Call, Evidence
from pytest_mcp_governance.run.serverlog import LoggedCall, ServerLog, canonical


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call that the recorder forwarded.

    Args:
        ref: its record.
        agent: who made it.
        tool: the tool's name; None where it is withheld.
        arguments: canonical text, None where they are withheld.
    """

    ref: str
    agent: str
    tool: str | None
    arguments: str | None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of it.

    Args:
        server: the server in the evidence.
        matched: pairs that agree in tool and arguments.
        by_tool: pairs that agree in the tool's name only, because one side does not tell the arguments.
        only_in_log: calls that no evidence has.
        only_in_evidence: calls that were forwarded and that the log does not have.
        other_lines: lines of the log that are no calls.
    """

    server: str
    matched: tuple[tuple[LoggedCall, RecordedCall], ...]
    by_tool: tuple[tuple[LoggedCall, RecordedCall], ...]
    only_in_log: tuple[LoggedCall, ...]
    only_in_evidence: tuple[RecordedCall, ...]
    other_lines: int


def servers_of(evidence: Evidence) -> tuple[str, ...]:
    """The servers that agents reached in a run, sorted."""
    return tuple(
        sorted({server.name for server in evidence.servers} | {call.request.server for call in evidence.calls})
    )


def forwarded(evidence: Evidence, server: str) -> tuple[RecordedCall, ...]:
    """The tool calls that reached a server, in the order of time."""
    return tuple(
        _recorded(call)
        for call in evidence.calls
        if call.request.server == server and call.request.method == "tools/call" and not call.denied
    )


def reconcile(server: str, recorded: Sequence[RecordedCall], log: ServerLog) -> Reconciled:
    """Match calls: first those that agree in tool and arguments, in order; then by the tool alone.

    By the tool alone only where one side does not tell its arguments: two calls that are known to differ never match.
    """
    left = list(recorded)
    matched, unmatched = _pair(log.calls, left, _agree)
    by_tool, only_in_log = _pair(unmatched, left, _may_agree)
    return Reconciled(server, matched, by_tool, only_in_log, tuple(left), log.others)


def _pair(
    logged: Sequence[LoggedCall], left: list[RecordedCall], same: Callable[[LoggedCall, RecordedCall], bool]
) -> tuple[tuple[tuple[LoggedCall, RecordedCall], ...], tuple[LoggedCall, ...]]:
    """Take for each logged call the first recorded one left that is the same; the rest comes back."""
    pairs: list[tuple[LoggedCall, RecordedCall]] = []
    rest: list[LoggedCall] = []
    for call in logged:
        found = next((recorded for recorded in left if same(call, recorded)), None)
        if found is None:
            rest.append(call)
        else:
            left.remove(found)
            pairs.append((call, found))
    return tuple(pairs), tuple(rest)


def _agree(logged: LoggedCall, recorded: RecordedCall) -> bool:
    return logged.tool == recorded.tool and logged.arguments is not None and logged.arguments == recorded.arguments


def _may_agree(logged: LoggedCall, recorded: RecordedCall) -> bool:
    if recorded.tool is not None and recorded.tool != logged.tool:
        return False
    return logged.arguments is None or recorded.arguments is None


def _recorded(call: Call) -> RecordedCall:
    tool = call.request.tool if isinstance(call.request.tool, str) else None
    return RecordedCall(call.request.at.ref, call.request.agent, tool, _arguments(call.request.wire))


def _arguments(wire: object) -> str | None:
    if not isinstance(wire, str):
        return None  # withheld
    try:
        message = json.loads(wire)
    except (ValueError, RecursionError):
        return None
    params = message.get("params") if isinstance(message, dict) else None
    return canonical(params.get("arguments")) if isinstance(params, dict) else None
