"""A run that no test suite makes: where it is recorded, and the one "test" that its records speak of.

Starts the recorder and tells it what to record; leaves out who connects, and how long it lasts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.errors import ConfigurationError, GovernanceError
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

DEFAULT_POLICY = "governance.policy.yaml"


@dataclass(frozen=True, slots=True)
class Standalone:
    """What makes such a run.

    Args:
        name: of the one test that the evidence speaks of, which is also the whole selection.
        folder: where relative paths of servers and of the signing key start.
        evidence: the folder under whose `runs/` the run lies.
        report: where a copy of the report goes.
        recorded_by: the command, as the evidence names what recorded it.
        policies: (name, text) of each policy; without any the run is NOT JUDGED.
        mode: tightens the policies' own mode, None to leave it.
        agent: the agent that the whole run is about, None where it is about several.
        signing_key: file or URI of the key that signs; None for one that nobody knows.
        secrets: values that the report must withhold.
        keep_runs: how many runs to keep beside this one, 0 for all.
        stated: what else the open statement says of the run.
        stays: whether it may last for hours: its runs are then closed beside the recorder.
    """

    name: str
    folder: Path
    evidence: Path
    report: Path
    recorded_by: str
    policies: tuple[tuple[str, str], ...] = ()
    mode: Literal["enforce", "observe"] | None = None
    agent: str | None = None
    signing_key: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    keep_runs: int = 0
    stated: Mapping[str, object] = field(default_factory=dict)
    stays: bool = False


def new_run() -> str:
    """The id of a run that begins now; ids sort by time."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(3)}"


def record(standalone: Standalone) -> Recorder:
    """Start the run's recorder and begin its test.

    Raises:
        GovernanceError: it could not start; the message says why.
    """
    recorder = Recorder.start(_config(standalone))
    try:
        _begin(recorder, standalone)
    except BaseException:
        with contextlib.suppress(GovernanceError):
            recorder.finish_run(complete=False, reason="it ended before anything could be recorded")
        raise
    return recorder


def _config(standalone: Standalone) -> RecorderConfig:
    run = new_run()
    return RecorderConfig(
        run=run,
        run_dir=standalone.evidence / "runs" / run,
        segment="main",
        rootdir=standalone.folder,
        main=True,
        report_copy=standalone.report,
        controller_pid=os.getpid(),
        signing_key=standalone.signing_key,
        env_secrets=standalone.secrets,
        environment=(("recorded by", standalone.recorded_by),),
        keep_runs=standalone.keep_runs,
        stated=standalone.stated,
        stays=standalone.stays,
    )


def _begin(recorder: Recorder, standalone: Standalone) -> None:
    name = standalone.name
    collection = hashlib.sha256(f"{name}\n".encode()).hexdigest()
    recorder.selection(selected=[name], unaudited=0, deselected=0, collection=collection)
    recorder.start_test(
        name=name,
        nodeid=name,
        attempt=1,
        agent=standalone.agent,
        controls=(),
        policies=[{"name": source, "kind": "file", "text": text} for source, text in standalone.policies],
        mode=standalone.mode,
    )


def policy_at(path: Path | None, folder: Path) -> tuple[str, str] | None:
    """Name and text of the policy named, else of `governance.policy.yaml` in the folder; None where there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    chosen = path or folder / DEFAULT_POLICY
    if path is None and not chosen.exists():
        return None
    try:
        return chosen.name, chosen.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the policy {chosen} cannot be read: {type(error).__name__}") from None
