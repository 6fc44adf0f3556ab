"""Recording and deciding on a 2 KB call, beside the floor: the same ledger lines built, hashed and written.

Both in one process and in its processor time, 1/64 signature each; the budget is 3x.
Run: python benchmarks/record.py [CALLS]
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.session.resolve import FileResolver
from pytest_mcp_governance.session.scribe import Connection, Scribe
from pytest_mcp_governance.session.server import ServerSpec
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.wire import Exchange

POLICY = 'governance: 1\npolicy: bench\nrules:\n- {id: READ, allow: ["books.get_*"]}\n'


def main(calls: int) -> None:
    """Record, then write what was recorded once more without all that makes it a record."""
    with tempfile.TemporaryDirectory() as folder:
        recorded_s = _record(Path(folder), calls)
        floor_s = _floor(Path(folder))
    print(f"{calls} calls: recorded {recorded_s / calls * 1e6:.0f} us, floor {floor_s / calls * 1e6:.0f} us a call")
    print(f"ratio {recorded_s / floor_s:.2f} (budget 3)")


def _record(folder: Path, calls: int) -> float:
    segment = Segment(folder, run="bench", name="main", key=SigningKey.generate())
    segment.append("open", {"pid": 1})
    judge = Judge([load_policy(POLICY, name="p.yaml")], mode=None, resolver=FileResolver(folder))
    trial = Trial(segment, judge, ("bench", 1))
    spec = ServerSpec("books", "books", cwd=str(folder))
    connection = Connection("c1", gateway="g1", agent="a", server="books", digest=spec.digest, transport="stdio")
    scribe = Scribe(trial, connection)
    exchange = Exchange()
    arguments = {"id": "v1", "note": "lorem ipsum " * 160}
    lines = [
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": n,
                "method": "tools/call",
                "params": {"name": "get_vendor", "arguments": arguments},
            }
        ).encode()
        for n in range(calls)
    ]
    began = time.process_time()
    for line in lines:
        message = exchange.classify(line, "c2s")
        ref = scribe.message(message)
        event = message.event(ref, conn="c1", server="books", agent="a")
        trial.decide(event, None)
    took = time.process_time() - began
    segment.close()
    return took


def _floor(folder: Path) -> float:
    files = [folder / "seg" / "main.jsonl", folder / "seg" / "main.sd.jsonl"]
    values = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    key = SigningKey.generate()
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began = time.process_time()
    for number, value in enumerate(values):
        line = json.dumps(value, separators=(",", ":")).encode()
        digest = hashlib.sha256(line).digest()
        os.write(descriptor, line + b"\n")
        if number % 64 == 0:
            key.sign(digest)
    took = time.process_time() - began
    os.close(descriptor)
    return took


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
