"""What a reader names to be verified: a report file, its bytes, or a run folder, opened as a source.

Large files are mapped, not read. Leaves out looking inside.
"""

import mmap
import os
import stat
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource, FolderSource, Source

_MAP_FROM_BYTES = 67_108_864


def open_target(target: str | os.PathLike[str] | bytes) -> Source:
    """Open a report file, its bytes, or a run folder.

    Raises:
        EvidenceError: it does not exist, cannot be read, or is neither; the message says what was expected.
    """
    if isinstance(target, bytes):
        return ContainerSource(target)
    path = Path(target)
    shown = safe(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _open_folder(path, shown)
        if not stat.S_ISREG(mode):
            raise EvidenceError(f"{shown} is neither a file nor a folder.")
        with path.open("rb") as file:
            if path.stat().st_size >= _MAP_FROM_BYTES:
                return ContainerSource(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return ContainerSource(file.read())
    except FileNotFoundError:
        raise EvidenceError(f"{shown} does not exist. Name a governance report or a run folder.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise EvidenceError(f"{shown} cannot be read: {reason}.") from None


def _open_folder(path: Path, shown: str) -> Source:
    folder = FolderSource(path)
    if names.OPEN not in folder.paths():
        raise EvidenceError(
            f"{shown} is no run folder: {names.OPEN} is missing. Run folders are "
            ".mcp-governance/runs/<run>/; a report is a single .html file."
        )
    return folder
