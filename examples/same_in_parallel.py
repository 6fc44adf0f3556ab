"""Runs the demo suite in one process and with two pytest-xdist workers, and compares what the two reports hold.

The same calls, accesses, findings and tests must be in both, and both must verify. Reads the reports alone. Exits
with 1 where they differ, and says in what. Leaves out times, refs and payloads, in which no two runs are alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import ContainerSource

EXAMPLES = Path(__file__).resolve().parent
Event = tuple[str, ...]
FIELDS = {
    "calls": ("msg", ("direction", "kind", "method", "agent", "server", "tool")),
    "accesses": ("access", ("agent", "server", "tool", "scope", "class", "status")),
    "findings": ("finding", ("rule", "clause", "state", "mode", "expected", "agent", "server", "tool")),
    "tests": ("test", ("phase", "outcome")),
}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mcp-governance-parallel-") as folder:
        reports = {workers: Path(folder) / f"workers-{workers}.html" for workers in (0, 2)}
        for workers, report in reports.items():
            if not _run(workers, report):
                return 1
        return _compare(*reports.values())


def _run(workers: int, report: Path) -> bool:
    """Run the suite and verify its report, trusting the key that this run has made for itself."""
    suite = [sys.executable, "-P", "-m", "pytest", "-q", f"-n{workers}", str(EXAMPLES)]
    code = subprocess.run([*suite, f"--mcp-governance-report-path={report}"], check=False).returncode
    if code:
        print(f"the demo suite ended with {code} with {workers} workers", file=sys.stderr)
        return False
    command = [sys.executable, "-P", "-c", "from pytest_mcp_governance.cli import main; main()", "verify", str(report)]
    signer = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout)[
        "signer"
    ]
    verified = subprocess.run([*command, "--trust", signer], capture_output=True, text=True, check=False)
    print(f"{workers} workers: {verified.stdout.splitlines()[0] if verified.stdout else verified.stderr}")
    return verified.returncode == 0


def _compare(serial: Path, parallel: Path) -> int:
    one, two = (list(EvidenceReader(ContainerSource(path.read_bytes())).records()) for path in (serial, parallel))
    different = 0
    for what, (kind, fields) in FIELDS.items():
        before, after = Counter(_events(one, kind, fields)), Counter(_events(two, kind, fields))
        print(f"{what}: {before.total()} in one process, {after.total()} with two workers")
        for only, where in ((before - after, "in one process only"), (after - before, "with two workers only")):
            for event, times in sorted(only.items()):
                different = 1
                print(f"  {times} x {where}: {' '.join(event)}", file=sys.stderr)
    print("they differ" if different else "the same calls, accesses, findings and tests")
    return different


def _events(records: list[Record], kind: str, fields: tuple[str, ...]) -> Iterator[Event]:
    for record in records:
        named = kind != "msg" or record.get("method") == "tools/call"
        if record["type"] == kind and named:
            yield (str(record.get("test")), *(_plain(record.get(field)) for field in fields))


def _plain(value: object) -> str:
    """A field as it can be compared: of a committed value only that it is there, because its salt differs."""
    return "committed" if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    sys.exit(main())
