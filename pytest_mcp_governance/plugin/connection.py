"""An audited session about to be opened: `async with` gives the SDK's ClientSession, plain `with` its sync façade.

Told apart by the statement and not by a running loop: a test with a sync Playwright page has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp import ClientSession

    from pytest_mcp_governance.plugin.audit import Gateway
    from pytest_mcp_governance.session.control import Recorder
    from pytest_mcp_governance.session.sync_client import SyncSession

Callback = Callable[..., object]


class Connection:
    """One agent's session with one server, open inside its `with` or `async with` block.

    Args:
        recorder: the process that records it.
        gateway: the way to the server, not open yet.
        server: the server's name.
        callbacks: the SDK's names of callbacks, and the callbacks that the test gave.
    """

    def __init__(
        self, recorder: Recorder, gateway: Gateway, server: str, callbacks: Mapping[str, Callback | None]
    ) -> None:
        self._recorder = recorder
        self._gateway = gateway
        self._server = server
        self._callbacks = callbacks
        self._async: AbstractAsyncContextManager[ClientSession] | None = None
        self._sync: AbstractContextManager[SyncSession] | None = None

    def __repr__(self) -> str:
        return f"<Connection: agent {self._gateway.agent!r} to {self._server}>"

    async def __aenter__(self) -> ClientSession:
        self._gateway.__enter__()
        try:
            self._async = self._session(in_thread=False)
            return await self._async.__aenter__()
        except BaseException as error:
            self._gateway.__exit__(type(error), None, None)  # the error says already what the gateway would add
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._async is not None
        try:
            return await self._async.__aexit__(kind, error, tb)
        finally:
            self._close(error)

    def __enter__(self) -> SyncSession:
        from pytest_mcp_governance.session.sync_client import sync_session

        self._gateway.__enter__()
        try:
            self._sync = sync_session(self._session(in_thread=True))
            return self._sync.__enter__()
        except BaseException as error:
            self._gateway.__exit__(type(error), None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._sync is not None
        try:
            return self._sync.__exit__(kind, error, tb)
        finally:
            self._close(error)

    def _close(self, error: BaseException | None) -> None:
        """Close the gateway; the test's error gets to know what only showed when the server had ended."""
        self._gateway.__exit__(None, None, None)
        if error is not None:
            for failure in self._gateway.failures:
                if failure not in getattr(error, "__notes__", ()):
                    error.add_note(failure)

    def _session(self, *, in_thread: bool) -> AbstractAsyncContextManager[ClientSession]:
        from pytest_mcp_governance.session.client import Callbacks, connect

        gateway = self._gateway.id
        return connect(
            self._gateway.way(self._server),
            callbacks=Callbacks(**self._callbacks).arguments(in_thread=in_thread),
            diagnose=lambda: self._recorder.failures(gateway),
        )
