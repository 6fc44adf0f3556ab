"""How the pieces around a recorder talk to it: one JSON object a line over its Unix socket, a token first.

Carries calls, results and `GovernanceError`s; knows none of the operations.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import BinaryIO

from pytest_mcp_governance import errors
from pytest_mcp_governance.errors import GovernanceError, PolicyError, RecorderError

LINE_LIMIT_BYTES = 256 * 1024 * 1024
Handler = Callable[[str, Mapping[str, object]], Awaitable[object]]


def encode_call(operation: str, arguments: Mapping[str, object]) -> bytes:
    """One call as a line."""
    return json.dumps({"op": operation, "args": arguments}).encode() + b"\n"


def decode_reply(line: bytes) -> object:
    """The result in a reply.

    Raises:
        GovernanceError: the error that the other side raised, of the same class.
        RecorderError: the line is no reply.
    """
    try:
        reply = json.loads(line)
    except ValueError:
        raise RecorderError(f"the recorder answered with something that is no reply ({len(line)} bytes)") from None
    if "error" in reply:
        raise _decode_error(reply["error"])
    return reply["ok"]


def encode_error(error: GovernanceError) -> dict[str, object]:
    """An error with its class and, for a policy, its place."""
    fields: dict[str, object] = {}
    if isinstance(error, PolicyError):
        fields = {k: getattr(error, k) for k in ("message", "file", "line", "column", "hint")}
    return {"type": type(error).__name__, "text": str(error), "fields": fields}


def _decode_error(data: Mapping[str, object]) -> GovernanceError:
    if data["type"] == "PolicyError":
        fields = dict(data["fields"])  # type: ignore[call-overload]  # written by encode_error
        return PolicyError(fields.pop("message"), **fields)
    kind = getattr(errors, str(data["type"]), RecorderError)
    made = kind(str(data["text"]))
    return made if isinstance(made, GovernanceError) else RecorderError(str(data["text"]))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    """Serve calls from one connection, one after another, until it closes."""
    while line := await reader.readline():
        call = json.loads(line)
        try:
            reply: dict[str, object] = {"ok": await handler(call["op"], call["args"])}
        except GovernanceError as error:
            reply = {"error": encode_error(error)}
        except Exception as error:  # the other side waits for an answer, whatever went wrong here
            text = f"the recorder failed in {call['op']!r}: {type(error).__name__}: {error}"
            reply = {"error": encode_error(RecorderError(text))}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()


class Link:
    """A worker's recorder calling main's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: str, token: str) -> "Link":
        """Connect.

        Raises:
            OSError: nobody listens.
        """
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT_BYTES)
        writer.write(token.encode() + b"\n")
        return cls(reader, writer)

    async def call(self, operation: str, **arguments: object) -> object:
        """Call an operation and wait for its result.

        Raises:
            GovernanceError: what the other side raised, or RecorderError when it is gone.
        """
        async with self._lock:
            try:
                self._writer.write(encode_call(operation, arguments))
                await self._writer.drain()
                line = await self._reader.readline()
            except OSError as error:
                raise RecorderError(f"the run's main recorder is gone: {error.strerror}") from None
        if not line:
            raise RecorderError("the run's main recorder ended; this run cannot be closed and stays INCOMPLETE")
        return decode_reply(line)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class BlockingLink:
    """One connection to a recorder, for one call at a time."""

    def __init__(self, address: Mapping[str, object]) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(address["socket"]))
            self._socket.sendall(str(address["token"]).encode() + b"\n")
        except OSError:
            self._socket.close()
            raise
        self._replies: BinaryIO = self._socket.makefile("rb")

    def ask(self, call: bytes, timeout_s: float) -> bytes:
        """Send a call and return its reply, empty where the recorder is gone.

        Raises:
            TimeoutError: it did not answer in time; what comes later is nobody's reply.
        """
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(call)
            return self._replies.readline()
        except TimeoutError:
            raise
        except (OSError, ValueError):  # ValueError: hung up already
            return b""

    def close(self) -> None:
        """Hang up."""
        self._replies.close()
        self._socket.close()
