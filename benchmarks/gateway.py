"""An SDK client's stdio call through the recorder, with evidence and policy, beside the same client directly.

Prints medians and their ratio, measured in turns within one run; the budget is 2x (docs/architecture.md).
Run: python benchmarks/gateway.py [CALLS]
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from pytest_mcp_governance.session.client import connect
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

SERVER = Path(__file__).parents[1] / "tests" / "servers" / "books.py"
POLICY = 'governance: 1\npolicy: bench\nrules:\n- {id: ALL, allow: ["books.*"]}\n'
BLOCK = 25


async def main(calls: int) -> None:
    """Alternate blocks of direct and recorded calls, so that both see the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = _start(Path(folder))
        entry = {"command": sys.executable, "args": [str(SERVER)]}
        reply = recorder.open_gateway(servers={"books": entry}, agent="bench", request=None, idle_ok=False)
        commands = reply["commands"]
        assert isinstance(commands, dict)
        parameters = StdioServerParameters(command=sys.executable, args=[str(SERVER)])
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as direct:
            await direct.initialize()
            async with connect(commands["books"]) as recorded:
                times: dict[str, list[float]] = {"direct": [], "recorded": []}
                for _ in range(0, calls, BLOCK):
                    for name, session in (("direct", direct), ("recorded", recorded)):
                        times[name] += [await _timed(session) for _ in range(BLOCK)]
        recorder.end_test(outcome="passed", failure=None)
        recorder.end()
    medians = {name: statistics.median(found) * 1e3 for name, found in times.items()}
    print(f"{calls} calls each, median: direct {medians['direct']:.2f} ms, recorded {medians['recorded']:.2f} ms")
    print(f"ratio {medians['recorded'] / medians['direct']:.2f} (budget 2, aim 1.5)")


async def _timed(session: ClientSession) -> float:
    began = time.perf_counter()
    await session.call_tool("get_vendor", {"id": "v1"})
    return time.perf_counter() - began


def _start(folder: Path) -> Recorder:
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
    policy = {"name": "bench.yaml", "kind": "file", "text": POLICY}
    recorder.start_test(
        name="bench", nodeid="bench", attempt=1, agent="bench", controls=(), policies=[policy], mode=None
    )
    return recorder


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
