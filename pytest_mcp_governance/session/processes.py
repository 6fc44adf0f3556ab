"""Whether a process is still there. A zombie is not: in a container nobody may ever collect it."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; where the system does not tell a zombie from a process, one counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, and there
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # no /proc on this system, or the process ended just now and the next look will tell
    # The name in brackets may hold anything, also brackets; the state follows the last one (proc(5)).
    return stat.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])
