"""What the plugin costs a test run: installed but unused, and used, without browsers.

Runs the same suite in turns with and without it, each time in a process of its own. Of clock times it prints medians,
of processor times the least, because whatever else runs on a machine only adds to them. Budgets are unused at most
20 ms a process, used at most 1 s for the first audited test and 50 ms for each further one.
Run: python benchmarks/plugin.py [TURNS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SERVER = Path(__file__).parents[1] / "tests" / "servers" / "plain.py"
POLICY = 'governance: 1\npolicy: bench\nrules:\n- {id: READ, allow: ["plain.get_*"]}\n'
TESTS = 12
PLAIN = "import pytest\n\n@pytest.mark.parametrize('n', range(50))\ndef test_plain(n): pass\n"
AGENT = """
import json, subprocess

def run_agent(command):
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        for number, (method, params) in enumerate(
            [("initialize", client), ("tools/call", {"name": "get_vendor", "arguments": {"id": "v1"}})]
        ):
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(message) + "\\n")
            process.stdin.flush()
            assert "result" in json.loads(process.stdout.readline())
        process.stdin.close()
"""
# The same agent and the same server, once audited and once reached directly.
USED = f"""
import sys
import pytest
from scripted import run_agent

SERVER = [sys.executable, {str(SERVER)!r}]

@pytest.mark.parametrize("n", range({TESTS}))
def test_audited(mcp_audit, n):
    with mcp_audit.gateway("plain", agent="bench") as gw:
        run_agent(gw.command("plain"))

@pytest.mark.parametrize("n", range({TESTS}))
def test_direct(n):
    run_agent(SERVER)
"""
# Loaded with -p: what each test took in all its phases.
WATCH = """
import json, os
times = {}

def pytest_runtest_logreport(report):
    times[report.nodeid] = times.get(report.nodeid, 0.0) + report.duration

def pytest_sessionfinish():
    with open(os.environ["BENCH_TIMES"], "w") as file:
        json.dump(list(times.values()), file)
"""
OTHERS = ("randomly", "asyncio", "playwright", "base_url", "hypothesispytest", "timeout", "cacheprovider")


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of pytest: seconds on the clock, and of processor in it and in the processes it waited for."""

    wall_s: float
    cpu_s: float


def main(turns: int) -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'':34} {'without':>10} {'with':>10} {'costs':>10}   budget")
        _unused(folder / "unused", turns)
        _used(folder / "used", max(3, turns // 4))


def _unused(folder: Path, turns: int) -> None:
    folder.mkdir()
    (folder / "test_plain.py").write_text(PLAIN, encoding="utf-8")
    for title, options in (("unused, 50 tests", []), ("unused, 50 tests, -n2", ["-n2"])):
        without, with_it = _alternate(
            turns,
            lambda options=options: _pytest(folder, "-pno:mcp_governance", *options),
            lambda options=options: _pytest(folder, *options),
        )
        processes = 3 if options else 1  # the controller and its workers
        least = [min(cost.cpu_s for cost in costs) / processes for costs in (without, with_it)]
        _row(f"{title}, processor", *least, "20 ms a process" if options else "20 ms")
        _row(f"{title}, clock", *(statistics.median(cost.wall_s for cost in costs) for costs in (without, with_it)), "")


def _used(folder: Path, turns: int) -> None:
    folder.mkdir()
    server = {"command": sys.executable, "args": [str(SERVER)]}
    files = {
        "scripted.py": AGENT,
        "watch.py": WATCH,
        "test_used.py": USED,
        "governance.policy.yaml": POLICY,
        "mcp.json": json.dumps({"mcpServers": {"plain": server}}),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    direct, audited = _alternate(
        turns, lambda: _durations(folder, "test_direct"), lambda: _durations(folder, "test_audited")
    )
    first = [statistics.median(times[0] for times in runs) for runs in (direct, audited)]
    further = [statistics.median(statistics.median(times[1:]) for times in runs) for runs in (direct, audited)]
    _row("first audited test", *first, "1 s")
    _row("each further one", *further, "50 ms")


def _alternate(turns: int, one: Callable[[], T], other: Callable[[], T]) -> tuple[list[T], list[T]]:
    found: tuple[list[T], list[T]] = ([], [])
    for turn in range(turns):
        # Whichever goes second finds warmer caches: take turns.
        order = ((0, one), (1, other)) if turn % 2 else ((1, other), (0, one))
        for place, run in order:
            found[place].append(run())
    return found


def _durations(folder: Path, name: str) -> list[float]:
    times = folder / "times.json"
    _pytest(folder, "-pwatch", "-k", name, BENCH_TIMES=str(times), PYTHONPATH=str(folder))
    found = json.loads(times.read_text())
    assert len(found) == TESTS, found
    return [float(seconds) for seconds in found]


def _pytest(folder: Path, *options: str, **environment: str) -> Cost:
    command = [sys.executable, "-m", "pytest", "-q", *(f"-pno:{name}" for name in OTHERS), *options]
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    after = os.times()
    if done.returncode:
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall, cpu)


def _row(title: str, without_s: float, with_s: float, budget: str) -> None:
    costs = (with_s - without_s) * 1e3
    print(f"{title:34} {without_s * 1e3:7.0f} ms {with_s * 1e3:7.0f} ms {costs:+7.1f} ms   {budget}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
