"""A long session: messages by the million through a real gateway, and what its recorder's memory does meanwhile.

Prints the recorder's resident memory as the session goes on, draws it, closes the session and verifies it. Fails where
memory at the end exceeds that at a tenth of the way by more than the bound, or where anything is missing. The server
is an echo in this file, because speed is the point here; a fiftieth of the calls is denied.
Run: python benchmarks/long.py [MESSAGES] [FOLDER]
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_mcp_governance.evidence.verify import verify

BOUND_MB = 8.0  # what memory may grow by from a tenth of the way to the end
SAMPLES = 200
CONNECTIONS = 4
WINDOW = 32  # requests under way on each connection
EVERY_DENIED = 50
POLICY = """\
governance: 1
policy: long
rules:
- {id: READ, allow: ["echo.get_*"]}
- {id: FILES, allow: ["echo.read_file"], args: {path: {within: /srv/data}}}
data:
  people.mail: {class: pii, detect: [email]}
"""
ECHO = """
import json, sys
out = sys.stdout.buffer
for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" in message:
        n = message["id"]
        result = {"content": [{"type": "text", "text": "answer %d" % n}], "protocolVersion": "2025-06-18"}
        out.write(json.dumps({"jsonrpc": "2.0", "id": n, "result": result}).encode() + b"\\n")
        out.flush()
"""
CLI = [sys.executable, "-c", "from pytest_mcp_governance.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of the recorder after so many messages."""

    messages: int
    mb: float


def main(messages: int, folder: Path) -> int:
    """Record, sample, draw, close, verify; return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    gateway = _start(folder)
    began = time.monotonic()
    try:
        pid = _recorder(folder)
        samples = asyncio.run(_play(folder, messages, pid))
        took = time.monotonic() - began
        gateway.send_signal(signal.SIGTERM)
        said = gateway.communicate(timeout=7200)[0]
    finally:
        if gateway.poll() is None:
            gateway.kill()
    closed = time.monotonic() - began - took
    print(f"{messages:,} messages in {took:.0f} s ({messages / took:,.0f} a second), closed in {closed:.0f} s")
    _draw(folder / "memory.svg", samples)
    return _judge(folder, samples, messages, said)


def _start(folder: Path) -> "subprocess.Popen[str]":
    (folder / "echo.py").write_text(ECHO, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    entry = {"command": sys.executable, "args": ["-I", "-S", str(folder / "echo.py")]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"echo": entry}}), encoding="utf-8")
    command = [*CLI, "gateway", "--config", "mcp.json", "--policy", "policy.yaml", "--evidence", "evidence"]
    gateway = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert gateway.stdout is not None
    for line in gateway.stdout:
        print(line, end="")
        if line.startswith("ready"):
            break
    return gateway


def _run(folder: Path) -> Path:
    return next(path for path in (folder / "evidence" / "runs").iterdir() if path.is_dir())


def _recorder(folder: Path) -> int:
    run = _run(folder)
    return int(json.loads(run.with_name(f"{run.name}.control").read_text())["ok"]["pid"])


def _resident_mb(pid: int) -> float:
    """From /proc where there is one, else from ps."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except FileNotFoundError:
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
        return int(told.stdout) * 1024 / 1e6


async def _play(folder: Path, messages: int, pid: int) -> list[Sample]:
    configuration = json.loads((folder / "evidence" / "agents" / "agent.mcp.json").read_text())
    entry = configuration["mcpServers"]["echo"]
    progress = _Progress(messages, pid)
    each = messages // 2 // CONNECTIONS
    await asyncio.gather(*(_agent([entry["command"], *entry["args"]], n, each, progress) for n in range(CONNECTIONS)))
    progress.note(last=True)
    return progress.samples


