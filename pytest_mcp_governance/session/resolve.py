"""Looks up in the file system what the policy must not guess: where a path really leads."""

import os
from pathlib import Path


class FileResolver:
    """Resolves paths as the machine sees them now.

    Args:
        base: folder that relative paths start from.
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    def real_path(self, path: str, *, root: str | None = None) -> str:
        """The absolute path with `..`, `~` and every symlink resolved; parts that do not exist stay as written."""
        start = os.path.join(self._base, root) if root else str(self._base)
        return os.path.realpath(os.path.join(start, os.path.expanduser(path)))
