"""The server's side of a connection that is a stream of lines: a process over stdio, or a server inside the test."""

from typing import Literal, Protocol

Transport = Literal["stdio", "http", "sse", "memory"]


class Upstream(Protocol):
    """A running server that speaks one message a line."""

    async def read(self) -> bytes:
        """The next bytes of its messages, empty at their end."""

    async def read_stderr(self) -> bytes:
        """The next bytes of what it says beside them, empty at the end."""

    async def write(self, data: bytes) -> None:
        """Pass bytes to it.

        Raises:
            ConnectionError: it does not read any more.
        """

    def close_input(self) -> None:
        """Tell it that nothing more will come, which asks an MCP server to end."""

    async def end(self, grace_s: float = 2.0) -> int:
        """Wait for its end, enforce it after `grace_s`; return its exit status, 0 where it has none."""


class StreamServer(Protocol):
    """A server that can be started and then speaks one message a line."""

    @property
    def name(self) -> str:
        """Its configured name."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of how it is started."""

    @property
    def transport(self) -> Transport:
        """What the evidence says of the way its messages take."""

    @property
    def needs_browser(self) -> bool:
        """Whether it asks for a browser that the recorder watches."""

    @property
    def remedy(self) -> str:
        """What to do to see why it ended, one sentence."""

    async def start(self, cdp: tuple[str, int] | None) -> Upstream:
        """Start it.

        Args:
            cdp: URL and port of the watched browser.

        Raises:
            ConfigurationError: it cannot be found.
            OSError: the system refuses to start it.
        """
