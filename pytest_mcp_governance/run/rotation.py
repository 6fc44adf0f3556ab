"""The run that a main recorder has open, and the runs before it that are still being closed.

A run that continues another one says so in its open statement, by that run's last record; the other one's close
statement names its successor. Leaves out connections, which outlive both (`session.operations`).
"""

import asyncio
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.evidence.statements import sign_bundle
from pytest_mcp_governance.run.beside import close_beside
from pytest_mcp_governance.run.close import Ended, close_run, end_segment
from pytest_mcp_governance.run.open import OpenRun, open_run


class Runs:
    """The runs of one main recorder, one after another.

    Args:
        run: the first, open.
        opened: told of each run that was opened later.
    """

    def __init__(self, run: OpenRun, opened: Callable[[OpenRun], None]) -> None:
        self._run = run
        self._opened = opened
        self._closing: list[asyncio.Task[dict[str, object]]] = []

    @property
    def segment(self) -> Segment:
        """Main's segment of the run that is open."""
        return self._run.segment

    async def finish(
        self, *, complete: bool, reason: str, workers: Mapping[str, bool], secrets: Set[str]
    ) -> dict[str, object]:
        """Close the run that is open, after those before it; return the fields of a `RunResult`."""
        if self._closing:
            await asyncio.wait(self._closing)
        run = self._run
        ended = end_segment(run)
        if run.config.stays:
            return await close_beside(ended, run.identity, complete=complete, reason=reason, secrets=secrets)
        return close_run(
            ended,
            lambda statement: sign_bundle(statement, run.identity),
            complete=complete,
            reason=reason,
            workers=workers,
            secrets=secrets,
        )

    def rotate(self, run_id: str, secrets: Set[str]) -> None:
        """End the segment of the run that is open, open the next run, and close the first one beside it.

        Raises:
            GovernanceError: the next run could not be opened; then nothing can be recorded any more.
        """
        before = self._run
        ended = end_segment(before)
        continues = {
            "run": before.config.run,
            "open": before.open_digest,
            "lines": ended.main.lines,
            "root": ended.main.root,
        }
        stated = {**before.config.stated, "continues": continues}
        place = before.config.run_dir.with_name(run_id)
        self._run = run = open_run(replace(before.config, run=run_id, run_dir=place, stated=stated), before)
        self._opened(run)
        ended = replace(ended, continued_by={"run": run_id, "open": run.open_digest})
        self._closing.append(asyncio.create_task(self._close(ended, before, secrets)))

    async def _close(self, ended: Ended, run: OpenRun, secrets: Set[str]) -> dict[str, object]:
        try:
            return await close_beside(ended, run.identity, complete=True, reason="", secrets=secrets)
        finally:
            run.config.control_file.unlink(missing_ok=True)

    async def closed(self, *, wait: bool) -> list[dict[str, object]]:
        """What became of earlier runs since this was asked last; where one could not be closed, its `error`.

        Args:
            wait: until all of them are closed.
        """
        if wait and self._closing:
            await asyncio.wait(self._closing)
        done = [task for task in self._closing if task.done()]
        self._closing = [task for task in self._closing if not task.done()]
        return [_result(task) for task in done]


def _result(task: "asyncio.Task[dict[str, object]]") -> dict[str, object]:
    try:
        return task.result()
    except GovernanceError as error:
        return {"error": str(error)}
    except Exception as error:  # whatever it was, the run is not closed, and somebody has to hear it
        return {"error": f"a run could not be closed ({type(error).__name__}); it verifies as INCOMPLETE"}
