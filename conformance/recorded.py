"""A server's URL with the recorder in front of it, without a policy: everything is recorded and forwarded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig


@contextmanager
def recorded(url: str, folder: Path) -> Iterator[str]:
    """The URL to use in the place of `url` inside the block.

    Raises:
        AssertionError: the evidence of what came through does not verify.
    """
    folder.mkdir(parents=True)
    config = RecorderConfig(
        run="conformance",
        run_dir=folder / "run",
        segment="main",
        rootdir=folder,
        main=True,
        report_copy=folder / "report.html",
        controller_pid=os.getpid(),
    )
    recorder = Recorder.start(config)
    try:
        recorder.selection(selected=["conformance"], unaudited=0, deselected=0, collection="0" * 64)
        recorder.start_test(
            name="conformance", nodeid="conformance", attempt=1, agent="suite", controls=(), policies=[], mode=None
        )
        reply = recorder.open_gateway(servers={"target": {"url": url}}, agent="suite", request=None, idle_ok=True)
        yield reply["urls"]["target"]  # type: ignore[index]  # the recorder's answer is JSON
        recorder.close_gateway(str(reply["gateway"]))
        recorder.end_test(outcome="passed", failure=None)
        result = recorder.finish_run(complete=True)
    finally:
        recorder.end()
    verified = verify(folder / "run", trust=[result.fingerprint])
    assert verified.outcome.name == "VERIFIED", verified.problems
