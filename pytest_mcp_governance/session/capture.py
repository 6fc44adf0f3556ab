"""Pictures of what a browser shows, taken from outside over the DevTools protocol.

Passive: enables no protocol domain in a page, runs no script there, draws nothing into it, answers no dialog.
Stores and records nothing; a picture that could not be taken is a value too, never an exception into a call.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from pytest_mcp_governance.errors import CaptureError
from pytest_mcp_governance.session.cdp import CdpConnection, CdpObject

Moment = Literal["before", "after"]

# A hidden tab can take minutes to answer; a call waits this long and no longer.
CAP_S = 0.6
_WARM_UP_S = 5.0
_JPEG_QUALITY = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one page.

    Args:
        moment: before or after the call it illustrates.
        data: the picture's bytes, JPEG.
        media_type: `image/jpeg`.
        page_id: the browser's id of the page.
        url: the page's address when it was asked for.
        title: the page's title then.
        viewport: (width_px, height_px) of the picture; one picture pixel is one CSS pixel at scale 1.
        asked_monotonic_ns: when it was asked for.
        taken_monotonic_ns: when it had arrived; the picture shows the page at some time between the two.
    """

    moment: Moment
    data: bytes = field(repr=False)
    media_type: str
    page_id: str
    url: str = field(repr=False)
    title: str = field(repr=False)
    viewport: tuple[int, int]
    asked_monotonic_ns: int
    taken_monotonic_ns: int


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """The fact that no picture could be taken, and why.

    Args:
        moment: before or after the call it would have illustrated.
        reason: one clause, without page content.
        page_id: the page that was asked, or None where there was none to ask.
        asked_monotonic_ns: when the picture was asked for.
    """

    moment: Moment
    reason: str
    page_id: str | None
    asked_monotonic_ns: int


