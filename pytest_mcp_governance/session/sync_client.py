"""The sync façade over the SDK's ClientSession, for tests without `await`: the same calls, each waits for its answer.

The session lives on an event loop in a thread of its own, so a test's own running loop (a sync Playwright page has
one) is in nobody's way. Leaves the connection itself to `client`.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from pytest_mcp_governance.session.client import one_page

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from mcp import ClientSession
    from mcp import types as mcp


class SyncSession:
    """An MCP session whose methods return the SDK's results; they raise what the SDK raises.

    Args:
        session: the SDK's session, which lives on the portal's loop.
        portal: the way to that loop.
    """

    def __init__(self, session: "ClientSession", portal: "BlockingPortal") -> None:
        self._session = session
        self._portal = portal

    def __repr__(self) -> str:
        return "<SyncSession>"

    @property
    def sdk(self) -> "ClientSession":
        """The SDK's own session: for its attributes, which need no waiting."""
        return self._session

    def call_tool(
        self, name: str, arguments: Mapping[str, object] | None = None, **options: object
    ) -> "mcp.CallToolResult":
        """Call a tool; `options` are those of the installed SDK's `call_tool`, such as `progress_callback`."""
        given = None if arguments is None else dict(arguments)
        return cast("mcp.CallToolResult", self._wait(self._session.call_tool, name, given, **options))

    def list_tools(self, cursor: str | None = None) -> "mcp.ListToolsResult":
        """One page of the server's tools."""
        return cast("mcp.ListToolsResult", self._page(self._session.list_tools, cursor))

    def list_resources(self, cursor: str | None = None) -> "mcp.ListResourcesResult":
        """One page of the server's resources."""
        return cast("mcp.ListResourcesResult", self._page(self._session.list_resources, cursor))

    def list_resource_templates(self, cursor: str | None = None) -> "mcp.ListResourceTemplatesResult":
        """One page of the server's resource templates."""
        found = self._page(self._session.list_resource_templates, cursor)
        return cast("mcp.ListResourceTemplatesResult", found)

    def list_prompts(self, cursor: str | None = None) -> "mcp.ListPromptsResult":
        """One page of the server's prompts."""
        return cast("mcp.ListPromptsResult", self._page(self._session.list_prompts, cursor))

    def read_resource(self, uri: str, **options: object) -> "mcp.ReadResourceResult":
        """Read a resource."""
        return cast("mcp.ReadResourceResult", self._wait(self._session.read_resource, uri, **options))

    def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, **options: object
    ) -> "mcp.GetPromptResult":
        """Get a prompt, filled in with its arguments."""
        given = None if arguments is None else dict(arguments)
        return cast("mcp.GetPromptResult", self._wait(self._session.get_prompt, name, given, **options))

    def complete(
        self,
        ref: "mcp.PromptReference | mcp.ResourceTemplateReference",
        argument: Mapping[str, str],
        **options: object,
    ) -> "mcp.CompleteResult":
        """Ask for completions of an argument of a prompt or a resource template."""
        return cast("mcp.CompleteResult", self._wait(self._session.complete, ref, dict(argument), **options))

    def ping(self) -> "mcp.EmptyResult":
        """Ask whether the server is there."""
        return cast("mcp.EmptyResult", self._wait(self._session.send_ping))

    def __getattr__(self, name: str) -> Callable[..., object]:
        """Any other method of the installed SDK's session, as one that waits.

        Raises:
            AttributeError: the SDK's session has no such method.
        """
        method = getattr(self._session, name, None) if not name.startswith("_") else None
        if not callable(method):
            raise AttributeError(
                f"the sync session has no method {name!r}; the SDK's own session, with its attributes, is `sdk`"
            )
        return partial(self._wait, method)

    def _page(self, method: Callable[..., Awaitable[object]], cursor: str | None) -> object:
        return self._wait(one_page, method, cursor)

    def _wait(self, method: Callable[..., object], *args: object, **kwargs: object) -> object:
        # As a future and not by portal.call: whoever interrupts the wait, as Ctrl-C does, ends the request too.
        waiting = self._portal.start_task_soon(_answer, partial(method, *args, **kwargs))
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise


async def _answer(ask: Callable[[], object]) -> object:
    answer = ask()  # the SDK's deprecated methods do not look async, but are
    return await answer if inspect.isawaitable(answer) else answer


@contextmanager
def sync_session(session: "AbstractAsyncContextManager[ClientSession]") -> Iterator[SyncSession]:
    """Open an async session on an event loop in a thread of its own, and give its sync façade.

    Raises:
        ServerError: what opening the session raises.
    """
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(session) as opened:
        yield SyncSession(opened, portal)
