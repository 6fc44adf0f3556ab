"""What a recorder is told at its start, over its stdin: never through its environment or `ps`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_mcp_governance.errors import RecorderError

if TYPE_CHECKING:
    from pytest_mcp_governance.policy.known import Baseline

PROGRAM = "pytest_mcp_governance.run.program"
# What the recorder itself may see of the test run's environment; servers and browsers see less (see `server`).
RECORDER_ENVIRONMENT = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "MCP_GOVERNANCE_BROWSER",
    "PLAYWRIGHT_BROWSERS_PATH",
)


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """Settings of one recorder.

    Attributes:
        run: run id, `[a-z0-9-]+`.
        run_dir: the run's folder.
        segment: this recorder's segment, `main` or a worker's name.
        rootdir: pytest's root folder.
        main: whether this recorder opens, closes and signs the run.
        signing_key: file or URI of the identity key, None for an ephemeral one; never key material.
        report: profile of the report.
        report_copy: where a copy of the report goes.
        controller_pid: process whose end means that nobody will close the run.
        env_secrets: values to look for in what is recorded, so that the report withholds them; kept in memory only.
        environment: facts about the test run for the open record, such as pytest's version.
        keep_runs: how many runs to keep, 0 for all.
        baseline: name and text of the suite's known findings, empty where there are none.
        today: the day on which they are held against their end.
        keep_days: for how many days after its end the run asks to be kept, 0 where it does not say.
        stated: what else the open statement says of the run, such as its gate.
        approved: text of the approval that the run is compared with, "" for none.
        approved_source: what it was read from.
        approved_problem: why the approval that is there cannot be used, or "".
        max_message_bytes: how long a message may be that is passed on.
        stays: whether it records for hours, outside any test run: runs are then closed in a process beside it.
    """

    run: str
    run_dir: Path
    segment: str
    rootdir: Path
    main: bool
    report_copy: Path
    controller_pid: int
    signing_key: str | None = None
    report: Literal["ticket", "full"] = "ticket"
    env_secrets: tuple[str, ...] = field(default=(), repr=False)
    environment: tuple[tuple[str, str], ...] = ()
    keep_runs: int = 10
    baseline: tuple[str, str] = ("", "")
    today: str = ""
    keep_days: int = 0
    stated: Mapping[str, object] = field(default_factory=dict)
    approved: str = field(default="", repr=False)
    approved_source: str = ""
    approved_problem: str = ""
    stays: bool = False
    max_message_bytes: int = 64 * 1024 * 1024

    def to_json(self) -> str:
        """One line for the recorder's stdin."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, line: str) -> RecorderConfig:
        """Read what `to_json` wrote.

        Raises:
            RecorderError: the line is something else.
        """
        try:
            data = json.loads(line)
            for name in ("run_dir", "rootdir", "report_copy"):
                data[name] = Path(data[name])
            data["baseline"] = (str(data["baseline"][0]), str(data["baseline"][1]))
            data["env_secrets"] = tuple(data["env_secrets"])
            data["environment"] = tuple((str(k), str(v)) for k, v in data["environment"])
            return cls(**{f.name: data[f.name] for f in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise RecorderError(
                f"the recorder expected its settings as one line of JSON on stdin ({type(error).__name__}); "
                "it is started by the pytest plugin, not by hand"
            ) from None

    def for_main(self) -> RecorderConfig:
        """The same run's settings for its main recorder."""
        return replace(self, segment="main", main=True)

    def known(self) -> Baseline | None:
        """The suite's known findings; the plugin has read them once, so that a mistake ends pytest before any test.

        Raises:
            PolicyError: they cannot be read.
        """
        from pytest_mcp_governance.policy.known import load_baseline

        name, text = self.baseline
        return load_baseline(text, name=name, today=date.fromisoformat(self.today)) if text else None

    @property
    def control_file(self) -> Path:
        """Where main says how to reach it; gone when the run is closed."""
        return self.run_dir.with_name(self.run + ".control")

    @property
    def lock_file(self) -> Path:
        """Whoever creates it first starts main."""
        return self.run_dir.with_name(self.run + ".lock")
