"""The recorder: the process beside a pytest process that owns a segment, serves agents and answers the plugin.

Opens the socket, and ends in order when it is told to or when the tests' process is gone. What it is asked meanwhile
is `operations`'; what becomes of the run afterwards is the `run` package's, reached through `MainDesk`.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_mcp_governance.errors import LedgerWriteError, RecorderError
from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.session.desk import MainDesk
from pytest_mcp_governance.session.operations import Operations
from pytest_mcp_governance.session.processes import is_alive
from pytest_mcp_governance.session.rpc import LINE_LIMIT_BYTES, Link, answer
from pytest_mcp_governance.session.settings import RecorderConfig

_TICK_S = 1.0


class RecorderService:
    """One recorder at work.

    Args:
        config: its settings.
        segment: the ledger segment it alone writes.
        desk: main's part, None in a worker's recorder.
        link: the way to main, None in main itself.
    """

    def __init__(self, config: RecorderConfig, segment: Segment, *, desk: MainDesk | None, link: Link | None) -> None:
        self._config = config
        self._desk = desk
        self._link = link
        self._folder = Path(tempfile.mkdtemp(prefix="mcpg-", dir="/tmp" if os.path.isdir("/tmp") else None))
        self._socket = str(self._folder / "s")
        self._token = secrets.token_urlsafe(24)
        self._operations = Operations(config, segment, desk=desk, link=link, folder=self._folder, socket=self._socket)
        self._done = asyncio.Event()
        self._owner = os.getppid()

    async def serve(self, announce: Callable[[Mapping[str, object]], None]) -> None:
        """Serve until the segment, or for main the run, is closed.

        Args:
            announce: called once with where and how to reach this recorder.
        """
        server = await asyncio.start_unix_server(self._connected, self._socket, limit=LINE_LIMIT_BYTES)
        os.chmod(self._socket, 0o600)
        ticking = asyncio.create_task(self._tick())
        try:
            announce({"socket": self._socket, "token": self._token, "pid": os.getpid()})
            await self._done.wait()
        finally:
            ticking.cancel()
            server.close()
            self._operations.front.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            token = (await reader.readline()).decode("ascii", "replace").strip()
            if secrets.compare_digest(token.encode(), self._token.encode()):
                await answer(reader, writer, self._perform)
            elif not await self._operations.gateways.serve(token, reader, writer):
                self._operations.refused(token)
        except (ConnectionError, LedgerWriteError):
            pass  # the other side is gone, or the full disk is reported where the plugin asks next
        finally:
            writer.close()

    async def _perform(self, operation: str, arguments: Mapping[str, object]) -> object:
        if operation == "close_segment":
            return await self._close_segment()
        if operation == "finish_run":
            return await self._finish_run(arguments)
        handler = self._operations.find(operation)
        if handler is not None:
            return await handler(arguments)
        if self._desk is not None:
            result = await self._desk.perform(operation, arguments)
            if self._desk.finished:
                self._done.set()
            return result
        if self._link is not None and operation == "selection":
            return await self._link.call(operation, **arguments)
        raise RecorderError(f"this recorder knows no operation {operation!r}")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if self._operations.segment.unsealed:
                with contextlib.suppress(LedgerWriteError):
                    self._operations.segment.checkpoint()
            if self._is_orphan():
                try:
                    await self._end_as_orphan()
                finally:
                    self._done.set()  # nobody is left to hear an error, and nothing may go on recording alone

    def _is_orphan(self) -> bool:
        if self._config.main:
            return not is_alive(self._config.controller_pid)
        return os.getppid() != self._owner

    async def _end_as_orphan(self) -> None:
        await self._operations.gateways.close_all()
        if self._desk is not None:
            reason = "the test process ended without closing the run"
            await self._desk.perform("finish_run", {"complete": False, "reason": reason})
        else:
            await self._close_segment()

    async def _close_segment(self) -> object:
        await self._operations.gateways.close_all()
        summary = self._operations.segment.close()
        if self._link is not None:
            with contextlib.suppress(RecorderError):
                await self._link.call("segment_closed", name=summary.name)
            self._link.close()
        self._done.set()
        return {"lines": summary.lines}

    async def _finish_run(self, arguments: Mapping[str, object]) -> object:
        if self._desk is None:
            raise RecorderError("only the run's main recorder closes a run")
        await self._operations.gateways.close_all()
        try:
            return await self._desk.perform("finish_run", arguments)
        finally:
            # Let the reply leave before the loop ends.
            asyncio.get_running_loop().call_later(0.05, self._done.set)
