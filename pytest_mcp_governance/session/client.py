"""The MCP client that `mcp_audit.connect()` hands to a test: the installed SDK's own ClientSession.

One of the two modules that import `mcp`, and only when a test connects. Works with SDK 1.26 and newer and with 2.x.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pytest_mcp_governance.errors import ServerError

if TYPE_CHECKING:
    from mcp import ClientSession


@asynccontextmanager
async def connect(
    command: Sequence[str], *, diagnose: Callable[[], Sequence[str]] = lambda: (), patience_s: float = 60.0
) -> "AsyncIterator[ClientSession]":
    """Open an initialised client session over the recorder's pipe.

    Args:
        command: what `gateway().command(name)` gives.
        diagnose: asked for what the recorder knows when the session cannot be opened.
        patience_s: how long the server may take to answer `initialize`.

    Raises:
        ServerError: the server did not start or ended before it was initialised.
    """
    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(command=command[0], args=list(command[1:]))
    opened = False
    raised_by_test: Exception | None = None
    try:
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            with anyio.fail_after(patience_s):
                await session.initialize()
            opened = True
            try:
                yield session
            except Exception as error:
                raised_by_test = error
                raise
    except Exception as error:
        if not opened:
            known = "\n".join(diagnose()) or _what_happened(error, patience_s)
            raise ServerError(f"the MCP server could not be initialised: {known}") from error
        # The SDK's task groups wrap what the test raised; the test should fail with its own error.
        shown = raised_by_test or error
        for fact in diagnose():
            shown.add_note(fact)
        if shown is error:
            raise
        raise shown from None


def _what_happened(error: BaseException, patience_s: float) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return (
            f"it did not answer `initialize` within {patience_s:.0f} s and is still running. "
            "Run by hand the command of its entry in mcp.json to see what it waits for."
        )
    return f"{type(error).__name__}: {error}"
