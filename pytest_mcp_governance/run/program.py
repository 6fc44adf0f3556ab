"""The recorder program: `python -m pytest_mcp_governance.run.program`, settings on stdin, address on stdout.

Composes the recorder with what opens and closes a run. Started by the plugin, and by a worker's recorder for main.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import cast

from pytest_mcp_governance.errors import GovernanceError, RecorderError
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.run.open import OpenRun, key_text, open_run, open_worker_segment
from pytest_mcp_governance.session.desk import MainDesk
from pytest_mcp_governance.session.recorder import RecorderService
from pytest_mcp_governance.session.rpc import Link, decode_reply, encode_error
from pytest_mcp_governance.session.settings import RecorderConfig
from pytest_mcp_governance.session.spawning import spawn

_WAIT_FOR_MAIN_S = 30.0
_POLL_S = 0.02


def main() -> int:
    """Run one recorder until its segment, or for main the run, is closed; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; they tell the recorder to close
    # So is what a service manager sends to all processes of a unit. No SIG_IGN: servers would inherit that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        config = RecorderConfig.from_json(sys.stdin.readline())
        asyncio.run(_record_main(config) if config.main else _record_worker(config))
    except GovernanceError as error:
        _say({"error": encode_error(error)})
        return 1
    return 0


async def _record_main(config: RecorderConfig) -> None:
    # It brings all that draws a report, and a worker's recorder never does.
    from pytest_mcp_governance.run.rotation import Runs

    run = open_run(config)
    address: dict[str, object] = {}

    def announce(found: Mapping[str, object]) -> None:
        address.update(found)
        _publish(run.config, {"ok": address})
        _say({"ok": address})

    def opened(later: OpenRun) -> None:
        nonlocal run
        run = later
        _publish(later.config, {"ok": address})

    desk = MainDesk(Runs(run, opened), frozenset(config.env_secrets))
    service = RecorderService(config, run.segment, desk=desk, link=None)
    try:
        await service.serve(announce)
    finally:
        run.config.control_file.unlink(missing_ok=True)
        config.lock_file.unlink(missing_ok=True)


async def _record_worker(config: RecorderConfig) -> None:
    _start_main_unless_started(config)
    link = await _reach_main(config)
    key = SigningKey.generate()
    await link.call("register", name=config.segment, key=key_text(key), pid=os.getpid())
    if config.env_secrets:
        await link.call("secrets", values=list(config.env_secrets))
    segment = open_worker_segment(config, key)
    service = RecorderService(config, segment, desk=None, link=link)
    await service.serve(lambda address: _say({"ok": address}))


def _start_main_unless_started(config: RecorderConfig) -> None:
    config.run_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(config.lock_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise RecorderError(f"the evidence folder cannot be written: {error.strerror}") from None
    try:
        spawn(config.for_main())
    except GovernanceError as error:
        # The other workers and the controller wait for main: they get the same error at once.
        _publish(config, {"error": encode_error(error)})
        raise


def _publish(config: RecorderConfig, reply: Mapping[str, object]) -> None:
    temporary = config.control_file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(reply, file)
    temporary.rename(config.control_file)


async def _reach_main(config: RecorderConfig) -> Link:
    deadline = time.monotonic() + _WAIT_FOR_MAIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            address = cast(dict[str, str], decode_reply(config.control_file.read_bytes()))
            return await Link.open(address["socket"], address["token"])
        await asyncio.sleep(_POLL_S)
    raise RecorderError(
        f"the run's main recorder did not start within {_WAIT_FOR_MAIN_S:.0f} s; see the first worker's error"
    )


def _say(reply: Mapping[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
