"""A small, whole, signed run to verify and to damage: two segments, a denial, a finding, a screen, a policy."""

import base64
import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.container import pack
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed, Segment, SegmentSummary
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.source import FilteredSource, FolderSource, items
from pytest_mcp_governance.evidence.statements import (
    close_statement,
    open_statement,
    read_bundle,
    sign_bundle,
)

# Slow machines are not what these properties are about, and the runs that fixtures make are never changed for good.
settings.register_profile(
    "evidence",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("evidence")

RUN = "20261123t061500z-3f9a1c"
VIEW = b"<!doctype html><html><body><h1>One call was denied.</h1>\n"
TEST = ("tests/test_refund.py::test_refund", 1)
POLICY = b"allow: [books.*]\n"
Record = Callable[[Segment], object]


class TickingClock:
    """One millisecond a look."""

    def __init__(self) -> None:
        self._ticks = 0

    def now(self) -> datetime:
        self._ticks += 1
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(milliseconds=self._ticks)

    def monotonic_ns(self) -> int:
        return self._ticks * 1_000_000


@dataclass(frozen=True)
class Made:
    """A run on disk, its single file, and who signed it."""

    folder: Path
    file: bytes
    identity: SigningKey

    @property
    def fingerprint(self) -> str:
        return self.identity.public.fingerprint

    def copy(self, target: Path) -> Path:
        return Path(shutil.copytree(self.folder, target))


class Builder:
    """Makes runs below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._number = folder, 0

    def opened(self, *, run: str = RUN, **more: object) -> "OpenedRun":
        self._number += 1
        return OpenedRun(self.folder / f"run{self._number}", more, run)

    def whole(self, **changes: object) -> Made:
        run = self.opened()
        run.record_test()
        return run.close(**changes)


class OpenedRun:
    """A run that is being recorded."""

    def __init__(self, folder: Path, more: Mapping[str, object], run: str) -> None:
        self.run = run
        self.folder, self.identity = folder, SigningKey.generate()
        self.clock = TickingClock()
        folder.mkdir(mode=0o700, parents=True)
        main_key = SigningKey.generate()
        statement = open_statement(
            run=self.run,
            segment_key=main_key.public,
            identity_key=self.identity.public,
            started_on="2026-11-23T00:00:00Z",
            producer={"name": "pytest-mcp-governance", "version": "0"},
            more=more,
        )
        self._open = sign_bundle(statement, self.identity)
        (folder / names.OPEN).write_bytes(self._open)
        self.segments: list[Segment] = []
        self.main = self.segment("main", main_key)

    def segment(self, name: str, key: SigningKey) -> Segment:
        if name != "main":
            self.main.append("segment", {"name": name, "key": base64.b64encode(key.public.raw).decode()})
        made = Segment(self.folder, run=self.run, name=name, key=key, clock=self.clock)
        made.append("open", {"pid": 7, "open_statement": hashlib.sha256(self._open).hexdigest()})
        self.segments.append(made)
        return made

    def record_test(self) -> None:
        """What a test with one denied call leaves behind."""
        worker = self.segment("gw0", SigningKey.generate())
        self.main.append("selection", {"selected": [TEST[0]], "unaudited": 3, "deselected": 1})
        worker.append("test", {"phase": "start", "nodeid": Committed(TEST[0] + "[é]")}, test=TEST)
        source = {"blob": worker.store_blob(POLICY), "name": "governance.policy.yaml", "kind": "file"}
        worker.append("policy", {"sha256": "ab" * 32, "sources": [source], "mode": "enforce"}, test=TEST)
        msg = worker.append("msg", {"direction": "c2s", "wire": Committed('{"id":1}')}, test=TEST)
        fields = [Committed("v-1"), Committed({"iban": "DE02"})]
        worker.append("access", {"agent": "payables-3", "ref": msg, "fields": fields}, test=TEST)
        denial = {"moment": "before", "rule": "r", "verdict": "deny", "effect": "replace", "ref": msg}
        decision = worker.append("decision", denial, test=TEST)
        screen = {"kind": "screen", "size": 3, "ref": msg, "sha256": worker.commit_blob(b"png")}
        worker.append("blob", screen, test=TEST)
        finding = {"state": "blocked", "mode": "enforce", "refs": [decision], "expected": True}
        worker.append("finding", finding, test=TEST)
        worker.append("test", {"phase": "end", "outcome": "passed"}, test=TEST)
        worker.checkpoint(sync=True)

    def close(
        self,
        *,
        status: str = "complete",
        withhold: frozenset[str] = frozenset(),
        drop_blobs: frozenset[str] = frozenset(),
        omitted: tuple[Mapping[str, object], ...] = (),
        counts: Mapping[str, object] | None = None,
        signer: SigningKey | None = None,
        cut_off: tuple[SegmentSummary, ...] = (),
        view: bytes = VIEW,
        continued_by: Mapping[str, object] | None = None,
    ) -> Made:
        summaries = [*cut_off, *(segment.close() for segment in reversed(self.segments))]
        count = Recount()
        for record in EvidenceReader(FolderSource(self.folder)).records():
            count.add(record)
        draft = pack(view, items(FilteredSource(FolderSource(self.folder), withhold, drop_blobs)))
        statement = close_statement(
            run=self.run,
            open_digest=read_bundle(self._open).digest,
            status=status,
            finished_on="2026-11-23T00:01:00Z",
            segments=summaries,
            counts=count.counts() | dict(counts or {}),
            policies=count.policies,
            omitted=omitted,
            view_sha256=draft.view_sha256,
            item_list_sha256=draft.item_list_sha256,
            continued_by=continued_by,
        )
        close = sign_bundle(statement, signer or self.identity)
        (self.folder / names.CLOSE).write_bytes(close)
        return Made(self.folder, draft.finish(close), self.identity)


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Builder(tmp_path_factory.mktemp("shared")).whole()


@pytest.fixture
def made(_shared: Made, tmp_path: Path) -> Made:
    """A whole run; its folder is this test's own to damage."""
    return Made(_shared.copy(tmp_path / "whole"), _shared.file, _shared.identity)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """Makes runs to order."""
    return Builder(tmp_path)
