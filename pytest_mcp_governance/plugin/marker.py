"""`@pytest.mark.mcp_governance(policy=…, agent=…, controls=[…], mode=…)`: a test's own, tighter terms.

Several marks on one test add up: every policy applies, controls unite, enforce wins. Relaxing is refused where
the sources of a test come together (sources.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.lifecycle import MARKER as NAME

_KEYWORDS = ("policy", "agent", "controls", "mode")


@dataclass(frozen=True, slots=True)
class Terms:
    policies: tuple[Path, ...] = ()
    agent: str | None = None
    controls: tuple[str, ...] = ()
    mode: str | None = None


def read_terms(item: pytest.Item) -> Terms:
    """The terms of all marks on a test, nearest first.

    Raises:
        ConfigurationError: an unknown keyword, a positional argument, or a value of the wrong type.
    """
    policies: list[Path] = []
    agents: list[str] = []
    controls: list[str] = []
    modes: list[str] = []
    for mark in item.iter_markers(NAME):
        _check_keywords(mark.args, mark.kwargs)
        policy = mark.kwargs.get("policy")
        if policy is not None:
            policies.append(_policy_path(policy, item))
        if mark.kwargs.get("agent") is not None:
            agents.append(_text("agent", mark.kwargs["agent"]))
        controls += _controls(mark.kwargs.get("controls", ()))
        if mark.kwargs.get("mode") is not None:
            modes.append(_mode(mark.kwargs["mode"]))
    return Terms(
        policies=tuple(policies),
        agent=agents[0] if agents else None,
        controls=tuple(dict.fromkeys(controls)),
        mode="enforce" if "enforce" in modes else (modes[0] if modes else None),
    )


def _check_keywords(args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    if args:
        raise ConfigurationError(f"marker {NAME} takes keywords only ({', '.join(_KEYWORDS)}); got {args[0]!r}")
    for keyword in kwargs:
        if keyword not in _KEYWORDS:
            import difflib

            near = difflib.get_close_matches(keyword, _KEYWORDS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"marker {NAME} has no keyword {keyword!r}; it knows {', '.join(_KEYWORDS)}{meant}"
            )


def _policy_path(value: object, item: pytest.Item) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ConfigurationError(f"marker {NAME}: policy must be a path, got {type(value).__name__}")
    return item.path.parent / Path(value)


def _controls(value: object) -> list[str]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"marker {NAME}: controls must be a list of texts, got {type(value).__name__}")
    return [_text("each control", control) for control in value]


def _mode(value: object) -> str:
    if value not in ("enforce", "observe"):
        raise ConfigurationError(f"marker {NAME}: mode must be 'enforce' or 'observe', got {value!r}")
    return str(value)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"marker {NAME}: {what} must be a text that is not empty, got {value!r}")
    return value
