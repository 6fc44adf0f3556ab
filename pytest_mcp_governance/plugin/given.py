"""One setting as it was given: its text, where its paths start, and who gave it.

`addopts` in an ini file and the environment's PYTEST_ADDOPTS look like options to pytest; who runs a gate has to
know what stands on the command line itself, because the rest lies in files that a change can edit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

CHALLENGE_VARIABLE = "MCP_GOVERNANCE_CHALLENGE"
_PUNCTUATION = "._~+/=:@-"  # no comma, which parts requirements from each other
_UNPUNCTUATED = str.maketrans("", "", _PUNCTUATION)


@dataclass(frozen=True, slots=True)
class Given:
    """A setting's value; `from_option` counts addopts in, `from_command_line` does not."""

    value: str
    base: Path
    from_option: bool
    from_command_line: bool

    @property
    def path(self) -> Path:
        return Path(os.path.abspath(self.base / Path(self.value).expanduser()))


def option_name(name: str) -> str:
    """`report_path` -> `--mcp-governance-report-path`."""
    return f"--mcp-governance-{name.replace('_', '-')}"


def setting(config: pytest.Config, name: str) -> Given | None:
    """What was given for a setting that takes a text; None where nothing was.

    Raises:
        pytest.UsageError: an option without a text, as an unset variable in a script leaves it.
    """
    option = config.getoption(f"mcp_governance_{name}", default=None)
    if option is not None and not str(option).strip():
        raise pytest.UsageError(f"mcp-governance: {option_name(name)} is empty; give it a value or leave it out")
    if option:
        return Given(str(option), config.invocation_params.dir, True, on_command_line(config, name))
    value = config.getini(f"mcp_governance_{name}")
    if not value:
        return None
    base = config.inipath.parent if config.inipath else config.rootpath
    return Given(str(value), base, from_option=False, from_command_line=False)


def flag(config: pytest.Config, name: str) -> bool:
    """Whether a switch is on, by option or ini.

    Raises:
        pytest.UsageError: the ini value is neither true nor false.
    """
    if config.getoption(f"mcp_governance_{name}", default=False):
        return True
    try:
        return bool(config.getini(f"mcp_governance_{name}"))
    except (ValueError, pytest.UsageError):
        raise pytest.UsageError(f"mcp-governance: mcp_governance_{name} must be true or false") from None


def read_challenge(config: pytest.Config) -> str:
    """The reader's nonce, from the option or MCP_GOVERNANCE_CHALLENGE; "" where there is none.

    It has no ini twin: a nonce that lies in a file answers no reader.

    Raises:
        pytest.UsageError: empty, or not 8 to 200 of the characters that `verify --require challenge=` takes as one.
    """
    value = config.getoption("mcp_governance_challenge", default=None)
    name = option_name("challenge")
    if value is None:
        value, name = os.environ.get(CHALLENGE_VARIABLE), CHALLENGE_VARIABLE
    if value is None:
        return ""
    if not 8 <= len(value) <= 200 or not value.isascii() or not value.translate(_UNPUNCTUATED).isalnum():
        raise pytest.UsageError(
            f"mcp-governance: {name} must be 8 to 200 letters, digits or any of {_PUNCTUATION}, such as what "
            "`openssl rand -hex 16` prints; a reader gives it, new for each run"
        )
    return str(value)


def on_command_line(config: pytest.Config, name: str) -> bool:
    """Whether the option was typed, as far as that can be seen; what an `@file` holds does not count."""
    option = option_name(name)
    return any(arg == option or arg.startswith(f"{option}=") for arg in map(str, config.invocation_params.args))
