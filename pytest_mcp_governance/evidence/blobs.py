"""Blobs: bytes stored once under their SHA-256, private, complete or absent.

Leaves out what a blob means; records refer to it.
"""

import hashlib
import os
from pathlib import Path

from pytest_mcp_governance.errors import LedgerWriteError

TEMPORARY_PREFIX = ".tmp-"


class BlobStore:
    """The `blob/` folder of a run. Several processes may store into it at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._counter = 0
        self.stored_bytes = 0

    def store(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex; stored before means nothing to do.

        Raises:
            LedgerWriteError: the file system refuses; nothing is left under the final name.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if path.exists():
            return digest
        self._counter += 1
        temporary = self._folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{self._counter}-{digest[:16]}"
        try:
            self._write(temporary, data)
            temporary.rename(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise LedgerWriteError(f"A blob of {len(data)} bytes could not be stored: {error.strerror}.") from None
        self.stored_bytes += len(data)
        return digest

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
