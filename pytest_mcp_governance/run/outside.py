"""Texts that come from outside the change under test: a file, or `git:REV:PATH` as it stands in another revision.

A floor, a baseline or an approved run that a pull request could edit would bind nobody. Reads; understands nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_mcp_governance.errors import ConfigurationError

_PREFIX = "git:"
_PLACES = (("", ""), ("tags/", ""), ("heads/", ""), ("remotes/", ""), ("remotes/", "/HEAD"))  # as git looks a name up
_GIT_TIMEOUT_S = 30.0
MAX_BYTES = 16 * 1024 * 1024


class NotThereError(ConfigurationError):
    """There is no such file, or no such path in a revision that is there."""


@dataclass(frozen=True, slots=True)
class OutsideText:
    """A text and where it came from.

    Attributes:
        name: how people call it: the path as named, with its revision where it has one.
        text: what it holds.
        commit: full id of the commit that a `git:` form named; None for a file.
        path: the file itself; None for a `git:` form.
    """

    name: str
    text: str
    commit: str | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval to compare with: its text, and what people call the place that it came from."""

    text: str
    source: str


def is_revision(spec: str) -> bool:
    """Whether `spec` has the form `git:REV:PATH`, or begins like it."""
    return spec.startswith(_PREFIX)


def is_checked_out(spec: str, *, folder: Path) -> bool:
    """Whether a `git:` form names the commit that is checked out, or what a checked-out merge commit merged in.

    Another branch or a tag does not, whatever it points to now: on the main branch itself that is `origin/main`.
    """
    revision = spec.removeprefix(_PREFIX).partition(":")[0]
    if not revision or revision.startswith("-"):
        return False  # read_outside says what is wrong with it
    ref = _line(folder, "rev-parse", "--symbolic-full-name", revision)
    if ref not in ("", "HEAD", _line(folder, "symbolic-ref", "--quiet", "HEAD")):
        return False
    named = _line(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    head, *parents = _line(folder, "rev-list", "--parents", "--max-count=1", "HEAD").split() or [""]
    return bool(named) and named in (head, *parents[1:])


def _line(folder: Path, *arguments: str) -> str:
    return _git(folder, *arguments).stdout.decode("utf-8", "replace").strip()


def read_outside(spec: str, *, folder: Path) -> OutsideText:
    """Read what `FILE` or `git:REV:PATH` names.

    Args:
        spec: a path, absolute or relative to `folder`; or a revision and a path from the top of the repository.
        folder: where a relative path starts, and in which git looks for the repository.

    Raises:
        NotThereError: no such file, or no such path in the revision.
        ConfigurationError: no such revision, or one of two meanings; not UTF-8; larger than 16 MiB; no git.
    """
    if is_revision(spec):
        return _from_git(spec, folder)
    path = Path(os.path.abspath(folder / Path(spec).expanduser()))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        kind = NotThereError if isinstance(error, FileNotFoundError) else ConfigurationError
        raise kind(f"{path} cannot be read: {error.strerror}") from None
    return OutsideText(spec, _text(data, spec), path=path)


def _from_git(spec: str, folder: Path) -> OutsideText:
    revision, colon, path = spec.removeprefix(_PREFIX).partition(":")
    if not (colon and revision and path) or revision.startswith("-") or path.startswith("/"):
        raise ConfigurationError(
            f"{spec!r} is not of the form git:REV:PATH, such as git:origin/main:governance.policy.yaml "
            "(the path from the top of the repository)"
        )
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode != 0:
        why = found.stderr.decode("utf-8", "replace").strip()
        if why:  # of a revision that is not there git says nothing here
            raise ConfigurationError(f"{spec}: revision {revision!r} cannot be used: {why}")
        raise ConfigurationError(
            f"{spec}: revision {revision!r} cannot be used: there is no such revision here. A shallow CI checkout "
            "lacks it: fetch it first, for example `git fetch --depth=1 origin main`, or check out with full history"
        )
    commit = found.stdout.decode("ascii", "replace").strip()
    _refuse_ambiguous(spec, revision, folder)
    shown = _git(folder, "cat-file", "blob", f"{commit}:{path}")
    if shown.returncode != 0:
        raise NotThereError(
            f"{spec}: {path!r} is no file in {revision} ({commit[:12]}); give its path from the top of the repository"
        )
    return OutsideText(spec, _text(shown.stdout, spec), commit=commit)


def _refuse_ambiguous(spec: str, revision: str, folder: Path) -> None:
    """A tag `origin/main` goes before the branch of that name: whoever may push tags could choose the floor with one.

    https://git-scm.com/docs/gitrevisions
    """
    name = re.split(r"[~^@]", revision)[0]
    places = [f"refs/{kind}{name}{head}" for kind, head in _PLACES]
    # Patterns also match what lies below a name, so only what is exactly there counts.
    listed = _git(folder, "for-each-ref", "--format=%(refname) %(*objectname) %(objectname)", *places) if name else None
    rows = [row.split() for row in listed.stdout.decode("utf-8", "replace").splitlines()] if listed is not None else []
    found = {row[0]: row[1] for row in rows if row[0] in places}
    short = re.fullmatch("[0-9a-f]{4,39}", name) is not None  # of a commit, which a tag of that name goes before
    if len(set(found.values())) > 1 or (short and found):
        raise ConfigurationError(
            f"{spec}: {name!r} can mean different things here: {', '.join(sorted(found))}. Write the one that is "
            f"meant in full, such as git:refs/remotes/{name}:… or with all 40 digits of a commit"
        )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise ConfigurationError("git is not installed here, and the form git:REV:PATH needs it") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git cannot be run in {folder}: {type(error).__name__}") from None


def _text(data: bytes, spec: str) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{spec} is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{spec} is not UTF-8 at byte {error.start}") from None
