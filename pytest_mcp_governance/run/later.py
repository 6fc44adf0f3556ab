"""Adds a later statement to a report or a run folder: checked first, signed, written beside what was there.

The kinds are `evidence.later`'s. Leaves out what a statement of a kind says beyond its subject.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container
from pytest_mcp_governance.evidence.checking import UNRELIABLE
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.later import Kind, sign_later
from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource, FolderSource
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.run.files import replace_file
from pytest_mcp_governance.run.open import PRODUCER


class RefusedError(EvidenceError):
    """Evidence that nothing is signed over; `outcome` says what it is instead."""

    def __init__(self, outcome: Outcome, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Added:
    """A statement that was added: where, over what, and what the evidence verifies as with its signer trusted."""

    written: tuple[Path, ...]
    statement: str
    report: Report


def add_later(
    target: Path, kind: Kind, key: SigningKey, *, out: Path | None = None, more: Mapping[str, object] | None = None
) -> Added:
    """Sign a later statement over a closed run and add it.

    Args:
        target: a report file, or a run folder; a folder's own report.html gets the statement too.
        kind: a row of `evidence.later.KINDS`.
        key: who signs.
        out: a report is written here and `target` left as it is; a folder has no `out`.
        more: what this kind says beside its subject.

    Raises:
        RefusedError: the evidence is altered, no evidence, or not closed; nothing was written.
        EvidenceError: nothing can be written, or this key has made such a statement already.
    """
    before = verify(target)
    _check(before, target, kind, key)
    path, bundle = sign_later(
        kind,
        key,
        digest=before.close_digest,
        run=before.run or "group",
        signed_on=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        producer={"name": PRODUCER, "version": version(PRODUCER)},
        more=more,
    )
    source = open_target(target)
    written: list[Path] = []
    if isinstance(source, FolderSource):
        if out is not None:
            raise EvidenceError("A run folder gets the statement in its own place; --out is for report files.")
        report = target / "report.html"
        if os.path.isfile(report):
            if verify(report).close_digest != before.close_digest:
                raise EvidenceError(f"{safe(str(report))} is not the report of this run; nothing was written.")
            written.append(_into_file(ContainerSource(report.read_bytes()), report, path, bundle))
        (target / "statements").mkdir(mode=0o700, exist_ok=True)
        replace_file(target / path, (bundle,))
        written.insert(0, target / path)
    elif isinstance(source, ContainerSource):
        written.append(_into_file(source, out or target, path, bundle))
    return Added(tuple(written), path, verify(out or target, trust=[key.public]))


def _check(before: Report, target: Path, kind: Kind, key: SigningKey) -> None:
    shown = safe(str(target))
    if before.outcome in UNRELIABLE:
        raise RefusedError(before.outcome, f"{shown} is {before.outcome.name}: {before.problems[0].sentence}")
    if not before.close_digest:
        raise RefusedError(before.outcome, f"{shown} was not closed; there is no close statement to sign over.")
    if any((seen.kind, seen.signer) == (kind.name, key.public.fingerprint) for seen in before.statements):
        raise EvidenceError(f"{shown} has a {kind.name} statement by {key.public.fingerprint} already.")


def _into_file(source: ContainerSource, place: Path, path: str, bundle: bytes) -> Path:
    replace_file(place, container.with_statement(source.data, source.layout, path, bundle))
    return place
