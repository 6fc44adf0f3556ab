"""Claims about finding, starting and picturing a browser, all against a real one."""

import asyncio
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from pytest_mcp_governance.errors import CaptureError
from pytest_mcp_governance.session.browser import Browser, find_browser
from pytest_mcp_governance.session.capture import CAP_S, Frame, FrameFailure, PageWatch, jpeg_size
from pytest_mcp_governance.session.cdp import CdpConnection

PATIENT_S = 30.0  # so that a busy machine is no reason for a picture to be missing
RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


class Driver:
    """Plays the agent: drives pages over a connection of its own, as a browser server does."""

    def __init__(self, connection: CdpConnection) -> None:
        self._connection = connection
        self._dialog = asyncio.Event()
        connection.on_event = lambda method, _: self._dialog.set() if method == "Page.javascriptDialogOpening" else None

    async def open(self, url: str) -> tuple[str, str]:
        target = str((await self._connection.call("Target.createTarget", {"url": "about:blank"}))["targetId"])
        reply = await self._connection.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        session = str(reply["sessionId"])
        await self.go(session, url)
        return target, session

    async def go(self, session: str, url: str) -> None:
        await self._connection.call("Page.navigate", {"url": url}, session)
        # Answered only when the new document is complete: the step after which a browser server replies.
        loaded = "new Promise(r => document.readyState === 'complete' ? r() : addEventListener('load', () => r()))"
        await self.run(session, loaded)

    async def run(self, session: str, script: str) -> None:
        await self.evaluate(session, script)

    async def evaluate(self, session: str, script: str) -> object:
        params = {"expression": script, "awaitPromise": True}
        reply = await self._connection.call("Runtime.evaluate", params, session)
        result = reply["result"]
        return result.get("value") if isinstance(result, dict) else None

    async def open_dialog(self, session: str, script: str) -> asyncio.Task[None]:
        await self._connection.call("Page.enable", {}, session)
        asking = asyncio.create_task(self.run(session, script))
        await self._dialog.wait()
        return asking

    async def answer_dialog(self, session: str) -> None:
        await self._connection.call("Page.handleJavaScriptDialog", {"accept": True}, session)

    def crash(self, session: str) -> asyncio.Task[object]:
        return asyncio.create_task(self._crash(session))

    async def _crash(self, session: str) -> object:
        return await self._connection.call("Page.crash", {}, session)

    async def bring_to_front(self, session: str) -> None:
        await self._connection.call("Page.bringToFront", {}, session)

    async def close_page(self, target: str) -> None:
        await self._connection.call("Target.closeTarget", {"targetId": target})


@asynccontextmanager
async def driven_browser(cap_s: float = PATIENT_S) -> AsyncIterator[tuple[Browser, PageWatch, Driver]]:
    async with await Browser.start(find_browser()) as browser:
        connection = await CdpConnection.open(browser.ws_url)
        try:
            async with await PageWatch.connect(browser.ws_url, cap_s=cap_s) as watch:
                yield browser, watch, Driver(connection)
        finally:
            await connection.close()


def page(color: str, title: str = "page") -> str:
    return f"data:text/html,<title>{title}</title><body style='margin:0;background:{color}'></body>"


def picture(frame: Frame | FrameFailure) -> Frame:
    assert isinstance(frame, Frame), frame
    return frame


def shows(frame: Frame | FrameFailure, color: tuple[int, int, int]) -> bool:
    pixel = Image.open(io.BytesIO(picture(frame).data)).convert("RGB").getpixel((300, 300))
    assert isinstance(pixel, tuple)
    return all(abs(seen - wanted) <= 12 for seen, wanted in zip(pixel, color, strict=True))


