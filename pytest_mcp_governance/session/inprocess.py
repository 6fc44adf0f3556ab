"""The recorder's side of an in-process server: an upstream that leads back into the test's process.

The other side is `memory`, which runs the server. A line that begins with `!` holds its last words.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.session.memory import ASIDE
from pytest_mcp_governance.session.wire import LineSplitter

_READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class InProcessServer:
    """How to reach a server in the test's process.

    Attributes:
        name: its configured name.
        socket: path of the socket behind which it is served.
        kind: the qualified name of its class.
    """

    name: str
    socket: str
    token: str = field(repr=False)
    kind: str

    @classmethod
    def from_mapping(cls, name: str, value: Mapping[str, object]) -> "InProcessServer":
        """Read the entry that the plugin made.

        Raises:
            ConfigurationError: it is not one.
        """
        told = value.get("memory")
        if not isinstance(told, Mapping) or not all(isinstance(told.get(k), str) for k in ("socket", "token", "kind")):
            raise ConfigurationError(
                f"server {name!r}: an in-process server is given as an object by mcp_audit_servers"
            )
        return cls(name, told["socket"], told["token"], told["kind"])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over its kind: the only thing about it that is the same in the next run."""
        return hashlib.sha256(json.dumps(["memory", self.kind]).encode()).hexdigest()

    @property
    def transport(self) -> Literal["memory"]:
        """Its messages are written anew by the SDK."""
        return "memory"

    @property
    def needs_browser(self) -> bool:
        """It cannot ask for one."""
        return False

    @property
    def remedy(self) -> str:
        """What to do to see why it ended."""
        return f"It runs inside the test's process; mcp_audit_servers gave it as {self.name!r}."

    async def start(self, cdp: tuple[str, int] | None) -> "SocketUpstream":
        """Connect to it.

        Raises:
            ConfigurationError: it is not there any more.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            raise ConfigurationError(
                f"in-process server {self.name!r} is not served any more: it lives as long as its test"
            ) from None
        writer.write(self.token.encode() + b"\n")
        return SocketUpstream(reader, writer)


class SocketUpstream:
    """A connection to an in-process server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._splitter = LineSplitter(sys.maxsize)  # the limit is the relay's
        self._asides: asyncio.Queue[bytes] = asyncio.Queue()
        self._failed = False
        self._ended = asyncio.Event()

    async def read(self) -> bytes:
        """The next of its messages, each with its newline; empty at their end."""
        while True:
            try:
                chunk = await self._reader.read(_READ_BYTES)
            except ConnectionError:
                chunk = b""
            if not chunk:
                self._end()
                return b""
            lines = [line for line in self._splitter.feed(chunk) if isinstance(line, bytes)]  # none is too long
            messages = [line for line in lines if not self._is_aside(line)]
            if messages:
                return b"\n".join(messages) + b"\n"

    def _is_aside(self, line: bytes) -> bool:
        if not line.startswith(ASIDE):
            return False
        self._failed = True
        with contextlib.suppress(ValueError):
            self._asides.put_nowait(str(json.loads(line[1:])).encode())
        return True

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._asides.put_nowait(b"")

    async def read_stderr(self) -> bytes:
        """What it said beside its messages: the exception that ended it."""
        return await self._asides.get()

    async def write(self, data: bytes) -> None:
        """Pass bytes to it.

        Raises:
            ConnectionError: it does not read any more.
        """
        self._writer.write(data)
        await self._writer.drain()

    def close_input(self) -> None:
        """Tell it that nothing more will come."""
        with contextlib.suppress(OSError):  # it has hung up already
            if not self._writer.is_closing():
                self._writer.write_eof()

    async def end(self, grace_s: float = 2.0) -> int:
        """Wait until it has hung up, then hang up; return 1 where an exception ended it, else 0."""
        self.close_input()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    while await self.read():
                        pass  # the agent has left, or cannot be told any more
        finally:
            self._end()
            self._writer.close()
        return int(self._failed)
