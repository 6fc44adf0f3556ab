"""One MCP server process: the environment it may see, its start, its end. Leaves its messages to `relay`."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.errors import ConfigurationError

# What a program needs to run at all, and the names of the files with the authorities that this machine trusts: npx and
# uvx fetch nothing behind an inspecting proxy without them. Everything else, secrets of the test run above all, has to
# be named in `env`; so have proxies, whose addresses can hold a password.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM"),
    *_CERTIFICATES,
)
CDP_URL = "${MCP_AUDIT_CDP_URL}"
CDP_PORT = "${MCP_AUDIT_CDP_PORT}"

_READ_BYTES = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How to start a server: the `mcpServers` entry of the ecosystem's `mcp.json`, resolved."""

    name: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = "."

    @classmethod
    def from_mapping(cls, name: str, value: Mapping[str, object], root: Path) -> "ServerSpec":
        """Read one entry; relative paths in it start from `root`, where mcp.json lies.

        Raises:
            ConfigurationError: a member is missing or of the wrong type.
        """
        command, args, env, cwd = (value.get(k) for k in ("command", "args", "env", "cwd"))
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(f"server name {name[:80]!r}: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
        if not isinstance(command, str) or not command:
            raise ConfigurationError(
                f"server {name!r} has no command; expected an entry like "
                '{"command": "uvx", "args": ["mcp-server-time"]}. '
                "Servers reached by URL are not supported in this version."
            )
        if not isinstance(args or [], list | tuple) or not all(isinstance(a, str) for a in args or ()):  # type: ignore[attr-defined]  # checked in the same line
            raise ConfigurationError(f"server {name!r}: args must be a list of texts, seen {type(args).__name__}")
        if not isinstance(env or {}, Mapping) or not all(isinstance(v, str) for v in (env or {}).values()):  # type: ignore[attr-defined]  # checked in the same line
            raise ConfigurationError(f"server {name!r}: env must map names to texts")
        texts = [command, *(args or ()), *(env or {}), *(env or {}).values()]  # type: ignore[attr-defined, misc]  # checked above
        if any("\0" in text for text in texts) or any("=" in key or not key for key in env or {}):  # type: ignore[attr-defined]  # checked above
            raise ConfigurationError(
                f"server {name!r}: a text holds a NUL character, or a variable's name is empty or holds '='; "
                "no program can be started with that. Correct its entry in the MCP configuration."
            )
        return cls(name, command, tuple(args or ()), dict(env or {}), str(root / str(cwd or ".")))  # type: ignore[arg-type, call-overload]  # checked above

    @property
    def needs_browser(self) -> bool:
        """Whether an argument asks for a browser that the recorder watches."""
        return any(CDP_URL in a or CDP_PORT in a for a in (*self.args, *self.env.values()))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the command as configured, its arguments and the names of its variables."""
        parts = [self.command, *self.args, *sorted(self.env)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def transport(self) -> Literal["stdio"]:
        """A process speaks over its stdio."""
        return "stdio"

    @property
    def remedy(self) -> str:
        """What to do to see why it ended."""
        return f"To see why, run by hand the command of its entry {self.name!r} in the MCP configuration."

    async def start(self, cdp: tuple[str, int] | None) -> "ServerProcess":
        """Start the server; see `ServerProcess.start`."""
        return await ServerProcess.start(self, cdp)

    def environment(self) -> dict[str, str]:
        """The whole environment of the server: the few inherited names and what its entry sets."""
        return {k: os.environ[k] for k in INHERITED if k in os.environ} | dict(self.env)

    def require_command(self) -> str:
        """Find the program.

        Raises:
            ConfigurationError: no such program, or no such working directory.
        """
        if not Path(self.cwd).is_dir():
            raise ConfigurationError(f"server {self.name!r}: its cwd {self.cwd!r} is not a folder")
        path = self.environment().get("PATH")
        candidate = str(Path(self.cwd) / self.command) if os.sep in self.command else self.command
        found = shutil.which(candidate, path=path)
        if found is None:
            raise ConfigurationError(
                f"server {self.name!r}: command {self.command!r} was not found or is not executable "
                f"(looked in {'the given path' if os.sep in self.command else 'PATH'}). "
                "Install it, or correct its entry in the MCP configuration."
            )
        return found


class ServerProcess:
    """A running server and its three streams. `spec` must have no placeholder left."""

    def __init__(self, spec: ServerSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    async def start(cls, spec: ServerSpec, cdp: tuple[str, int] | None = None) -> "ServerProcess":
        """Start the server in a process group of its own.

        Args:
            spec: what to start.
            cdp: URL and port of the watched browser, put in the place of the placeholders.

        Raises:
            ConfigurationError: the program cannot be found.
            OSError: the system refuses to start it.
        """
        program = spec.require_command()
        args = [_fill(a, cdp) for a in spec.args]
        env = {k: _fill(v, cdp) for k, v in spec.environment().items()}
        process = await asyncio.create_subprocess_exec(
            program,
            *args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=spec.cwd,
            limit=_READ_BYTES,
            start_new_session=True,
        )
        return cls(spec, process)

    async def read(self) -> bytes:
        """The next bytes of its stdout, empty at its end."""
        assert self._process.stdout is not None
        return await self._process.stdout.read(_READ_BYTES)

    async def read_stderr(self) -> bytes:
        """The next bytes of its stderr, empty at its end."""
        assert self._process.stderr is not None
        return await self._process.stderr.read(_READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Pass bytes to its stdin.

        Raises:
            ConnectionError: the server has closed its stdin or has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def close_input(self) -> None:
        """Close its stdin, which asks an MCP server to end."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self, grace_s: float = 2.0) -> int:
        """Wait for its end, then terminate, then kill its process group; return the exit status."""
        self.close_input()
        try:
            for signal_number, patience_s in ((None, grace_s), (signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
                if signal_number is not None:
                    self._signal(signal_number)
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(self._process.wait(), patience_s)
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)  # nobody waits any more, and no server may outlive its recorder
            raise
        return -int(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self._process.returncode


def _fill(text: str, cdp: tuple[str, int] | None) -> str:
    if cdp is None:
        return text
    return text.replace(CDP_URL, cdp[0]).replace(CDP_PORT, str(cdp[1]))