class PageWatch:
    """Watches every page of one browser; made by `await PageWatch.connect(ws_url)`.

    `frame` takes the page that was active last. The browser lists its pages with the one most recently
    brought to the front first; comparing that list with the one before shows what became active since: pages
    that are new, then pages whose address changed (an agent may drive a page behind), then the page that came
    to the front. Where the caller knows the address the agent is on (Playwright's server prints it after each
    call), it passes it as `current_url`; of the pages that show it the last active one is taken.
    """

    def __init__(self, connection: CdpConnection, cap_s: float) -> None:
        self._connection = connection
        self._cap_s = cap_s
        self._pages: dict[str, _Page] = {}
        self._front: str | None = None
        self._activity = 0
        self._tasks: set[asyncio.Task[bytes]] = set()
        connection.on_event = self._on_event

    @classmethod
    async def connect(cls, ws_url: str, *, cap_s: float = CAP_S) -> PageWatch:
        """Watch the browser whose own websocket is `ws_url`.

        Args:
            ws_url: `ws://127.0.0.1:PORT/devtools/browser/ID`.
            cap_s: how long a picture may take, in seconds.

        Raises:
            CaptureError: no browser answers there.
        """
        watch = cls(await CdpConnection.open(ws_url), _WARM_UP_S)
        try:
            await watch._connection.call("Target.setDiscoverTargets", {"discover": True})
            await watch.frame("before")  # thrown away: a browser's first picture takes several times as long
            watch._cap_s = cap_s
        except BaseException:
            await watch.close()
            raise
        return watch

    async def frame(self, moment: Moment, *, current_url: str | None = None) -> Frame | FrameFailure:
        """Take one JPEG of the active page, within the cap or not at all.

        A request that got no answer in time stays pending in the browser, and no second one is sent to that
        page until it is answered; its late picture is dropped, because it shows another moment.

        Args:
            moment: what the picture is for; returned with it.
            current_url: the address of the page that the agent is on, where the caller knows it.
        """
        asked = time.monotonic_ns()
        page: _Page | None = None
        try:
            async with asyncio.timeout(self._cap_s):
                while True:
                    page = await self._active_page(current_url)
                    data = await self._shoot_unless_closed(page)
                    if data is not None:
                        break
            viewport = jpeg_size(data)
        except CaptureError as error:
            return FrameFailure(moment, str(error), page.id if page else None, asked)
        except TimeoutError:
            return FrameFailure(moment, self._why_silent(page), page.id if page else None, asked)
        taken = time.monotonic_ns()
        return Frame(moment, data, "image/jpeg", page.id, page.url, page.title, viewport, asked, taken)

    async def close(self) -> None:
        """Stop watching; the browser and its pages stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"PageWatch(pages={len(self._pages)})"

    async def _active_page(self, current_url: str | None) -> _Page:
        if self._connection.gone:
            raise CaptureError("the browser is gone")
        self._compare([target for target in await self._connection.targets() if target.get("type") == "page"])
        pages = self._pages.values()
        known = [page for page in pages if page.url == current_url]
        if not pages:
            raise CaptureError("the browser has no page open")
        return max(known or pages, key=lambda page: page.activity)

    def _compare(self, targets: Sequence[CdpObject]) -> None:
        """Take over the browser's list of pages and give each page that became active a later number."""
        listed = {str(target.get("id")): target for target in targets}
        front = next(iter(listed), None)
        new = [page_id for page_id in reversed(listed) if page_id not in self._pages]
        moved = [i for i, page in self._pages.items() if i in listed and page.url != listed[i].get("url")]
        came_to_front = [front] if front is not None and front != self._front else []
        self._front = front
        self._pages = {page_id: self._pages.get(page_id) or _Page(page_id) for page_id in listed}
        for page_id in (*new, *moved, *came_to_front):
            self._activity += 1
            self._pages[page_id].activity = self._activity
        for page_id, target in listed.items():
            self._pages[page_id].url = str(target.get("url", ""))
            self._pages[page_id].title = str(target.get("title", ""))

    async def _shoot_unless_closed(self, page: _Page) -> bytes | None:
        shot = asyncio.create_task(page.shoot(self._connection))
        self._tasks.add(shot)
        shot.add_done_callback(self._forget)
        try:
            await asyncio.wait({shot})
        finally:
            if page.asker is not shot:
                shot.cancel()  # never sent: its turn had not come
        if shot.cancelled() and page.crashed:
            raise CaptureError("the page crashed")
        return None if shot.cancelled() else shot.result()

    def _why_silent(self, page: _Page | None) -> str:
        if page is not None and page.crashed:
            return "the page crashed"
        name = "the browser" if page is None else "the page"
        return f"{name} did not answer within {self._cap_s} s: busy, hidden, or waiting in a dialog"

    def _forget(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # read it: a late error has nobody left to tell

    def _on_event(self, method: str, params: CdpObject) -> None:
        crashed = self._pages.get(str(params.get("targetId")))
        if method == "Target.targetCrashed" and crashed is not None:
            crashed.crashed = True
            crashed.give_up()
        elif method == "Target.detachedFromTarget":
            for page in self._pages.values():
                page.detached(str(params.get("sessionId")))


class _Page:
    """What is known of one page, and the turn to ask it: one pending request at a time."""

    def __init__(self, page_id: str) -> None:
        self.id = page_id
        self.url = ""
        self.title = ""
        self.activity = 0
        self.crashed = False
        self.asker: asyncio.Task[bytes] | None = None
        self._turn = asyncio.Lock()
        self._session: str | None = None

    async def shoot(self, connection: CdpConnection) -> bytes:
        async with self._turn:
            self.asker = asyncio.current_task()
            try:
                session = await self._attach(connection)
                options = {"format": "jpeg", "quality": _JPEG_QUALITY}
                reply = await connection.call("Page.captureScreenshot", options, session)
            finally:
                self.asker = None
        self.crashed = False
        try:
            return base64.b64decode(str(reply.get("data", "")), validate=True)
        except binascii.Error as error:
            raise CaptureError("the browser's picture is not base64") from error

    def give_up(self) -> None:
        """End the pending request: the browser does not answer for a page that is no more."""
        if self.asker is not None:
            self.asker.cancel()

    def detached(self, session: str) -> None:
        if session == self._session:
            self._session = None
            self.give_up()

    async def _attach(self, connection: CdpConnection) -> str:
        if self._session is None:
            reply = await connection.call("Target.attachToTarget", {"targetId": self.id, "flatten": True})
            self._session = str(reply["sessionId"])
        return self._session


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return (width_px, height_px) from a JPEG's frame header (ITU-T T.81, B.2.2).

    Raises:
        CaptureError: the bytes are not a JPEG, or it ends before its frame header.
    """
    if data[:2] != b"\xff\xd8":
        raise CaptureError("the browser's picture is not a JPEG")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise CaptureError("the browser's picture ends before its size")