class Site(BaseHTTPRequestHandler):
    """Two local pages, the second reached by a redirect."""

    def do_GET(self) -> None:
        if self.path == "/old":
            self.send_response(302)
            self.send_header("Location", "/invoices")
            self.end_headers()
            return
        body = f"<title>Site {self.path}</title><body style='margin:0;background:blue'></body>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_frames_show_the_page_before_and_after_it_changed(site: str) -> None:
    async def scenario() -> None:
        async with driven_browser() as (_, watch, driver):
            _, session = await driver.open(page("red", "first"))
            before = await watch.frame("before")
            await driver.run(session, "document.body.style.background = 'green'")
            changed = await watch.frame("after")
            await driver.go(session, f"{site}/old")
            after = await watch.frame("after")
        assert shows(before, RED)
        assert shows(changed, GREEN)
        assert shows(after, BLUE)
        frame = picture(after)
        assert (frame.moment, frame.media_type, frame.title) == ("after", "image/jpeg", "Site /invoices")
        assert frame.url == f"{site}/invoices"
        assert frame.viewport == Image.open(io.BytesIO(frame.data)).size
        assert picture(changed).taken_monotonic_ns <= frame.asked_monotonic_ns < frame.taken_monotonic_ns

    asyncio.run(scenario())


def test_the_frame_is_of_the_page_in_front() -> None:
    async def scenario() -> None:
        async with driven_browser() as (_, watch, driver):
            _, first = await driver.open(page("red", "one"))
            second, _ = await driver.open(page("green", "two"))
            assert shows(await watch.frame("after"), GREEN)
            await driver.bring_to_front(first)
            assert shows(await watch.frame("after"), RED)
            await driver.open(page("blue", "three"))
            assert shows(await watch.frame("after"), BLUE)
            await driver.close_page(second)
            assert shows(await watch.frame("after"), BLUE)

    asyncio.run(scenario())


def test_a_page_behind_is_asked_when_it_is_the_one_that_the_agent_drives() -> None:
    async def scenario() -> None:
        # Whether a page behind answers within the cap is the browser's affair; which one is asked is ours.
        async with driven_browser(CAP_S) as (_, watch, driver):
            behind, session = await driver.open(page("red", "one"))
            front, _ = await driver.open(page("green", "two"))
            assert (await watch.frame("before", current_url=page("red", "one"))).page_id == behind
            assert (await watch.frame("before", current_url="https://elsewhere.example/")).page_id == front
            await driver.go(session, page("blue", "driven from behind"))
            assert (await watch.frame("after")).page_id == behind

    asyncio.run(scenario())


def test_a_page_that_closes_while_asked_gives_way_to_the_next() -> None:
    async def scenario() -> None:
        async with driven_browser() as (_, watch, driver):
            target, session = await driver.open(page("red"))
            asking = await driver.open_dialog(session, "confirm()")
            asked = asyncio.create_task(watch.frame("after"))
            await driver.close_page(target)
            frame = picture(await asked)
            asking.cancel()
            assert (frame.page_id == target, frame.url) == (False, "about:blank")  # the page it started with

    asyncio.run(scenario())


def test_a_browser_without_a_page_is_a_fact_and_not_an_error() -> None:
    async def scenario() -> None:
        async with driven_browser() as (_, watch, driver):
            await driver.close_page(picture(await watch.frame("before")).page_id)
            while isinstance(last := await watch.frame("after"), Frame):
                await asyncio.sleep(0.02)  # closing is answered before the page is off the browser's list
            assert last.reason in ("the browser has no page open", "the browser is gone")

    asyncio.run(scenario())


def test_a_dialog_costs_the_cap_and_is_left_for_the_agent_to_answer() -> None:
    async def scenario() -> None:
        async with driven_browser(CAP_S) as (_, watch, driver):
            _, session = await driver.open(page("green"))
            script = "document.body.style.background = confirm() ? 'blue' : 'red'"
            asking = await driver.open_dialog(session, script)
            begin = time.monotonic()
            first, second = await watch.frame("after"), await watch.frame("before")
            took = time.monotonic() - begin
            await driver.answer_dialog(session)
            await asking
            assert isinstance(first, FrameFailure)
            assert isinstance(second, FrameFailure)
            assert "waiting in a dialog" in first.reason
            assert took < 2 * CAP_S + 5
            assert await driver.evaluate(session, "document.body.style.background") == "blue"

    asyncio.run(scenario())


