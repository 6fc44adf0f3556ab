"""Places that a call names: file paths, `file:` URIs and web addresses, read the way the strictest reader would.

Symlinks are resolved by the caller's `Resolver`; this module touches no file system. A text that two readers
could take for two places (backslashes, encoded slashes, blanks inside) is refused, not guessed.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pytest_mcp_governance.policy.matching import Glob, parse_glob

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ENCODED_TRAP = re.compile(r"%(?:2e|2f|5c|00|25)", re.IGNORECASE)
_OF_A_PROCESS = re.compile(r"/(?:proc|dev/(?:fd|stdin|stdout|stderr))(?:/|$)")
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\?#]|$)")


class Resolver(Protocol):
    """The file system as the recorder sees it."""

    def real_path(self, path: str, *, root: str | None = None) -> str:
        """The absolute path with every symlink resolved; a relative `path` is taken from `root`.

        Without `root` a relative path (only ever one written in a policy) is taken from pytest's rootdir.
        A path that does not exist is resolved as far as it does.
        """


class Paths:
    """Resolves paths for one judge: the policy's own once, a call's anew each time; notes what it resolved."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._roots: dict[str, str] = {}
        self.resolved: dict[str, str] = {}

    def begin(self) -> None:
        """Forget what was resolved for the decision before."""
        if self.resolved:
            self.resolved = {}

    def root(self, path: str) -> str:
        """The real path of a directory that a policy names; fixed at first use."""
        if path not in self._roots:
            self._roots[path] = self._real(path)
        self.resolved[path] = self._roots[path]
        return self._roots[path]

    def real(self, path: str) -> str:
        """The real path of an absolute path that a call names."""
        if path not in self.resolved:
            self.resolved[path] = self._real(path)
        return self.resolved[path]

    def _real(self, path: str) -> str:
        real = self._resolver.real_path(path)
        if not isinstance(real, str) or not real.startswith("/"):
            raise ValueError("the resolver gave no absolute path")
        return real

    def readings(self, path: str) -> tuple[str, ...]:
        """Every real path that a server may read `path` as; one, unless `..` stands in it.

        The kernel takes `..` from where a symlink led, many servers (Node's `path.resolve`) drop it from the text
        first. Nobody but the server knows which of the two it does.
        """
        if ".." not in path.split("/"):
            return (self.real(path),)
        return tuple(dict.fromkeys((self.real(path), self.real(_lexical(path)))))

    def ambiguous(self, path: str) -> bool:
        """Whether two readers may take `path` for two places."""
        return _OF_A_PROCESS.match(_lexical(path)) is not None or len(self.readings(path)) > 1

    def inside(self, path: str, root: str) -> bool:
        """Whether a call's absolute `path` is `root` or lies below it, whoever reads it."""
        if _OF_A_PROCESS.match(_lexical(path)):
            return False  # leads elsewhere in the server's process than in ours
        return all(_below(real, self.root(root)) is not None for real in self.readings(path))


@dataclass(frozen=True, slots=True)
class PathGlob:
    """A path pattern: a plain directory, then a glob below it. `/srv/ap/**` covers `/srv/ap` itself too."""

    text: str
    base: str
    below: Glob | None

    def matches(self, path: str, paths: Paths) -> bool:
        """Whether a call's absolute path is covered, symlinks resolved, as any reader may take it."""
        return any(self._covers(real, paths) for real in paths.readings(path))

    def _covers(self, real: str, paths: Paths) -> bool:
        rest = _below(real, paths.root(self.base))
        if rest is None:
            return False
        if self.below is None:
            return rest == ""
        return self.below.matches(rest) or (rest == "" and self.below.text == "**")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host name, or `*.` and the domain whose subdomains are meant (not the domain itself)."""

    text: str
    suffix: str = field(repr=False)

    def matches(self, host: str) -> bool:
        """Whether a lower-case host name is covered."""
        return host.endswith(self.suffix) and len(host) > len(self.suffix) if self.suffix else host == self.text


def _lexical(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def parse_path_glob(text: str) -> PathGlob:
    """Parse a path pattern, absolute or relative to pytest's rootdir.

    Raises:
        ValueError: not a pattern, or with `.`, `..` or empty segments.
    """
    parts = text.rstrip("/").split("/") if text != "/" else ["", ""]
    if any(part in (".", "..") for part in parts) or "" in parts[1:-1] or not text.strip():
        raise ValueError(f"{text!r}: write a path without '.', '..' and empty parts")
    fixed = 0
    while fixed < len(parts) and not set(parts[fixed]) & set("*{}\\"):
        fixed += 1
    base, below = "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])
    if fixed == 0:
        raise ValueError(f"{text!r}: begin with a plain directory")
    return PathGlob(text, base, parse_glob(below, separator="/") if below else None)


def parse_host(text: str) -> HostPattern:
    """Parse a host pattern; an address is allowed as plain text.

    Raises:
        ValueError: a port, a scheme, a `*` elsewhere than as `*.` in front, or no host name.
    """
    lowered = text.lower()
    name = lowered.removeprefix("*.")
    if not _HOST_NAME.fullmatch(name) and not (name.startswith("[") and name.endswith("]") and name == lowered):
        raise ValueError(f"{text!r} is no host: write example.org or *.example.org, no scheme, port or path")
    return HostPattern(lowered, f".{name}" if name != lowered else "")


def file_path(text: str) -> str | None:
    """The absolute path that a path or `file:` URI names; None where it names none without doubt."""
    if text[:5].lower() == "file:":
        match = re.fullmatch(r"file://(?:localhost)?(/[^?#]*)", text, re.IGNORECASE | re.DOTALL)
        if not match or _ENCODED_TRAP.search(match[1]):
            return None
        text = unquote(match[1], errors="strict")
    return text if text.startswith("/") and "\0" not in text else None


def scheme_of(text: str) -> str | None:
    """The lower-case scheme of a URI, None without one."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else None


@dataclass(frozen=True, slots=True)
class Address:
    """A web address taken apart; `host` is lower case without a trailing dot."""

    scheme: str
    host: str
    userinfo: bool

    @property
    def is_ip(self) -> bool:
        """Whether browsers take the host for an IP address: brackets, or a last label that is a number."""
        return self.host.startswith("[") or _NUMERIC_LABEL.fullmatch(self.host.rsplit(".", 1)[-1]) is not None


def parse_address(text: str) -> Address | None:
    """Take `scheme://host…` apart; None for anything that two readers could take differently."""
    if any(char <= " " or char == "\\" or char == "\x7f" for char in text):
        return None  # browsers drop or turn these, libraries do not
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    if not text[len(parts.scheme) :].startswith("://") or not host:
        return None
    bracketed = "[" in parts.netloc
    host = f"[{host}]" if bracketed else host.removesuffix(".")
    if not bracketed and not _HOST_NAME.fullmatch(host):
        return None
    return Address(parts.scheme.lower(), host, "@" in parts.netloc)


def plain_uri(text: str) -> bool:
    """Whether a URI may be compared as text: no dot segments, backslashes, blanks or encoded slashes and dots."""
    if _DOT_SEGMENT.search(text) or _ENCODED_TRAP.search(text):
        return False
    return not any(char <= " " or char in "\\\x7f" for char in text)


def _below(path: str, root: str) -> str | None:
    """`path` relative to `root`, "" for the root itself, None outside."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None
