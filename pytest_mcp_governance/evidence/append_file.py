"""A file that only grows by whole lines: all bytes of an append, or none.

Leaves out what the lines mean and what follows a failure; `ledger` decides that.
"""

import os
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class AppendFile:
    """A new file of mode 0600, opened for appending."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise EvidenceError(
                f"{path.name} exists already: a segment is written once, by one process. Choose another name."
            ) from None
        except OSError as error:
            raise EvidenceError(f"{path.name} cannot be created: {error.strerror}.") from None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Append all of `data`: one write, more where the system writes less.

        Raises:
            OSError: the write failed; the file was cut back to where it was (`repair` tries again).
        """
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                rest = memoryview(data)[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.repair()
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Forget everything after `size` bytes: undo an append whose counterpart failed."""
        self.size = size
        self.repair()

    def repair(self) -> bool:
        """Cut off a torn tail; False where even that failed."""
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Wait until the bytes are on the disk."""
        _sync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
