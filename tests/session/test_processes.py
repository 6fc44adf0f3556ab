"""Who is alive decides whether a run still waits for a recorder."""

import os
import subprocess
import sys

from pytest_mcp_governance.session.processes import is_alive


def test_this_process_is_alive_and_a_collected_one_is_not() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_alive(os.getpid())
    assert not is_alive(ended.pid)


def test_a_zombie_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert not is_alive(ended.pid) or sys.platform != "linux"
    ended.wait()
