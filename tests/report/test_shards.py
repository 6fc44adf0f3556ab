"""The page of a group: every run stands under its own label, and no run reaches into another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_mcp_governance.evidence.reader import Withheld
from pytest_mcp_governance.report import RunFacts, render
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.shards import GroupFacts, GroupReader, ShardRow

from .conftest import Rendered
from .markup import Page


def row(label: str, index: int, run: str, **changes: object) -> ShardRow:
    made = ShardRow(
        label=label,
        index=index,
        attempt=1,
        run=run,
        status="complete",
        close_digest="ab" * 32,
        signer="SHA256:x",
        tests=(("passed", 1),),
        findings=0,
        unaudited=0,
        superseded=False,
        opened=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def group_of(*missing: str) -> GroupFacts:
    return GroupFacts(
        group="771",
        total=3,
        rows=(row("shard-1", 1, "a"), row("shard-2", 2, "b", findings=2, superseded=True)),
        missing=missing,
        collection="cd" * 32,
        selected=("t.py::a",),
        covered=False,
    )


def facts_of(sample: Rendered, **changes: object) -> RunFacts:
    return replace(sample.facts, run="771", kind="Group", open_digest="", **changes)  # type: ignore[arg-type]  # by name


@pytest.fixture
def both(sample: Rendered, hostile: Rendered) -> GroupReader:
    return GroupReader("771", [("shard-1", sample.reader), ("shard-2", hostile.reader)])


def test_records_of_a_group_are_those_of_its_runs(both: GroupReader, sample: Rendered, hostile: Rendered) -> None:
    apart = [collect(reader) for reader in (sample.reader, hostile.reader)]
    together = collect(both)
    assert together.records == sum(evidence.records for evidence in apart)
    for part in ("calls", "findings", "accesses", "screens", "tests"):
        assert len(getattr(together, part)) == sum(len(getattr(evidence, part)) for evidence in apart), part
    assert together.withheld.values == sum(evidence.withheld.values for evidence in apart)
    assert {call.request.at.segment.partition("/")[0] for call in together.calls} == {"shard-1", "shard-2"}


def test_a_hostile_run_changes_nothing_of_what_stands_of_another(both: GroupReader, sample: Rendered) -> None:
    """Joined calls of the first shard are the same as alone: same answers, decisions, findings, accesses."""
    alone, together = collect(sample.reader), collect(both)
    own = [call for call in together.calls if call.request.at.segment.startswith("shard-1/")]
    assert [(c.state, len(c.decisions), len(c.accesses), c.answer is None) for c in own] == [
        (c.state, len(c.decisions), len(c.accesses), c.answer is None) for c in alone.calls
    ]


def test_the_same_run_under_two_labels_stays_two(sample: Rendered) -> None:
    twice = collect(GroupReader("771", [("shard-1", sample.reader), ("shard-1-attempt-2", sample.reader)]))
    alone = collect(sample.reader)
    assert len(twice.calls) == 2 * len(alone.calls)
    assert len(twice.tests) == 2 * len(alone.tests)
    assert sum(count for _, count in twice.outcomes) == 2 * sum(count for _, count in alone.outcomes)


class _Reader:
    """A run that discloses what it likes."""

    segments = ("main",)
    run = "x"
    open = None

    def __init__(self, record: dict[str, object], disclosed: dict[str, object]) -> None:
        self._record, self._disclosed = record, disclosed

    def records(self):
        yield self._record

    def reveal(self, value: object) -> object:
        digest = value.get("$sd") if isinstance(value, dict) else None
        return self._disclosed.get(digest, Withheld(str(digest))) if digest else value

    def has_disclosure(self, digest: str) -> bool:
        return digest in self._disclosed

    def blob(self, digest: str) -> None:
        return None


def test_no_run_reveals_what_another_withheld() -> None:
    committed = {"type": "context", "seg": "main", "seq": 1, "text": {"$sd": "d"}}
    withholding, telling = _Reader(committed, {}), _Reader({"type": "context"}, {"d": "the secret"})
    group = GroupReader("g", [("shard-1", withholding), ("shard-2", telling)])  # type: ignore[list-item]  # as a reader
    seen = [(record.get("seg"), group.reveal({"$sd": "d"}), group.has_disclosure("d")) for record in group.records()]
    assert seen == [("shard-1/main", Withheld("d"), False), (None, "the secret", True)]


def test_refs_of_a_run_cannot_name_records_of_another() -> None:
    hostile = {"type": "finding", "seg": "main", "seq": 1, "refs": ["shard-1/main/3", "main/2", 7], "ref": "main/9"}
    (placed,) = GroupReader("g", [("shard-2", _Reader(hostile, {}))]).records()  # type: ignore[list-item]  # as a reader
    assert placed["refs"] == ["shard-2/shard-1/main/3", "shard-2/main/2"]
    assert placed["ref"] == "shard-2/main/9"


def test_the_page_of_a_group_names_what_is_missing_first_and_lists_every_run(
    both: GroupReader, sample: Rendered
) -> None:
    missing = "Shard 3/3 is not here."
    facts = facts_of(sample, status="partial", status_reasons=("shard 3/3 is not here",))
    text = render(both, facts, group_of(missing)).decode()
    page = Page(text)
    section = text[text.index('id="shards"') :]
    assert section.index(missing) < section.index("<tbody>")
    assert "superseded" in section
    assert text.index('id="shards"') < text.index('id="access"')
    assert "opened as" not in text
    assert not page.tags & {"iframe", "object", "embed", "form", "base"}


def test_the_page_of_a_run_has_no_shards(sample: Rendered) -> None:
    assert 'id="shards"' not in sample.text
