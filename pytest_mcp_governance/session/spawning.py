"""Starts a recorder's process: with an environment of few names, and its settings over stdin.

Standard library only. Leaves out what it is asked afterwards (`control`).
"""

import os
import subprocess
import sys
import tempfile
from typing import cast

from pytest_mcp_governance.errors import GovernanceError, RecorderError
from pytest_mcp_governance.session.rpc import decode_reply
from pytest_mcp_governance.session.server import INHERITED
from pytest_mcp_governance.session.settings import PROGRAM, RECORDER_ENVIRONMENT, RecorderConfig


def spawn(config: RecorderConfig) -> tuple["subprocess.Popen[bytes]", dict[str, object]]:
    """Start a recorder process in a session of its own; return it and its address.

    Raises:
        GovernanceError: it could not start.
    """
    names = (*INHERITED, *RECORDER_ENVIRONMENT)
    env = {k: os.environ[k] for k in names if k in os.environ}
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                # -P: a module in the folder that the agent may write to must not become part of the recorder.
                [sys.executable, "-P", "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RecorderError(f"the recorder process cannot be started with {sys.executable}: {reason}") from None
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(config.to_json().encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once; its reply, or its log, says why
        line = process.stdout.readline()
        process.stdout.close()
        if line:
            try:
                return process, cast(dict[str, object], decode_reply(line))
            except GovernanceError:
                process.wait()
                raise
        process.wait()
        log.seek(0)
        last = log.read().decode("utf-8", "replace").strip().splitlines()[-3:]
        said = " | ".join(last) or "no output"
        raise RecorderError(f"the recorder process ended at its start with status {process.returncode}: {said}")
