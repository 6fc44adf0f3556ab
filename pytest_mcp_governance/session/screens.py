"""Screens of one connection: a browser of its own, watched from outside, and frames bound to calls as records.

Takes no part in the call: a failed capture is a recorded fact and never an error of the connection. What speaks to a
browser is loaded when one is started: most recorders start none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from pytest_mcp_governance.evidence.ledger import Committed

if TYPE_CHECKING:
    from pytest_mcp_governance.session.browser import Browser
    from pytest_mcp_governance.session.capture import Frame, PageWatch
    from pytest_mcp_governance.session.trial import Trial


class Screens:
    """A watched browser."""

    def __init__(self, browser: Browser, watch: PageWatch) -> None:
        self._browser = browser
        self._watch = watch

    @classmethod
    async def start(cls) -> Screens:
        """Start a browser with an empty profile and watch its pages.

        Raises:
            CaptureError: there is no browser, or it does not start.
        """
        from pytest_mcp_governance.session.browser import Browser, find_browser
        from pytest_mcp_governance.session.capture import PageWatch

        browser = await Browser.start(find_browser())
        try:
            return cls(browser, await PageWatch.connect(browser.ws_url))
        except BaseException:
            await browser.close()
            raise

    @property
    def endpoint(self) -> tuple[str, int]:
        """URL and port that a server may be given."""
        return self._browser.cdp_url, self._browser.port

    async def before(self, trial: Trial, ref: str, agent: str) -> None:
        """Record what was on the screen when the agent decided on the call `ref`, which is not forwarded yet."""
        await self._record(trial, ref, agent, "before", None)

    async def after(self, trial: Trial, ref: str, agent: str, forwarded_ns: int) -> None:
        """Record what was on the screen when the answer to the call `ref` came, before the agent has it."""
        await self._record(trial, ref, agent, "after", forwarded_ns)

    async def _record(
        self, trial: Trial, ref: str, agent: str, moment: Literal["before", "after"], forwarded_ns: int | None
    ) -> None:
        from pytest_mcp_governance.session.capture import FrameFailure

        frame = await self._watch.frame(moment)
        call_ns = forwarded_ns or time.monotonic_ns()
        fields: dict[str, object] = {
            "kind": "screen",
            "ref": ref,
            "agent": agent,
            "moment": moment,
            "masked": False,
        }
        if isinstance(frame, FrameFailure):
            trial.record("blob", fields | {"failed": True, "reason": Committed(frame.reason)})
            return
        trial.record("blob", fields | _describe(frame, trial, call_ns))

    async def close(self) -> None:
        """Stop watching and end the browser."""
        try:
            await self._watch.close()
        finally:
            await self._browser.close()


def _describe(frame: Frame, trial: Trial, call_ns: int) -> dict[str, object]:
    return {
        "media_type": frame.media_type,
        "size": len(frame.data),
        "sha256": trial.commit_blob(frame.data),
        "url": Committed(frame.url),
        "title": Committed(frame.title),
        "viewport": {"w": frame.viewport[0], "h": frame.viewport[1]},
        # Negative: taken before the call was passed on.
        "offset_ms": round((frame.taken_monotonic_ns - call_ns) / 1e6, 1),
    }
