"""Texts from outside the change under test, read once and handed on: the floor, and the baseline of known findings.

Also says what of a run lies inside that change. A change can edit every file of its working tree and every setting in
one, so what shall bind it stands on the command line and comes from a revision, or from a file elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_mcp_governance.errors import GovernanceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mcp_governance.plugin.given import Given
    from pytest_mcp_governance.policy.known import Baseline

_SHORT = 12


@dataclass(frozen=True, slots=True)
class Outside:
    """A text and its name in the evidence; `caveat` says why it may be inside the change after all."""

    name: str
    text: str
    commit: str | None = None
    caveat: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def stated(self) -> dict[str, object]:
        """What the open statement says of it."""
        known: dict[str, object] = {"name": self.name, "sha256": self.sha256}
        return known | ({"commit": self.commit} if self.commit else {})


def read_floor(given: Given, config: pytest.Config) -> Outside:
    """Read the floor and make sure that it is a policy.

    Raises:
        pytest.UsageError: it cannot be read, or is no policy; with file, line and column.
    """
    from pytest_mcp_governance.policy.loader import load_policy

    found = read(given, config)
    try:
        load_policy(found.text, name=found.name, kind="floor")
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: floor {error}") from None
    return found


def read_baseline(given: Given, config: pytest.Config, today: str) -> Outside:
    """Read the baseline and make sure that it is one.

    Raises:
        pytest.UsageError: it cannot be read, or is no baseline; with file, line and column.
    """
    found = read(given, config)
    try:
        load_known(found, today)
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: baseline {error}") from None
    return found


def load_known(baseline: Outside, today: str) -> Baseline:
    """The known findings as of a day.

    Raises:
        PolicyError: they cannot be read.
    """
    from pytest_mcp_governance.policy.known import load_baseline

    return load_baseline(baseline.text, name=baseline.name, today=date.fromisoformat(today))


def of_the_change(given: Given, config: pytest.Config) -> bool:
    """Whether a change can edit what this names: a file in its working tree, or its own last commit by any name."""
    from pytest_mcp_governance.run.outside import is_checked_out, is_revision

    if is_revision(given.value):
        return is_checked_out(given.value, folder=given.base)
    return lies_inside(given.path, config)


def read(given: Given, config: pytest.Config) -> Outside:
    """Read `FILE` or `git:REV:PATH`.

    Raises:
        pytest.UsageError: it cannot be read.
    """
    from pytest_mcp_governance.run.outside import read_outside

    try:
        # From where the command was typed: rootdir is where an ini file is, and a change can move that.
        found = read_outside(given.value, folder=given.base)
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: {error}") from None
    name = f"{found.name}@{found.commit[:_SHORT]}" if found.commit else _shown(given.path, config)
    caveat = ""
    if of_the_change(given, config):
        caveat = "the change under test can edit it"
    elif not given.from_command_line:
        caveat = "the change under test can name another"
    return Outside(name, found.text, found.commit, caveat)


def lies_inside(path: Path, config: pytest.Config) -> bool:
    """Whether a file is part of the working tree under test, or of what a change can point to with a symlink."""
    places = {path, path.resolve()}
    return any(place.is_relative_to(folder) for place in places for folder in _of_the_change(config))


def _of_the_change(config: pytest.Config) -> Iterator[Path]:
    # rootdir alone will not do: an ini file in a sub-folder moves it, and --rootdir in addopts puts it anywhere.
    for folder in {config.rootpath, config.invocation_params.dir, *([config.inipath.parent] if config.inipath else [])}:
        for place in {folder, folder.resolve()}:
            yield place
            yield from (tree for tree in place.parents if os.path.lexists(tree / ".git"))


def _shown(path: Path, config: pytest.Config) -> str:
    root = config.rootpath
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
