"""An SDK client's call through the recorder, with evidence and policy, beside the same call in other ways.

Ways: directly; through the recorder; through a proxy made of SDK pieces; through fastmcp's proxy, where `--fastmcp`
names a Python that has it. Over stdio, and directly and through the recorder over Streamable HTTP. With 20 bytes and
20 kB in call and answer, while the process that calls is idle and while a thread of it burns its core. Prints medians,
measured in turns within one run, and their ratio to the direct one: the budget is 2, the aim 1.5.
Run: python benchmarks/gateway.py [CALLS] [--fastmcp PYTHON]
"""

import argparse
import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import cast

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from recording import started

from pytest_mcp_governance.session.client import connect

WAYS = Path(__file__).parent / "ways"
SERVER = [sys.executable, str(WAYS / "echo.py")]
POLICY = 'governance: 1\npolicy: bench\nrules:\n- {id: ALL, allow: ["*.echo"]}\n'
SIZES = {"20 B": 20, "20 kB": 20_000}
BLOCK = 10
_TEXT = "Vendor Acme Ltd, invoice 88 of 12 May, 1,204.50 EUR, to be paid within 30 days; " * 250


async def main(calls: int, fastmcp: str | None) -> None:
    """Alternate blocks of calls, so that all ways see the same machine."""
    with tempfile.TemporaryDirectory() as folder, _http_server() as url:
        recorder = started(Path(folder), POLICY)
        servers: dict[str, dict[str, object]] = {
            "echo": {"command": SERVER[0], "args": SERVER[1:]},
            "remote": {"url": url},
        }
        reply = recorder.open_gateway(servers=servers, agent="bench", request=None, idle_ok=False)
        ours = cast("dict[str, list[str]]", reply["commands"])["echo"]
        over_http = cast("dict[str, str]", reply["urls"])["remote"]
        async with contextlib.AsyncExitStack() as stack:
            stdio = {
                "direct": await stack.enter_async_context(_over_stdio(SERVER)),
                "recorded": await stack.enter_async_context(connect(ours)),
                "SDK pieces": await stack.enter_async_context(
                    _over_stdio([sys.executable, str(WAYS / "sdk_proxy.py"), *SERVER])
                ),
            }
            if fastmcp is not None:
                proxy = [fastmcp, str(WAYS / "fastmcp_proxy.py"), *SERVER]
                stdio["fastmcp"] = await stack.enter_async_context(_over_stdio(proxy))
            http = {
                "direct": await stack.enter_async_context(_over_http(url)),
                "recorded": await stack.enter_async_context(_over_http(over_http)),
            }
            print(f"{calls} calls each; median in ms, and ratio to direct (budget 2, aim 1.5)")
            for transport, sessions in (("stdio", stdio), ("HTTP", http)):
                for size, length in SIZES.items():
                    for state in ("idle", "busy"):
                        with _burning() if state == "busy" else contextlib.nullcontext():
                            _row(f"{transport}, {size}, {state}", await _measure(sessions, _TEXT[:length], calls))
        recorder.end_test(outcome="passed", failure=None)
        recorder.end()


async def _measure(sessions: dict[str, ClientSession], text: str, calls: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for block in range(0, calls + BLOCK, BLOCK):
        for name, session in sessions.items():
            for _ in range(BLOCK):
                began = time.perf_counter()
                answer = await session.call_tool("echo", {"text": text})
                if block:  # the first one warms up
                    times[name].append(time.perf_counter() - began)
                assert not getattr(answer, "is_error", getattr(answer, "isError", False)), name
    return {name: statistics.median(found) * 1e3 for name, found in times.items()}


def _row(title: str, medians: dict[str, float]) -> None:
    told = [f"{name} {ms:6.2f} ({ms / medians['direct']:.2f})" for name, ms in medians.items()]
    print(f"{title:20} " + "   ".join(told), flush=True)


@contextlib.asynccontextmanager
async def _over_stdio(command: Sequence[str]) -> AsyncIterator[ClientSession]:
    parameters = StdioServerParameters(command=command[0], args=list(command[1:]))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


@contextlib.asynccontextmanager
async def _over_http(url: str) -> AsyncIterator[ClientSession]:
    async with streamable_http_client(url) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        yield session


@contextlib.contextmanager
def _http_server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _burning() -> Iterator[None]:
    """A thread that never lets go of its core by itself, as a test's own computation."""
    done = threading.Event()

    def burn() -> None:
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("calls", nargs="?", type=int, default=200)
    parser.add_argument("--fastmcp", metavar="PYTHON")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.calls, chosen.fastmcp))
