"""Finds the reports that a person means by files and folders: reports, run folders, folders that hold such.

What was named and is not there is told, not raised: a missing artefact is a missing shard. Leaves out checking.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_mcp_governance.evidence import container, names
from pytest_mcp_governance.evidence.safe_text import safe

_CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Found:
    """Report files, and one sentence for each place without one."""

    reports: tuple[Path, ...]
    absent: tuple[str, ...]


def find_reports(targets: Sequence[Path]) -> Found:
    """The reports at `targets`, in their order.

    Args:
        targets: report files, run folders (their report.html), and folders that hold either, at any depth. In a folder
            that is searched, other files are passed over, and the same report twice counts once.
    """
    reports: list[Path] = []
    absent: list[str] = []
    contents: set[str] = set()
    for target in targets:
        if not os.path.exists(target):  # false, too, for what can be no path
            absent.append(f"{safe(str(target))} does not exist")
        elif not os.path.isdir(target):
            reports.append(target)
        elif _is_run(target):
            _take_run(target, reports, absent)
        else:
            _search(target, reports, absent, contents)
    return Found(tuple(reports), tuple(absent))


def _search(folder: Path, reports: list[Path], absent: list[str], contents: set[str]) -> None:
    found: list[Path] = []
    unclosed = len(absent)
    for path in _below(folder):
        if path.is_dir():
            _take_run(path, found, absent)
        else:
            found.append(path)
    for report in found:
        digest = _digest(report)
        if digest not in contents:
            contents.add(digest)
            reports.append(report)
    if not found and len(absent) == unclosed:
        absent.append(f"{safe(str(folder))} holds no report of a run")


def _take_run(folder: Path, reports: list[Path], absent: list[str]) -> None:
    report = folder / "report.html"
    if report.is_file():
        reports.append(report)
    else:
        absent.append(f"{safe(str(folder))} holds a run without a report: it was not closed")


def _below(folder: Path) -> Iterator[Path]:
    """Run folders, and files that hold evidence, in the order of their paths."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders.sort()
        runs = [name for name in folders if _is_run(here / name)]
        folders[:] = [name for name in folders if name not in runs]
        for name in sorted([*runs, *files]):
            path = here / name
            if name in runs or (path.suffix in (".html", ".htm") and path.is_file() and _is_report(path)):
                yield path


def _is_run(folder: Path) -> bool:
    return (folder / names.OPEN).is_file()


def _is_report(path: Path) -> bool:
    """Whether the file has the marker of evidence; a group's report has it too."""
    last = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if container.MARKER in last + chunk:
                    return True
                last = chunk[-len(container.MARKER) :]
    except OSError:
        return False
    return False


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)  # whoever opens it will say why it cannot be read
