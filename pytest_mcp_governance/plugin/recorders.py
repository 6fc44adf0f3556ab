"""Starts this process's recorder: where it records, and what it is told of the run. Leaves out what it is asked."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.approved import Approved
from pytest_mcp_governance.plugin.environment import secret_values
from pytest_mcp_governance.plugin.gating import SHARED
from pytest_mcp_governance.plugin.options import Settings

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.shards import Shard
    from pytest_mcp_governance.session.control import Recorder

_KEEP_RUNS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process records."""

    run: str
    run_dir: Path
    segment: str
    controller_pid: int

    def for_workers(self) -> dict[str, object]:
        """What pytest-xdist's workers are told, to record in the same run."""
        return {"run": self.run, "run_dir": str(self.run_dir), "controller_pid": self.controller_pid}


def new_place(rootdir: Path) -> Place:
    """The place of a new run."""
    run = f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(3)}"
    return Place(run, rootdir / ".mcp-governance" / "runs" / run, "main", os.getpid())


def told_place(workerinput: Mapping[str, Any]) -> Place:
    """A worker's place in the run of its controller."""
    told = workerinput[SHARED]
    return Place(told["run"], Path(told["run_dir"]), workerinput["workerid"], told["controller_pid"])


def start(
    settings: Settings, place: Place, *, rootdir: Path, main: bool, shard: Shard | None, approved: Approved
) -> Recorder:
    """Start the recorder.

    Raises:
        ConfigurationError: on Windows.
        GovernanceError: it could not start; the message says why.
    """
    if sys.platform == "win32":
        raise ConfigurationError("pytest-mcp-governance records on Linux and macOS only, not on Windows")
    from pytest_mcp_governance.plugin.shards import stated
    from pytest_mcp_governance.session.control import Recorder
    from pytest_mcp_governance.session.settings import RecorderConfig

    gating = settings.gating
    return Recorder.start(
        RecorderConfig(
            run=place.run,
            run_dir=place.run_dir,
            segment=place.segment,
            rootdir=rootdir,
            main=main,
            report_copy=settings.report_path,
            controller_pid=place.controller_pid,
            signing_key=settings.signing_key,
            report=settings.report,
            env_secrets=secret_values(os.environ),
            environment=(("pytest", pytest.__version__),),
            keep_runs=0 if os.environ.get("CI") else _KEEP_RUNS,
            baseline=gating.known(),
            today=gating.today,
            keep_days=settings.keep_days,
            max_message_bytes=settings.max_message_bytes,
            stated=gating.stated() | stated(shard, os.environ) | approved.stated(),
            approved=approved.text,
            approved_source=approved.source,
            approved_problem=approved.problem,
        )
    )
