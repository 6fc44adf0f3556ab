"""Several runs read as one, and what stands about their shards on a group's page.

Everything a run says of itself (its segments, refs and tests) stands under the run's own label, so nothing in one run
can name, hide or reveal anything of another. Leaves out checking and the page itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record

_LABEL = re.compile(r"\Ashard-[1-9][0-9]*(?:-[^: ]*)?: ")


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One run in a group, as the page lists it.

    Args:
        label: what its segments and tests stand under.
        index: which shard it is; attempt from 1.
        run: run id.
        status: as its close statement says.
        close_digest: hex.
        signer: fingerprint of its own key.
        tests: (outcome, number) of its test attempts.
        findings: unexpected findings in enforce mode.
        unaudited: number of its tests that ran without an audit.
        superseded: a later attempt of the same shard is here.
        opened: source and pipeline as its open statement names them.
    """

    label: str
    index: int
    attempt: int
    run: str
    status: str
    close_digest: str
    signer: str
    tests: tuple[tuple[str, int], ...]
    findings: int
    unaudited: int
    superseded: bool
    opened: Record | None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What a page says of a group beside its records.

    Args:
        group: its id.
        total: how many shards there are.
        rows: the runs, by shard and attempt.
        missing: what is not here, one sentence each.
        collection: digest of the collection, "" where the shards do not agree on one.
        selected: clear names of all tests that some shard selected.
        covered: together they are the whole collection.
    """

    group: str
    total: int
    rows: tuple[ShardRow, ...]
    missing: tuple[str, ...]
    collection: str
    selected: tuple[str, ...]
    covered: bool


class GroupReader:
    """The records of several runs, one run after another, each placed under its label."""

    def __init__(self, group: str, runs: Sequence[tuple[str, EvidenceReader]]) -> None:
        self._runs = tuple(runs)
        self._current: EvidenceReader | None = None  # whose record was read last: it alone reveals what that holds
        self.run = group
        self.segments = tuple(f"{label}/{name}" for label, reader in runs for name in reader.segments)
        self.open: Record | None = None

    def records(self) -> Iterator[Record]:
        for label, reader in self._runs:
            self._current = reader
            for record in reader.records():
                yield _placed(record, label)

    def reveal(self, value: object) -> object:
        return self._current.reveal(value) if self._current is not None else value

    def has_disclosure(self, digest: str) -> bool:
        return self._current is not None and self._current.has_disclosure(digest)

    def blob(self, digest: str) -> bytes | None:
        """By its own digest, so it does not matter whose it is."""
        return next((data for _, reader in self._runs if (data := reader.blob(digest)) is not None), None)


def labels(shards: Iterable[tuple[str, int, int]]) -> dict[str, str]:
    """What each run's records stand under: its shard, the attempt after the first, its id where it must.

    Args:
        shards: run id, shard and attempt of each run, by shard and attempt.
    """
    given: dict[str, str] = {}
    for run, index, attempt in shards:
        label = f"shard-{index}" + (f"-attempt-{attempt}" if attempt > 1 else "")
        given[run] = f"{label}-{run}" if label in given.values() else label
    return given


def bare_test(name: str) -> str:
    """The test as its own run names it."""
    return _LABEL.sub("", name)


def _placed(record: Record, label: str) -> Record:
    placed = dict(record)
    for key in ("seg", "ref"):
        if isinstance(placed.get(key), str):
            placed[key] = f"{label}/{placed[key]}"
    if _is_list(refs := placed.get("refs")):
        placed["refs"] = [f"{label}/{ref}" for ref in refs if isinstance(ref, str)]
    if isinstance(placed.get("test"), str):
        placed["test"] = test_name(label, str(placed["test"]))
    if placed.get("type") == "segment" and isinstance(placed.get("name"), str):
        placed["name"] = f"{label}/{placed['name']}"
    if placed.get("type") == "selection" and _is_list(selected := placed.get("selected")):
        placed["selected"] = [test_name(label, name) for name in selected if isinstance(name, str)]
    return placed


def test_name(label: str, name: str) -> str:
    """A test as a group's page names it."""
    return f"{label}: {name}"


test_name.__test__ = False  # type: ignore[attr-defined]  # no test of ours


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
