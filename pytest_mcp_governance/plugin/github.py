"""In a GitHub job: annotations for the terminal summary, and the run's Markdown at the end of the job's own summary.

Only where GITHUB_ACTIONS says so and something was recorded. Fails no run: what cannot be written is said in a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin.environment import secret_values
from pytest_mcp_governance.plugin.terminal import printable

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.approved import Approved
    from pytest_mcp_governance.report.facts import Checked
    from pytest_mcp_governance.session.control import RunResult


def is_asked_for(setting: str, environ: Mapping[str, str]) -> bool:
    return setting != "off" and environ.get("GITHUB_ACTIONS") == "true"


def tell(
    result: RunResult, failing: Sequence[str], rootdir: Path, environ: Mapping[str, str], approved: Approved
) -> Iterator[str]:
    """Append to the job's summary, and give the lines that annotate the job.

    Args:
        result: the closed run.
        failing: why the run fails, from the gate.
        rootdir: pytest's; findings are placed relative to the checkout that holds it.
        environ: of the job.
        approved: the run that this one was compared with, if with any.
    """
    from pytest_mcp_governance.report.escaping import command_data
    from pytest_mcp_governance.report.github import annotate
    from pytest_mcp_governance.run import published as telling
    from pytest_mcp_governance.run.outside import Approved as Compared

    if failing and not result.unexpected:
        yield f"::error title=mcp governance::{command_data(printable(failing[0]))}"
    try:
        told = telling.published(
            result.report or result.run_dir,
            _checked(result),
            secrets=frozenset(secret_values(environ)),
            # Where the run itself could not be compared, that has been said, and fails it.
            approved=Compared(approved.text, approved.source) if result.since else None,
            signer="" if result.key_is_ephemeral else result.fingerprint,
        )
        yield from annotate(told.evidence, folder=_folder(rootdir, environ.get("GITHUB_WORKSPACE", "")))
        summary = environ.get("GITHUB_STEP_SUMMARY")
        if summary and not telling.append_summary(Path(summary), told):
            yield "note: the job's summary has no room left for this run"
    except (GovernanceError, OSError) as error:
        yield printable(f"note: this run could not be told to GitHub: {error}")


def _checked(result: RunResult) -> Checked:
    from pytest_mcp_governance.report.facts import Checked

    return Checked(
        file=(result.report or result.run_dir).name,
        run=result.run,
        status=result.status,
        signer=result.fingerprint,
        open_digest=result.open_digest,
        close_digest=result.close_digest,
    )


def _folder(rootdir: Path, workspace: str) -> str:
    """Where pytest's root folder lies in the checkout; empty where it is the checkout, or outside of it."""
    top, real = Path(os.path.realpath(workspace or rootdir)), Path(os.path.realpath(rootdir))
    return real.relative_to(top).as_posix() if real != top and real.is_relative_to(top) else ""
