"""A recorder in the middle of a test, for the benchmarks that make real calls through it."""

import os
from pathlib import Path

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig


def started(folder: Path, policy_text: str) -> Recorder:
    recorder = Recorder.start(
        RecorderConfig(
            run="bench",
            run_dir=folder / "runs" / "bench",
            segment="main",
            rootdir=folder,
            main=True,
            report_copy=folder / "report.html",
            controller_pid=os.getpid(),
        )
    )
    policy = {"name": "bench.yaml", "kind": "file", "text": policy_text}
    recorder.start_test(
        name="bench", nodeid="bench", attempt=1, agent="bench", controls=(), policies=[policy], mode=None
    )
    return recorder