class _Progress:
    def __init__(self, messages: int, pid: int) -> None:
        self.samples: list[Sample] = []
        self._step = max(1, messages // SAMPLES)
        self._done, self._pid, self._messages = 0, pid, messages

    def answered(self) -> None:
        self._done += 2  # the call and its answer
        if self._done // self._step > len(self.samples):
            self.note()

    def note(self, *, last: bool = False) -> None:
        self.samples.append(Sample(self._done, _resident_mb(self._pid)))
        if last or len(self.samples) % (SAMPLES // 20) == 0:
            print(f"  {self._done:>12,} messages  {self.samples[-1].mb:7.1f} MB", flush=True)


async def _agent(command: list[str], number: int, calls: int, progress: _Progress) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    window = asyncio.Semaphore(WINDOW)

    async def read() -> None:
        assert process.stdout is not None
        for _ in range(calls):
            line = await process.stdout.readline()
            assert line, "the connection closed"
            progress.answered()
            window.release()

    reading = asyncio.create_task(read())
    for call in range(calls):
        await window.acquire()
        process.stdin.write(_call(number, call))
        await process.stdin.drain()
    await reading
    process.stdin.close()
    await process.wait()


def _call(agent: int, number: int) -> bytes:
    """Allowed for its name, for where its path lies, or not at all; each with an address that is never the same."""
    mail = f"person-{agent}-{number}@example.org"
    if number % EVERY_DENIED == 0:
        name, arguments = "drop_table", {"name": f"t{number}"}
    elif number % 3:
        name, arguments = "get_vendor", {"id": f"v{number}", "mail": mail}
    else:
        name, arguments = "read_file", {"path": f"/srv/data/{agent}/{number}.txt"}
    params = {"name": name, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"


def _draw(path: Path, samples: list[Sample]) -> None:
    width, height = 900, 300
    most = max(sample.messages for sample in samples) or 1
    top = max(sample.mb for sample in samples) * 1.2
    points = " ".join(f"{60 + s.messages / most * width:.1f},{20 + height - s.mb / top * height:.1f}" for s in samples)
    labels = "".join(
        f'<text x="4" y="{24 + height - share * height:.0f}">{share * top:.0f} MB</text>' for share in (0, 0.5, 1)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 80} {height + 60}" font-family="sans-serif" '
        f'font-size="12"><polyline points="60,20 60,{height + 20} {width + 60},{height + 20}" fill="none" '
        f'stroke="#888"/><polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"/>{labels}'
        f'<text x="60" y="{height + 40}">0</text><text x="{width - 40}" y="{height + 40}">{most:,} messages</text>'
        f'<text x="{width // 3}" y="{height + 55}">resident memory of the recorder</text></svg>\n',
        encoding="utf-8",
    )
    print(f"drawn in {path}")


def _judge(folder: Path, samples: list[Sample], messages: int, said: str) -> int:
    print(said)
    early = next(s for s in samples if s.messages >= messages // 10)
    late = samples[-1]
    grown = late.mb - early.mb
    print(f"memory: {early.mb:.1f} MB at {early.messages:,} messages, {late.mb:.1f} MB at {late.messages:,}: "
          f"{grown:+.1f} MB (bound {BOUND_MB:.0f} MB)")  # fmt: skip
    began = time.monotonic()
    run = _run(folder)
    report = verify(run, trust=[verify(run).signer] if messages <= 100_000 else [_signer(said)])
    took = time.monotonic() - began
    print(f"{report.outcome.name}: {report.records:,} records in {took:.0f} s; findings {dict(report.findings)}")
    for problem in report.problems:
        print(f"  {problem}")
    denied = sum(1 for _ in range(0, messages // 2 // CONNECTIONS, EVERY_DENIED)) * CONNECTIONS
    whole = report.outcome.name == "VERIFIED" and report.findings["blocked"]["enforce"] == denied
    return int(not whole or grown > BOUND_MB)


def _signer(said: str) -> str:
    return next(line.rpartition(" ")[2] for line in said.splitlines() if line.startswith("verify: "))


if __name__ == "__main__":
    chosen = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("build") / "long" / f"{time.strftime('%Y%m%d-%H%M%S')}"
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, chosen.absolute()))
