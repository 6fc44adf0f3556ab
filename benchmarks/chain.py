"""A chain of 30 tool calls across 15 servers, each waiting for the one before: directly, and through the recorder.

Prints what each chain took in all and what the recorder adds to it; the budget is one second (docs/architecture.md).
Run: python benchmarks/chain.py [ROUNDS]
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from recording import started

from pytest_mcp_governance.session.client import connect

SERVER = Path(__file__).parents[1] / "tests" / "servers" / "plain.py"
POLICY = 'governance: 1\npolicy: bench\nrules:\n- {id: ALL, allow: ["*.*"]}\n'
SERVERS = 15
CALLS = 30


async def main(rounds: int) -> None:
    """Run the two chains in turns, so that both see the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = started(Path(folder), POLICY)
        entry = {"command": sys.executable, "args": [str(SERVER)]}
        names = [f"s{number}" for number in range(SERVERS)]
        began = time.perf_counter()
        reply = recorder.open_gateway(servers=dict.fromkeys(names, entry), agent="bench", request=None, idle_ok=False)
        opened_ms = (time.perf_counter() - began) * 1e3
        commands = reply["commands"]
        assert isinstance(commands, dict)
        async with AsyncExitStack() as stack:
            direct = [await _directly(stack) for _ in names]
            recorded = [await stack.enter_async_context(connect(commands[name])) for name in names]
            took: dict[str, list[float]] = {"direct": [], "recorded": []}
            for _ in range(rounds):
                for way, sessions in (("direct", direct), ("recorded", recorded)):
                    took[way].append(await _chain(sessions))
        recorder.end_test(outcome="passed", failure=None)
        recorder.end()
    medians = {way: statistics.median(found) * 1e3 for way, found in took.items()}
    added = medians["recorded"] - medians["direct"]
    print(f"{CALLS} calls in a chain over {SERVERS} servers, median of {rounds}:")
    print(f"direct {medians['direct']:.0f} ms, recorded {medians['recorded']:.0f} ms")
    print(f"added {added:.0f} ms (budget 1000 ms); opening the gateway took {opened_ms:.1f} ms")


async def _directly(stack: AsyncExitStack) -> ClientSession:
    parameters = StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    read, write = await stack.enter_async_context(stdio_client(parameters))
    session = await stack.enter_async_context(ClientSession(read, write))
    await session.initialize()
    return session


async def _chain(sessions: list[ClientSession]) -> float:
    began = time.perf_counter()
    answer = "v1"
    for number in range(CALLS):
        result = await sessions[number % len(sessions)].call_tool("get_vendor", {"id": answer, "step": number})
        answer = str(result.content[0].model_dump()["text"])  # each call is asked with what the one before was answered
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
