"""One HTTP request of the recorder to an MCP server, and its answer as it comes: nothing is buffered, nothing retried.

HTTP/1.1 over a connection of its own; certificates are checked. Leaves out what the bodies say and what follows.
"""

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import h11

from pytest_mcp_governance.errors import ConfigurationError, ServerError
from pytest_mcp_governance.session.http.headers import Headers

_CONNECT_S = 10.0
_READ_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is reached. Its `repr` and texts name the origin only: a path or query can be a credential.

    Attributes:
        name: the server's name.
        url: its whole URL.
    """

    name: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, name: str, url: str) -> "Target":
        """Read an URL that `ServerSpec` has checked."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(name, parts.scheme, parts.hostname or "", port, path)

    def __repr__(self) -> str:
        return f"<Target {self.name}: {self.origin}>"

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"


@dataclass(slots=True)
class Answer:
    """The head of a server's answer."""

    status: int
    headers: Headers


class ServerRequest:
    """A request that was sent; then its answer, part by part."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target = target
        self._reader = reader
        self._writer = writer
        self._start = b""
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    @classmethod
    async def send(cls, target: Target, method: str, headers: Headers, body: bytes | None) -> "ServerRequest":
        """Connect and send the whole request.

        Raises:
            ServerError: the server cannot be reached, is not who its certificate says, or hung up.
        """
        reader, writer = await _connect(target)
        request = cls(target, reader, writer)
        try:
            head = h11.Request(method=method, target=target.path, headers=list(headers))
            request._write(head)
            if body:
                request._write(h11.Data(data=body))
            request._write(h11.EndOfMessage())
            await writer.drain()
        except h11.LocalProtocolError as error:
            request.close()
            raise ServerError(f"server {target.name!r}: the request cannot be sent on: {error}") from None
        except OSError as error:
            request.close()
            raise ServerError(_hung_up(target, "while the request was sent", error)) from None
        except BaseException:
            request.close()
            raise
        return request

    async def head(self) -> Answer:
        """Wait for status and headers.

        Raises:
            ServerError: the server hung up, or speaks no HTTP.
        """
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        assert isinstance(event, h11.Response)
        return Answer(event.status_code, tuple((bytes(name), bytes(value)) for name, value in event.headers))

    async def read(self) -> bytes:
        """The next bytes of the body as they came, empty at its end.

        Raises:
            ServerError: the server hung up before the body's end.
        """
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def close(self) -> None:
        """Close the connection, which tells the server that nobody waits any more."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _next(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(_READ_BYTES)
                self._start = (self._start + data[:5])[:5]
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise ServerError(self._nonsense(error)) from None
        except OSError as error:
            raise ServerError(_hung_up(self._target, "before its answer was complete", error)) from None
        assert not isinstance(event, type)
        if isinstance(event, h11.ConnectionClosed):
            raise ServerError(_hung_up(self._target, "without an answer"))
        return event

    def _nonsense(self, error: h11.RemoteProtocolError) -> str:
        if self._reader.at_eof() and b"HTTP/".startswith(self._start):
            return _hung_up(self._target, "before its answer was complete")
        return (
            f"server {self._target.name!r}: what {self._target.origin} answered is not HTTP ({error}). "
            "Is the URL's port the MCP server's, and http or https right?"
        )


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = tls() if target.scheme == "https" else None
    try:
        async with asyncio.timeout(_CONNECT_S):
            return await asyncio.open_connection(target.host, target.port, ssl=context, limit=_READ_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise ServerError(
            f"server {target.name!r}: the certificate of {target.origin} is not trusted ({error.verify_message}). "
            "Where that is the right server, name the file with its authority in the environment variable "
            "SSL_CERT_FILE (in the place of this machine's own) or NODE_EXTRA_CA_CERTS (beside them)."
        ) from None
    except ssl.SSLError as error:
        raise ServerError(
            f"server {target.name!r}: no TLS with {target.origin} ({error.reason}). Is the URL's port one for https?"
        ) from None
    except TimeoutError:
        raise ServerError(f"server {target.name!r}: {target.origin} did not answer within {_CONNECT_S:.0f} s") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServerError(
            f"server {target.name!r}: {target.origin} cannot be reached ({reason}). "
            "Start the server, or correct the url in mcp.json."
        ) from None


def _hung_up(target: Target, when: str, error: OSError | None = None) -> str:
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return f"server {target.name!r}: {target.origin} closed the connection {when}{reason}. Its own log may say why."


@cache
def tls() -> ssl.SSLContext:
    """How certificates are checked: by this machine's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR, and
    those of NODE_EXTRA_CA_CERTS beside them, as npx and uvx do.

    Raises:
        ConfigurationError: a named file cannot be read.
    """
    context = ssl.create_default_context()
    for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        if path := os.environ.get(name):
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                reason = getattr(error, "strerror", None) or "no certificate in it"
                raise ConfigurationError(f"{name} names a file of certificates that cannot be used: {reason}") from None
    return context
