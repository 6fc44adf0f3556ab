"""A policy before and after a change, each a file or a path in a git revision, as values that can be compared.

Reads; what a difference means is `policy.diff`'s affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.policy.diff import PolicyDiff, diff
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.model import Policy
from pytest_mcp_governance.run.outside import NotThereError, OutsideText, read_outside


class NothingBeforeError(ConfigurationError):
    """There was no policy before, so nothing says what the new one may be compared with."""


def compare_policies(
    before: str,
    after: str,
    *,
    folder: Path,
    today: date,
    floor: Sequence[str] = (),
    new_allowed: bool = False,
) -> PolicyDiff:
    """What changes from one policy to another.

    Args:
        before, after: `FILE` or `git:REV:PATH`. An `after` that is not there is a policy taken away, the widest
            change of all.
        today: the day, in UTC, by which waivers hold.
        floor: policies from outside the change, in the same form; AND-ed to both sides, and their waivers count.
        folder: where relative paths start and git looks for the repository.
        new_allowed: a `before` that is not there means that there was no policy, which is wider than any.

    Raises:
        NothingBeforeError: `before` is not there, and nobody said that it may be missing.
        ConfigurationError: a text that cannot be read, or neither of the two is there.
        PolicyError: a text that is no policy.
    """
    was, now = _policy(before, folder), _policy(after, folder)
    if was is None and now is None:
        raise ConfigurationError(f"neither {before} nor {after} is there: there is nothing to compare")
    if was is None and not new_allowed:
        raise NothingBeforeError(
            f"{before} is not there, so there is nothing to compare {after} with. If it is the first policy, read all "
            "of it and say so with --allow-new; if the file was moved, name it where it was"
        )
    held = [load_policy(text.text, name=text.name, kind="floor") for text in _read_all(floor, folder)]
    return diff([] if was is None else [was], [] if now is None else [now], floor=held, today=today)


def _read_all(specs: Sequence[str], folder: Path) -> list[OutsideText]:
    return [read_outside(spec, folder=folder) for spec in specs]


def _policy(spec: str, folder: Path) -> Policy | None:
    try:
        text = read_outside(spec, folder=folder)
    except NotThereError:
        return None
    return load_policy(text.text, name=text.name)