def test_a_crashed_page_is_a_fact_and_a_later_page_is_pictured_again() -> None:
    async def scenario() -> None:
        async with driven_browser() as (_, watch, driver):
            _, session = await driver.open(page("red"))
            assert shows(await watch.frame("before"), RED)
            crashing = driver.crash(session)
            failure = await watch.frame("after")
            crashing.cancel()
            assert isinstance(failure, FrameFailure)
            # A picture that was asked for in that very moment is answered before the browser reports the crash.
            assert failure.reason in ("the page crashed", "Internal error")
            await driver.open(page("blue"))
            assert shows(await watch.frame("after"), BLUE)

    asyncio.run(scenario())


def test_a_killed_browser_is_a_fact_and_closing_it_still_works() -> None:
    async def scenario() -> None:
        async with driven_browser() as (browser, watch, driver):
            await driver.open(page("red"))
            os.kill(browser._process.pid, signal.SIGKILL)
            await browser._process.wait()
            failure = await watch.frame("after")
            assert isinstance(failure, FrameFailure)
            assert failure.reason == "the browser is gone"
            assert not browser.running

    asyncio.run(scenario())


def test_the_browser_gets_no_secret_and_leaves_no_process_or_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", "hunter2")

    async def scenario() -> tuple[int, Path]:
        async with await Browser.start(find_browser()) as browser:
            environment = Path(f"/proc/{browser._process.pid}/environ")
            if environment.exists():  # only Linux lets us look
                assert b"PLANTED_TOKEN" not in environment.read_bytes()
            assert browser.version.split("/")[0].endswith("Chrome")
            assert browser.cdp_url == f"http://127.0.0.1:{browser.port}"
            return browser._process.pid, browser._folder

    pid, folder = asyncio.run(scenario())
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def something_listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_browser_does_not_outlive_the_process_that_started_it() -> None:
    program = (
        "import asyncio, os\n"
        "from pytest_mcp_governance.session.browser import Browser, find_browser\n"
        "async def main():\n"
        "    browser = await Browser.start(find_browser())\n"
        "    print(browser.port, browser._folder, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        port, folder = starter.stdout.readline().split()
        starter.kill()
    while something_listens(int(port)):  # or else this test runs into its time limit
        time.sleep(0.02)
    while Path(folder).exists():  # its last helpers may still be writing
        shutil.rmtree(folder, ignore_errors=True)


def test_a_browser_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh\necho 'missing libnss3.so' >&2\nexit 127\n")
    script.chmod(0o755)
    with pytest.raises(CaptureError, match=r"(?s)exit code 127.*missing libnss3\.so"):
        asyncio.run(Browser.start(script))
    with pytest.raises(CaptureError, match="cannot be run"):
        asyncio.run(Browser.start(tmp_path / "absent"))


def test_the_search_says_what_it_looked_for(tmp_path: Path) -> None:
    empty = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(CaptureError, match=r"(?s)chromium-browser.*Playwright.*doctor --fix"):
        find_browser(empty) if os.uname().sysname == "Linux" else pytest.skip("applications may be installed")
    with pytest.raises(CaptureError, match="not a file that can be run"):
        find_browser({**empty, "MCP_GOVERNANCE_BROWSER": str(tmp_path / "absent")})


def test_the_search_prefers_the_variable_then_path_then_playwright(tmp_path: Path) -> None:
    def executable(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    chosen, named = executable("mine/browser"), executable("bin/google-chrome")
    cached = executable("cache/chromium-1200/chrome-linux64/chrome")
    environ = {"PATH": str(tmp_path / "bin"), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path / "cache")}
    assert find_browser({**environ, "MCP_GOVERNANCE_BROWSER": str(chosen)}) == chosen
    assert find_browser(environ) == named
    assert find_browser({**environ, "PATH": ""}) == cached


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG", b"\xff\xd8\xff\xe0\x00\x00" * 3])
def test_bytes_that_are_no_jpeg_are_refused(data: bytes) -> None:
    with pytest.raises(CaptureError):
        jpeg_size(data)
