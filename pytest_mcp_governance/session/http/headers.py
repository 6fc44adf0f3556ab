"""HTTP headers of an audited exchange: which pass, which never do, and what a record says of each.

Leaves out whether `Mcp-*` headers agree with the message (see `strict`).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping

Headers = tuple[tuple[bytes, bytes], ...]

# Of one connection, not of the message (RFC 9110, 7.6.1), or set anew because the other side has another address.
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"expect"),
    }
)
_NOT_TO_SERVER = _HOP_BY_HOP | {b"host", b"accept-encoding", b"origin", b"referer"}
# What would show a client the way past the recorder, or a browser the way in.
_NOT_TO_AGENT = _HOP_BY_HOP | {b"alt-svc", b"location", b"refresh", b"strict-transport-security"}
_READABLE = frozenset(
    {
        *("accept", "allow", "cache-control", "content-type", "content-encoding", "last-event-id", "retry-after"),
        *("accept-encoding", "connection", "content-length", "date", "host", "keep-alive", "origin", "server"),
        *("traceparent", "transfer-encoding", "user-agent", "vary", "x-accel-buffering"),
    }
)


_LOGINS = frozenset({b"authorization", b"proxy-authorization", b"cookie"})
_LOGIN_NAME = re.compile(rb"token|secret|password|api-?key|auth")
MIN_CREDENTIAL = 8  # shorter values match by chance all over a report


class Seal:
    """Stands in records for values that no record may hold: equal values look equal, and no value can be guessed.

    The key is random, lives in memory, and ends with the recorder.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __repr__(self) -> str:
        return "<Seal>"

    def of(self, value: bytes) -> str:
        """`hmac-sha256:` and 32 hex digits."""
        return "hmac-sha256:" + hmac.new(self._key, value, hashlib.sha256).hexdigest()[:32]

    def headers(self, headers: Headers) -> list[list[str]]:
        """Names and values for a record: readable where the name is known to hold no credential, sealed otherwise."""
        return [[name.decode("latin-1"), self._value(name, value)] for name, value in headers]

    def _value(self, name: bytes, value: bytes) -> str:
        # Nothing unknown is readable: a credential can travel under any name.
        known = name.decode("latin-1")
        if known in _READABLE or (known.startswith("mcp-") and known != "mcp-session-id"):
            return value.decode("latin-1")
        return self.of(value)


def towards_server(headers: Headers, *, authority: bytes, own: Mapping[str, str], length: int | None) -> Headers:
    """What the server gets: the agent's headers verbatim but for those of the connection, then the configured ones.

    Args:
        headers: as they came, names in lower case.
        authority: host and port of the server's URL.
        own: the headers of the server's entry, which win over the agent's.
        length: bytes of the body, None for a request without one.
    """
    configured = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in own.items())
    leave = _NOT_TO_SERVER | _named_by_connection(headers) | {name for name, _ in configured}
    passed = tuple((name, value) for name, value in headers if name not in leave)
    size = () if length is None else ((b"content-length", str(length).encode()),)
    return ((b"host", authority), (b"accept-encoding", b"identity"), *passed, *configured, *size)


def towards_agent(headers: Headers) -> Headers:
    """What the agent gets of a server's headers."""
    leave = _NOT_TO_AGENT | _named_by_connection(headers)
    return tuple((n, v) for n, v in headers if n not in leave and not n.startswith(b"access-control-"))


def credentials(headers: Headers) -> frozenset[str]:
    """The values in an agent's headers that no report may show where a message repeats one."""
    found: set[str] = set()
    for name, value in headers:
        if name in _LOGINS or _LOGIN_NAME.search(name):
            text = value.decode("latin-1")
            pairs = text.split(";") if name == b"cookie" else ()
            found |= {text, text.partition(" ")[2], *(pair.strip().partition("=")[2] for pair in pairs)}
    return frozenset(value for value in found if len(value) >= MIN_CREDENTIAL)


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value under a name in lower case."""
    return next((value for found, value in headers if found == name), None)


def media_type(headers: Headers) -> str:
    """The content type without its parameters, "" for none."""
    value = first(headers, b"content-type") or b""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def _named_by_connection(headers: Headers) -> set[bytes]:
    named = b",".join(value for name, value in headers if name == b"connection").lower()
    # Whoever names `Mcp-Method` here would have it vanish between the recorder's check and the server's.
    return {part.strip() for part in named.split(b",")} - {b""}
