"""An MCP server that is reached by URL: what its entry in `mcp.json` says, checked. Connects to nothing."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.session.http.upstream import Target, tls

HttpTransport = Literal["http", "sse"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TYPES: Mapping[str, HttpTransport] = {"http": "http", "streamable-http": "http", "sse": "sse"}
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class HttpServer:
    """How to reach a server; neither `repr` nor any text of it shows more of the URL than its origin."""

    name: str
    transport: HttpTransport
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_mapping(cls, name: str, value: Mapping[str, object]) -> "HttpServer":
        """Read an entry {"url", "headers"?, "type"?}.

        `type` is "http" (or "streamable-http"), or "sse" for servers of 2024-11-05; where it is not said, an URL whose
        path ends in /sse is one of those. `transport`, which other clients write, means the same.

        Raises:
            ConfigurationError: a member is of the wrong type or cannot be used; no value of a header is shown.
        """
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(f"server name {name[:80]!r}: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
        url = _url(name, value.get("url"))
        return cls(name, _transport(name, value, url), url, _headers(name, value.get("headers") or {}))

    @property
    def target(self) -> Target:
        """Where requests go."""
        return Target.of(self.name, self.url)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of transport, URL and the names of the headers."""
        parts = [self.transport, self.url, *sorted(name.lower() for name in self.headers)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def credentials(self) -> frozenset[str]:
        """Values that no report may show: those of the headers, also without their scheme, and of the URL's query."""
        found = {part for value in self.headers.values() for part in (value, value.partition(" ")[2])}
        found |= {part.partition("=")[2] for part in urlsplit(self.url).query.split("&")}
        return frozenset(value for value in found if len(value) >= 6)

    def require_certificates(self) -> None:
        """See that the authorities for https can be read.

        Raises:
            ConfigurationError: a file of certificates cannot be.
        """
        if self.target.scheme == "https":
            tls()


def _url(name: str, url: object) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"server {name!r}: url must be a text, got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        password = parts.username is not None or parts.password is not None
    except ValueError:
        sound = password = False
    if not sound or re.search(r"[^\x21-\x7e]", url) or "#" in url:
        raise ConfigurationError(
            f"server {name!r}: its url is none that can be reached; expected http://HOST:PORT/PATH or https://…, "
            "percent-encoded and without a fragment"
        )
    if password:
        raise ConfigurationError(
            f"server {name!r}: its url holds a user name or password; write them into its headers, such as "
            '{"Authorization": "Basic ${TOKEN}"}'
        )
    return url


def _transport(name: str, value: Mapping[str, object], url: str) -> HttpTransport:
    stated = value.get("type", value.get("transport"))
    if stated is None:
        return "sse" if urlsplit(url).path.rstrip("/").endswith("/sse") else "http"
    found = _TYPES.get(stated.replace("_", "-").lower()) if isinstance(stated, str) else None
    if found is None:
        raise ConfigurationError(
            f"server {name!r}: type {str(stated)[:40]!r} is none of http, streamable-http, sse"
            + (" (an entry of type stdio has a command, and no url)" if stated == "stdio" else "")
        )
    return found


def _headers(name: str, headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping) or not all(isinstance(t, str) for pair in headers.items() for t in pair):
        raise ConfigurationError(f"server {name!r}: headers must map names to texts")
    seen: set[str] = set()
    for header, value in headers.items():
        if _HEADER_NAME.fullmatch(header) is None or header.lower() in _OURS:
            raise ConfigurationError(f"server {name!r}: {header[:60]!r} is no name of a header that can be set")
        if header.lower() in seen:
            raise ConfigurationError(f"server {name!r}: the header {header[:60]!r} is set twice")
        if _HEADER_VALUE.fullmatch(value) is None or value != value.strip(" \t"):
            raise ConfigurationError(
                f"server {name!r}: the value of its header {header[:60]!r} holds a line break or another character "
                "that no header can carry, or a space at an end; is the variable in it read from a file?"
            )
        seen.add(header.lower())
    return dict(headers)
