"""Serves an in-process MCP server, an object of the test's own process, to the recorder: over a Unix socket.

One of the two modules that import `mcp`. The server runs on an event loop in a thread of its own, over the SDK's own
line transport, so the SDK writes every message anew: what the recorder gets is what the SDK made of it. Judges nothing.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import tempfile
import threading
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, cast

from pytest_mcp_governance.errors import ServerError
from pytest_mcp_governance.session.rpc import LINE_LIMIT_BYTES

# A line that begins with it is no message but what the server's end has to say, as a JSON text.
ASIDE = b"!"
_HANG_UP_S = 2.0


class _LowLevel(Protocol):
    """The SDK's low-level server, of 1.x and 2.x."""

    def create_initialization_options(self) -> object:
        """What its `run` needs."""

    async def run(self, read_stream: object, write_stream: object, initialization_options: object) -> None:
        """Serve one connection until its input ends."""


def low_level(server: object) -> _LowLevel | None:
    """The low-level server in what a suite may give; None where it is no MCP server.

    Knows the SDK's `FastMCP` (1.x), `MCPServer` (2.x) and `Server`, and `fastmcp.FastMCP`, by what they have.
    """
    for attribute in ("_mcp_server", "_lowlevel_server"):  # neither has a public name
        inner = getattr(server, attribute, None)
        if inner is not None:
            return cast(_LowLevel, inner)
    known = all(callable(getattr(server, name, None)) for name in ("create_initialization_options", "run"))
    return cast(_LowLevel, server) if known else None


class MemoryServer:
    """One in-process server at work.

    Args:
        name: the name that the suite gave it.
        server: an object that `low_level` knows.
    """

    def __init__(self, name: str, server: object) -> None:
        self._name = name
        self._server = server
        self._token = secrets.token_urlsafe(24)
        self._folder = Path(tempfile.mkdtemp(prefix="mcpg-", dir="/tmp" if os.path.isdir("/tmp") else None))
        self._path = str(self._folder / "s")
        self._ready = threading.Event()
        self._failed: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        # A daemon: where a tool of the server never returns, pytest must end all the same.
        self._thread = threading.Thread(target=self._run, name=f"MCP server {name}", daemon=True)

    def __repr__(self) -> str:
        return f"<MemoryServer: {self._name}>"

    def start(self) -> None:
        """Begin to serve.

        Raises:
            ServerError: its socket cannot be made.
        """
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise ServerError(f"in-process server {self._name!r} cannot be served: {self._failed.strerror}")

    @property
    def entry(self) -> dict[str, object]:
        """The server's entry, as the recorder is told of it."""
        kind = type(self._server)
        return {
            "memory": {"socket": self._path, "token": self._token, "kind": f"{kind.__module__}.{kind.__qualname__}"}
        }

    def close(self, patience_s: float = 5.0) -> None:
        """End its connections, its loop and its thread.

        Args:
            patience_s: how long the thread may take.

        Raises:
            ServerError: one of its tools blocks the loop and does not let it end.
        """
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(patience_s)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._thread.is_alive():
            raise ServerError(
                f"in-process server {self._name!r} still runs {patience_s:.0f} s after the test: one of its functions "
                "blocks the event loop. Make it `async`, or let it wait in a thread."
            )

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._connected(reader, writer)
            except asyncio.CancelledError:
                pass  # the test is over; asyncio's own server would tell it as an error
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_unix_server(connected, self._path, limit=LINE_LIMIT_BYTES)
        os.chmod(self._path, 0o600)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        token = (await reader.readline()).strip()
        if not secrets.compare_digest(token, self._token.encode()):
            return
        sink = _Sink(writer)
        try:
            await _converse(self._server, _Lines(reader), sink)
        except Exception as error:  # whatever a server raises, it is its end, and the recorder is told
            with contextlib.suppress(ConnectionError):
                sink.aside(_told(error))
                await sink.flush()
        with contextlib.suppress(OSError, TimeoutError):
            await sink.flush()
            writer.write_eof()
            async with asyncio.timeout(_HANG_UP_S):
                while await reader.read(65536):
                    pass  # to close over input that nobody read would take back the last words


class _Lines:
    """What the recorder sends, as the text file that the SDK's line transport reads."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._reading: asyncio.Task[bytes] | None = None
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[str]:
        while not self._ended:
            self._reading = asyncio.create_task(self._reader.readline())
            try:
                await asyncio.wait({self._reading})
            finally:
                self._reading.cancel()
            if self._reading.cancelled() or not (line := self._reading.result()):
                return
            yield line.decode("utf-8", "replace")  # as the SDK reads its stdin

    def end(self) -> None:
        """Nothing more is read: the server has ended by itself."""
        self._ended = True
        if self._reading is not None:
            self._reading.cancel()


class _Sink:
    """What the server says, as the text file that the SDK's line transport writes."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> int:
        self._writer.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    async def flush(self) -> None:
        await self._writer.drain()

    def aside(self, text: str) -> None:
        """Say something that is no message."""
        self._writer.write(ASIDE + json.dumps(text).encode() + b"\n")


async def _converse(server: object, lines: _Lines, sink: _Sink) -> None:
    """Run the server until the recorder hangs up; raises what the server raised."""
    import anyio
    from mcp.server.stdio import stdio_server

    inner = low_level(server)
    assert inner is not None  # checked where the suite gave it
    failure: Exception | None = None
    try:
        async with (
            _lifespan(server),
            stdio_server(lines, sink) as (read, write),  # type: ignore[arg-type]  # it only iterates, writes, flushes
            read,  # a server that does not start leaves them open
            write,
        ):
            try:
                await inner.run(read, write, inner.create_initialization_options())
            except Exception as error:
                failure = error
            lines.end()
    except* anyio.BrokenResourceError:
        pass  # a message came when the server had ended
    if failure is not None:
        raise failure


def _lifespan(server: object) -> AbstractAsyncContextManager[object]:
    """What `fastmcp.FastMCP` wants entered around its low-level server."""
    enter = getattr(server, "_lifespan_manager", None)
    return cast("AbstractAsyncContextManager[object]", enter()) if callable(enter) else contextlib.nullcontext()


def _told(error: BaseException) -> str:
    """The error as Python shows it; the task groups around it are the SDK's and say nothing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return "".join(traceback.format_exception(error))
