"""Verifying a run folder: records a second, and that memory stays flat as the run grows.

The budget is 50,000 records a second (docs/architecture.md). Run: python benchmarks/verify.py [RECORDS]
"""

import os
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.run.open import open_run
from pytest_mcp_governance.session.settings import RecorderConfig


def main(records: int) -> None:
    """Write runs of one tenth and of the whole size, then verify both."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (records // 10, records):
            run = Path(folder) / "runs" / str(size)
            _write(run, size)
            began = time.perf_counter()
            report = verify(run)
            took = time.perf_counter() - began
            tracemalloc.start()
            verify(run)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            speed = report.records / took
            print(f"{report.records} records: {speed:,.0f} a second, peak {peak / 1e6:.1f} MB ({report.outcome.name})")


def _write(folder: Path, records: int) -> None:
    """Messages with a committed text and their decisions, in turns, as a run has them."""
    config = RecorderConfig(
        run=folder.name,
        run_dir=folder,
        segment="main",
        rootdir=folder.parent,
        main=True,
        report_copy=folder / "report.html",
        controller_pid=os.getpid(),
    )
    segment = open_run(config).segment  # left without a close statement, which verifies as INCOMPLETE
    text = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get","arguments":{"x":"' + "v" * 200 + '"}}}'
    )
    for number in range(records // 2):
        ref = segment.append("msg", {"direction": "c2s", "kind": "request", "conn": "c1", "wire": Committed(text)})
        decision = {"moment": "before", "rule": "READ", "verdict": "allow", "effect": "forward", "ref": ref}
        segment.append("decision", decision | {"clause": str(number % 7)})
    segment.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
