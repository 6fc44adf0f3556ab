"""Lets messages through; stopped, it waits until those inside are through and holds the others. Knows no message."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType


class Turnstile:
    """`async with turnstile` around what must not be cut in two; `async with turnstile.stopped()` to cut between."""

    def __init__(self) -> None:
        self._inside = 0
        self._open: asyncio.Event | None = None  # there while it is stopped, set when it opens again
        self._empty: asyncio.Event | None = None

    async def __aenter__(self) -> None:
        while self._open is not None:
            await self._open.wait()
        self._inside += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
        if not self._inside and self._empty is not None:
            self._empty.set()

    @contextlib.asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Hold whoever comes, wait until nobody is inside, and let them in again at the end. One at a time."""
        self._open = opening = asyncio.Event()
        try:
            if self._inside:
                self._empty = asyncio.Event()
                await self._empty.wait()
            yield
        finally:
            self._open = self._empty = None
            opening.set()
