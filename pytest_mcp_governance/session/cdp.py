"""A Chrome DevTools Protocol connection: requests, replies and events over one websocket.

Knows no domain of the protocol beyond that; browser.py and capture.py say what to ask.
Source: https://chromedevtools.github.io/devtools-protocol/ (flattened sessions).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from pytest_mcp_governance.errors import CaptureError

CdpObject = Mapping[str, object]
EventHandler = Callable[[str, CdpObject], None]

_CONNECT_TIMEOUT_S = 5.0
_MAX_REPLY_BYTES = 64 * 1024 * 1024


class CdpConnection:
    """One open connection to a browser; made by `CdpConnection.open`."""

    def __init__(self, socket: ClientConnection, ws_url: str) -> None:
        self.on_event: EventHandler = lambda method, params: None  # must not raise
        self._socket = socket
        self._address = urlsplit(ws_url)
        self._replies: dict[int, asyncio.Future[CdpObject]] = {}
        self._last_id = 0
        self._gone = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, ws_url: str) -> CdpConnection:
        """Connect to a browser's own websocket.

        Args:
            ws_url: `ws://127.0.0.1:PORT/devtools/browser/ID`.

        Raises:
            CaptureError: nothing answers at that address within 5 seconds.
        """
        try:
            socket = await connect(
                ws_url,
                max_size=_MAX_REPLY_BYTES,
                open_timeout=_CONNECT_TIMEOUT_S,
                ping_interval=None,
                proxy=None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise CaptureError(f"no browser answers at its debugging address: {error}") from error
        return cls(socket, ws_url)

    @property
    def gone(self) -> bool:
        """Whether the browser ended or the connection broke."""
        return self._gone

    async def call(self, method: str, params: CdpObject | None = None, session: str | None = None) -> CdpObject:
        """Send one request and wait, without a limit, for its result.

        Raises:
            CaptureError: the browser answered with an error, or went away.
        """
        if self._gone:
            raise CaptureError("the browser is gone")
        self._last_id += 1
        number = self._last_id
        message: dict[str, object] = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        reply: asyncio.Future[CdpObject] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            await self._socket.send(json.dumps(message))
            return await reply
        except WebSocketException as error:
            raise CaptureError("the browser is gone") from error
        finally:
            self._replies.pop(number, None)

    async def targets(self) -> tuple[CdpObject, ...]:
        """Return the browser's targets (id, type, title, url), the most recently activated first.

        The order is what the HTTP list has and `Target.getTargets` lacks; no page needs to answer for it.

        Raises:
            CaptureError: the browser did not answer, or not with a list.
        """
        host, port = self._address.hostname or "", self._address.port or 0
        try:
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /json/list HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?im)^content-length: *(\d+)", head)
                targets = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            finally:
                writer.close()
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise CaptureError("the browser does not list its pages") from error
        if not isinstance(targets, list) or not all(isinstance(target, dict) for target in targets):
            raise CaptureError("the browser does not list its pages")
        return tuple(targets)

    async def close(self) -> None:
        """Hang up; the browser keeps running."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self._take(cast("dict[str, Any]", json.loads(text)))
        except (WebSocketException, OSError, ValueError):
            pass  # whatever broke, the browser is gone for us: that is said to every waiting call below
        finally:
            self._gone = True
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(CaptureError("the browser is gone"))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self.on_event(str(message.get("method")), message.get("params") or {})
            return
        reply = self._replies.get(message["id"])
        if reply is None or reply.done():
            return  # late: whoever asked has stopped waiting
        if "error" in message:
            reply.set_exception(CaptureError(str(message["error"].get("message", "unnamed browser error"))))
        else:
            reply.set_result(message.get("result") or {})
