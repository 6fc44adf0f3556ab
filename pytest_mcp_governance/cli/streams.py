"""Standard output and standard error that somebody stopped reading: the rest is dropped, and the exit code stays.

`mcp-governance verify REPORT | head -1` must end with what it found: click ends with 1 there, which is TAMPERED.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast


class _Lasting:
    """A text stream that goes on, into nothing, where its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())  # what is buffered still goes there, and nothing complains at the end
        os.close(nothing)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def outlast_their_readers() -> None:
    """Put such streams in the place of this process's own."""
    if sys.stdout is not None:
        sys.stdout = cast(TextIO, _Lasting(sys.stdout))
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, _Lasting(sys.stderr))
