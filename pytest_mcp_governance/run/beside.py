"""Closing a run in a process of its own, so that a recorder goes on recording and keeps its memory.

The signing key does not leave the recorder: this process asks for the one signature, over its pipe. Started as
`python -m pytest_mcp_governance.run.beside`. Leaves out what closing is (`close`).
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Mapping, Set
from typing import cast

from pytest_mcp_governance.errors import GovernanceError, RecorderError
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.ledger import SegmentSummary
from pytest_mcp_governance.evidence.statements import CLOSE_TYPE, sign_bundle
from pytest_mcp_governance.run.close import Ended, close_run
from pytest_mcp_governance.session.rpc import LINE_LIMIT_BYTES, decode_reply, encode_error
from pytest_mcp_governance.session.settings import RecorderConfig

PROGRAM = "pytest_mcp_governance.run.beside"
_NICE = 10  # agents that are at work go first


async def close_beside(
    run: Ended, identity: SigningKey, *, complete: bool, reason: str, secrets: Set[str]
) -> dict[str, object]:
    """Close a run of one segment in another process.

    Args:
        run: the run; its segment is closed.
        identity: signs that it ended; stays here.
        complete: the session ended in order.
        reason: why not, where it did not.
        secrets: values that the report withholds.

    Returns:
        The fields of `session.control.RunResult`.

    Raises:
        GovernanceError: what closing raised, or the process ended before its time; the run then stays open.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=LINE_LIMIT_BYTES,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    told = {
        "config": run.config.to_json(),
        "main": [run.main.name, run.main.lines, run.main.root, base64.b64encode(run.main.key.raw).decode()],
        "signer": base64.b64encode(run.signer.raw).decode(),
        "ephemeral": run.ephemeral,
        "open_digest": run.open_digest,
        "continued_by": run.continued_by,
        "complete": complete,
        "reason": reason,
        "secrets": sorted(secrets),
    }
    try:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        await process.stdin.drain()
        statement = cast("dict[str, object]", decode_reply(await _line(process)))
        _check(statement, run)
        process.stdin.write(sign_bundle(statement, identity) + b"\n")
        await process.stdin.drain()
        return cast("dict[str, object]", decode_reply(await _line(process)))
    except ConnectionError:
        raise _gone(run.config) from None
    finally:
        process.stdin.close()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ConnectionError
    return line


def _gone(config: RecorderConfig) -> RecorderError:
    return RecorderError(
        f"the process that closes run {config.run} ended before its time; what is recorded is kept in "
        f"{config.run_dir} and can be checked with: mcp-governance verify {config.run_dir}"
    )


def _check(statement: Mapping[str, object], run: Ended) -> None:
    """Nothing but the end of this very run is signed, whatever asks for it."""
    predicate = statement.get("predicate")
    segments = predicate.get("segments") if isinstance(predicate, dict) else None
    if (
        not isinstance(predicate, dict)
        or statement.get("predicateType") != CLOSE_TYPE
        or (predicate.get("run"), predicate.get("open")) != (run.config.run, run.open_digest)
        or not isinstance(segments, list)
        or [(s["lines"], s["root"]) for s in segments] != [(run.main.lines, run.main.root)]
    ):
        raise RecorderError("what was to be signed is not the end of the run that was closed")


def main() -> None:
    """Close the run that standard input names; ask for the signature in between."""
    os.nice(_NICE)
    told = json.loads(sys.stdin.readline())
    name, lines, root, key = told["main"]
    run = Ended(
        RecorderConfig.from_json(told["config"]),
        SegmentSummary(name, PublicKey(base64.b64decode(key)), lines, root),
        PublicKey(base64.b64decode(told["signer"])),
        told["ephemeral"],
        told["open_digest"],
        told["continued_by"],
    )
    try:
        result = close_run(
            run, _signed, complete=told["complete"], reason=told["reason"], workers={}, secrets=set(told["secrets"])
        )
    except GovernanceError as error:
        _say({"error": encode_error(error)})
    else:
        _say({"ok": result})


def _signed(statement: Mapping[str, object]) -> bytes:
    _say({"ok": statement})
    return sys.stdin.buffer.readline().rstrip(b"\n")


def _say(reply: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
