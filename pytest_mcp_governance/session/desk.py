"""Main's desk: the one place of a run where segments are announced, and from which the run is closed.

Keeps who has announced and who has closed; opening and closing the run itself is the `run` package's, passed in.
"""

import asyncio
from collections.abc import Mapping, Set
from typing import Protocol, cast

from pytest_mcp_governance.errors import RecorderError
from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.session.processes import is_alive

_WAIT_FOR_WORKERS_S = 20.0
_POLL_S = 0.05


class Runs(Protocol):
    """The runs of a main recorder; passed in, because opening and closing them is no business of a session."""

    @property
    def segment(self) -> Segment:
        """Main's segment of the run that is open."""

    async def finish(
        self, *, complete: bool, reason: str, workers: Mapping[str, bool], secrets: Set[str]
    ) -> dict[str, object]:
        """Close the run; return the fields of a `RunResult`. `workers`: each announced segment, whether it closed."""

    def rotate(self, run_id: str, secrets: Set[str]) -> None:
        """End the segment, open the next run, close the first one meanwhile."""

    async def closed(self, *, wait: bool) -> list[dict[str, object]]:
        """What became of earlier runs since this was asked last."""


class MainDesk:
    """Main's operations.

    Args:
        runs: the open run, and what closes it.
        secrets: values that the report must withhold.
    """

    def __init__(self, runs: Runs, secrets: Set[str]) -> None:
        self._runs = runs
        self._secrets = set(secrets)
        self._workers: dict[str, bool] = {}
        self._pids: dict[str, int] = {}
        self._selection_fields: dict[str, object] | None = None
        self.finished = False
        self._result: dict[str, object] | None = None

    async def perform(self, operation: str, arguments: Mapping[str, object]) -> object:
        """Carry out one of main's operations.

        Raises:
            RecorderError: there is no such operation.
        """
        match operation:
            case "selection":
                self._selection(arguments)
                return None
            case "register":
                return self._register(str(arguments["name"]), str(arguments["key"]), cast(int, arguments["pid"]))
            case "secrets":
                self._secrets |= set(cast(list[str], arguments["values"]))
                return None
            case "segment_closed":
                self._workers[str(arguments["name"])] = True
                return None
            case "closed_runs":
                return await self._runs.closed(wait=bool(arguments["wait"]))
            case "finish_run":
                return await self._close(bool(arguments["complete"]), str(arguments.get("reason") or ""))
        raise RecorderError(f"this recorder knows no operation {operation!r}")

    def _selection(self, arguments: Mapping[str, object]) -> None:
        # Every worker collects the same tests and says so; the first is as good as any.
        if self._selection_fields is None:
            self._selection_fields = {k: v for k, v in arguments.items() if v is not None}
            self._runs.segment.append("selection", self._selection_fields)

    def rotate(self, run_id: str) -> Segment:
        """Go on in a new run that set out to do the same; return its segment.

        Raises:
            GovernanceError: it could not be opened, and nothing can be recorded any more.
        """
        self._runs.rotate(run_id, frozenset(self._secrets))
        if self._selection_fields is not None:
            self._runs.segment.append("selection", self._selection_fields)
        return self._runs.segment

    def _register(self, name: str, key: str, pid: int) -> str:
        if name in self._workers:
            raise RecorderError(f"segment {name!r} has been announced already")
        self._workers[name] = False
        self._pids[name] = pid
        self._runs.segment.append("segment", {"name": name, "key": key})
        self._runs.segment.checkpoint(sync=True)
        return name

    async def _wait_for_workers(self) -> None:
        # A lost worker's segment stays "not closed" here, which makes the run partial.
        patience_s = _WAIT_FOR_WORKERS_S
        while patience_s > 0 and any(not closed and is_alive(self._pids[n]) for n, closed in self._workers.items()):
            await asyncio.sleep(_POLL_S)
            patience_s -= _POLL_S

    async def _close(self, complete: bool, reason: str) -> dict[str, object]:
        if self._result is None:
            await self._wait_for_workers()
            self._result = await self._runs.finish(
                complete=complete,
                reason=reason,
                workers=dict(self._workers),
                secrets=frozenset(self._secrets),
            )
            self.finished = True
        return self._result
