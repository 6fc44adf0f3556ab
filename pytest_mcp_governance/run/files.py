"""Files that a person names: read whole, and written whole or not at all: a temporary name, synced, then renamed."""

import os
from collections.abc import Iterable
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.safe_text import safe


def replace_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write `chunks` to `path`; whatever was there stays until all of it is stored.

    Raises:
        EvidenceError: it cannot be written; what was there is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except (OSError, ValueError) as error:
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise EvidenceError(f"{safe(str(path))} cannot be written: {reason}.") from None


def read_report(target: Path) -> bytes:
    """All bytes of a report file.

    Raises:
        EvidenceError: it is a folder, or cannot be read.
    """
    if os.path.isdir(target):
        raise EvidenceError(f"{safe(str(target))} is a folder; name the report in it, {safe(str(target))}/report.html.")
    try:
        return target.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise EvidenceError(f"{safe(str(target))} cannot be read: {reason}.") from None
