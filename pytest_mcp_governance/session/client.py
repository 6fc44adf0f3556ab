"""The MCP client that `mcp_audit.connect()` hands to a test: the installed SDK's own ClientSession.

One of the two modules that import `mcp`, and only when a test connects. Works with SDK 1.26 and newer and with 2.x.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_mcp_governance.errors import ServerError

if TYPE_CHECKING:
    from mcp import ClientSession

Callback = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a session answers to its server, each an `async def` or a plain function with the SDK's own arguments.

    A capability is declared to the server only where its callback is given.
    """

    sampling_callback: Callback | None = None
    elicitation_callback: Callback | None = None
    list_roots_callback: Callback | None = None
    logging_callback: Callback | None = None
    message_handler: Callback | None = None

    def arguments(self, *, in_thread: bool) -> Mapping[str, Callable[..., Awaitable[object]]]:
        """Those that are given, as keyword arguments of ClientSession.

        Args:
            in_thread: whether a plain function runs in a thread of its own, from where it may use a sync session.
        """
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: _awaitable(given, in_thread) for name, given in named.items() if given is not None}


@asynccontextmanager
async def connect(
    way: Sequence[str] | str,
    *,
    callbacks: Mapping[str, Callable[..., Awaitable[object]]] | None = None,
    diagnose: Callable[[], Sequence[str]] = lambda: (),
    patience_s: float = 60.0,
) -> "AsyncIterator[ClientSession]":
    """Open an initialised client session over the recorder's pipe, or over HTTP to the recorder.

    Args:
        way: what `gateway().command(name)` or `gateway().url(name)` gives.
        callbacks: what `Callbacks.arguments` gives.
        diagnose: asked for what the recorder knows when the session cannot be opened.
        patience_s: how long the server may take to answer `initialize`.

    Raises:
        ServerError: the server did not start or ended before it was initialised.
    """
    import anyio
    from mcp import ClientSession

    answers = dict(callbacks or {})
    opened = False
    raised_by_test: Exception | None = None
    try:
        async with (
            _streams(way) as streams,
            ClientSession(streams[0], streams[1], **answers) as session,  # type: ignore[arg-type]  # users' callbacks, as they are
        ):
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


def _streams(way: Sequence[str] | str) -> "AbstractAsyncContextManager[Any]":
    """The SDK's transport; what it yields begins with the two streams of a session."""
    if not isinstance(way, str):
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        return stdio_client(StdioServerParameters(command=way[0], args=list(way[1:])))
    if way.endswith("/sse"):
        from mcp.client.sse import sse_client

        return sse_client(way)
    from mcp.client.streamable_http import streamable_http_client

    # SDK 2.x stops at events of 1 MiB by itself; the recorder's own limit is the one that counts here.
    limit = "max_sse_event_size"
    options: dict[str, Any] = {limit: None} if limit in inspect.signature(streamable_http_client).parameters else {}
    return streamable_http_client(way, **options)


async def one_page(method: Callable[..., Awaitable[object]], cursor: str | None) -> object:
    """One page of a listing, asked for in the one form that every SDK knows."""
    from mcp.types import PaginatedRequestParams

    return await (method() if cursor is None else method(params=PaginatedRequestParams(cursor=cursor)))


def _awaitable(callback: Callback, in_thread: bool) -> Callable[..., Awaitable[object]]:
    async def call(*args: object, **kwargs: object) -> object:
        from functools import partial

        import anyio.to_thread

        if in_thread and not _is_async(callback):
            return await anyio.to_thread.run_sync(partial(callback, *args, **kwargs))
        answer = callback(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    return call


def _is_async(callback: Callback) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def _what_happened(error: BaseException, patience_s: float) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return (
            f"it did not answer `initialize` within {patience_s:.0f} s and is still running. "
            "Run by hand the command of its entry in mcp.json to see what it waits for."
        )
    return f"{type(error).__name__}: {error}"
