"""Finds a Chromium on this machine and runs one of our own, with a debugging port and an empty profile.

Takes no picture (capture.py) and installs nothing (adopt/setup.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_mcp_governance.errors import CaptureError
from pytest_mcp_governance.session.cdp import CdpConnection

BROWSER_VARIABLE = "MCP_GOVERNANCE_BROWSER"
_NAMES_ON_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MACOS_APPS = ("Google Chrome", "Chromium", "Google Chrome for Testing", "Microsoft Edge")
_PLAYWRIGHT_PATTERNS = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium_headless_shell-*/*/*headless*shell",
)

# The environment is an allow-list: a browser that an agent drives can print its own environment.
_FORWARDED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_FLAGS = (
    "--remote-debugging-port=0",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    "--window-size=1280,800",
)

# Chromium ends when the far end of its debugging pipe (descriptors 3 and 4) closes. The kernel closes ours
# even when this process is killed, so no browser outlives the recorder. Nothing is said over the pipe.
_EXEC_WITH_PIPE = (
    "import os,sys;os.dup2(int(sys.argv[1]),3);os.dup2(int(sys.argv[2]),4);os.execv(sys.argv[3],sys.argv[3:])"
)
_LOG = "browser.log"
_START_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 3.0
_POLL_S = 0.02
_REMOVE_TRIES = 100


def find_browser(environ: Mapping[str, str] | None = None) -> Path:
    """Find a Chromium or Chrome to run.

    Looks, in this order, at `MCP_GOVERNANCE_BROWSER`, at the names Chromium and Chrome have on PATH, into
    Playwright's own folder of browsers, and at the applications of macOS.

    Args:
        environ: the environment to look in; this process's own if None.

    Returns:
        The executable's path.

    Raises:
        CaptureError: there is none, or `MCP_GOVERNANCE_BROWSER` names a file that cannot be run.
    """
    environ = os.environ if environ is None else environ
    chosen = environ.get(BROWSER_VARIABLE)
    if chosen:
        path = Path(chosen).expanduser()
        if path.is_file() and os.access(path, os.X_OK):
            return path
        raise CaptureError(
            f"{BROWSER_VARIABLE} is set to {chosen!r}, which is not a file that can be run.\n"
            f"  Set it to the path of a Chromium or Chrome executable, or unset it to search for one."
        )
    for candidate in _candidates(environ):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise CaptureError(
        f"no Chromium or Chrome found: looked for {', '.join(_NAMES_ON_PATH)} on PATH, in Playwright's folder"
        f" of browsers ({_playwright_folder(environ)}) and for installed applications.\n"
        f"  Run `mcp-governance doctor --fix`, install Chromium, or set {BROWSER_VARIABLE} to its path."
    )


class Browser:
    """One running Chromium that this process started: its own process group, profile and environment.

    Made by `await Browser.start(executable)`; `close()` ends what was started and nothing else.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, pipe: tuple[int, int]) -> None:
        self._process = process
        self._folder = folder
        self._pipe = pipe
        self._closed = False
        self.port = 0
        self.ws_url = ""
        self.version = ""

    @classmethod
    async def start(cls, executable: Path | str, *, headless: bool = True) -> Browser:
        """Start a Chromium with a free debugging port on the loopback address.

        Args:
            executable: what `find_browser` returned.
            headless: False shows a window and needs a display.

        Raises:
            CaptureError: it cannot be run, ended while starting, or did not listen within 30 seconds; the
                message ends with what it last printed.
        """
        folder = Path(tempfile.mkdtemp(prefix="mcpgov-"))
        flags = [*_FLAGS, *(["--headless=new"] if headless else []), f"--user-data-dir={folder / 'profile'}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses its sandbox to root
        command = [str(executable), *flags, "about:blank"]
        try:
            _require_executable(executable)
            browser = await cls._spawn(command, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise CaptureError(f"the browser {str(executable)!r} cannot be run: {error.strerror}") from error
        try:
            await asyncio.wait_for(browser._wait_until_listening(), _START_TIMEOUT_S)
        except (TimeoutError, CaptureError) as error:
            text = str(error) or f"it did not open its debugging port within {_START_TIMEOUT_S:.0f} s"
            last_words = browser._last_words()
            await browser.close()
            raise CaptureError(f"the browser {str(executable)!r} did not start: {text}{last_words}") from error
        except BaseException:
            await browser.close()
            raise
        return browser

    @property
    def cdp_url(self) -> str:
        """The debugging endpoint that clients such as Playwright connect to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.returncode is None

    async def close(self) -> None:
        """End the browser with all its processes and remove its profile; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for descriptor in self._pipe:
            os.close(descriptor)
        try:
            await asyncio.wait_for(self._process.wait(), _CLOSE_TIMEOUT_S)
        except TimeoutError:
            # Only while the leader is not yet reaped does its number surely mean our group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await asyncio.to_thread(_remove, self._folder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Browser(pid={self._process.pid}, port={self.port}, running={self.running})"

    @classmethod
    async def _spawn(cls, command: list[str], folder: Path) -> Browser:
        ours, theirs = _pipe_pairs()
        log = os.open(folder / _LOG, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _EXEC_WITH_PIPE,
                    str(theirs[0]),
                    str(theirs[1]),
                    *command,
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=theirs,
                env=_environment(folder),
                cwd=folder,
                start_new_session=True,
            )
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in (log, *theirs):
                os.close(descriptor)
        return cls(process, folder, ours)

    async def _wait_until_listening(self) -> None:
        announced = self._folder / "profile" / "DevToolsActivePort"
        while not (announced.exists() and announced.read_text().count("\n")):
            if self._process.returncode is not None:
                raise CaptureError(f"it ended at once with exit code {self._process.returncode}")
            await asyncio.sleep(_POLL_S)
        port, path = announced.read_text().split()
        self.port, self.ws_url = int(port), f"ws://127.0.0.1:{port}{path}"
        connection = await CdpConnection.open(self.ws_url)
        try:
            self.version = str((await connection.call("Browser.getVersion"))["product"])
        finally:
            await connection.close()

    def _last_words(self) -> str:
        text = (self._folder / _LOG).read_text(errors="replace").strip()
        return "".join(f"\n  | {line}" for line in text.splitlines()[-5:])


def _require_executable(path: Path | str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file")
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, "it is not marked as executable")


def _pipe_pairs() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((our read end, our write end), (its read end, its write end)); its ends lie above 4."""
    from_browser, to_us = os.pipe()
    from_us, to_browser = os.pipe()
    theirs = []
    for low in (from_us, to_us):
        theirs.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(low)
    return (from_browser, to_browser), (theirs[0], theirs[1])


def _remove(folder: Path) -> None:
    """Remove the folder; the browser's last helpers may still write into it for a moment after it ended."""
    for _ in range(_REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_POLL_S)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _FORWARDED_VARIABLES if name in os.environ}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder)}


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in _NAMES_ON_PATH:
        found = shutil.which(name, path=environ.get("PATH", ""))
        if found:
            yield Path(found)
    folder = _playwright_folder(environ)
    for pattern in _PLAYWRIGHT_PATTERNS:
        yield from sorted(folder.glob(pattern), reverse=True)
    if sys.platform == "darwin":
        for root in (Path("/Applications"), Path(environ.get("HOME", "/")) / "Applications"):
            for app in _MACOS_APPS:
                yield root / f"{app}.app" / "Contents" / "MacOS" / app


def _playwright_folder(environ: Mapping[str, str]) -> Path:
    chosen = environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if chosen and chosen != "0":
        return Path(chosen)
    home = Path(environ.get("HOME", "/"))
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
