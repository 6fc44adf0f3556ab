"""Runs that continue one another: a missing one is named, and one that claims other records than there are is found."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.chain import check_chain
from pytest_mcp_governance.evidence.ledger import SegmentSummary
from pytest_mcp_governance.evidence.statements import read_bundle

from .conftest import Builder, OpenedRun


def open_digest(run: OpenedRun) -> str:
    return read_bundle((run.folder / names.OPEN).read_bytes()).digest


def chain(
    builder: Builder, count: int, *, root: str | None = None, successor: Mapping[str, object] | None = None
) -> list[Path]:
    """So many runs, each continuing the one before; `root` and `successor` are lies of the last and the first."""
    runs: list[OpenedRun] = []
    more: dict[str, object] = {}
    for number in range(count):
        run = builder.opened(run=f"run-{number}", startedOn=f"2026-11-23T00:00:0{number}Z", **more)
        if runs:
            named = {"run": run.run, "open": open_digest(run)}
            lie = successor if successor is not None and len(runs) == 1 else None
            runs[-1].close(continued_by=lie or named)
        runs.append(run)
        run.main.append("gap", {"what": "nothing", "count": 1, "reason": "a record"})
        copy = sealed(run)
        more = {
            "continues": {
                "run": run.run,
                "open": open_digest(run),
                "lines": copy.lines,
                "root": root if root is not None and number == count - 2 else copy.root,
            }
        }
    runs[-1].close()
    return [run.folder for run in runs]


def sealed(run: OpenedRun) -> SegmentSummary:
    """What its main segment will have come to: closed here already, and once only."""
    summary = run.main.close()
    run.segments.clear()
    run.segments.append(_Closed(summary))  # type: ignore[arg-type]  # all that `close` asks of a segment
    return summary


class _Closed:
    def __init__(self, summary: SegmentSummary) -> None:
        self._summary = summary

    def close(self) -> SegmentSummary:
        return self._summary


def told(folders: list[Path]) -> list[tuple[str, str]]:
    return [(problem.outcome.name, problem.text) for problem in check_chain(folders)]


def test_runs_in_any_order_that_continue_one_another_are_a_chain(builder: Builder):
    folders = chain(builder, 4)
    assert told(folders) == []
    assert told(folders[::-1]) == []


@pytest.mark.parametrize("missing", range(4))
def test_the_missing_run_is_named_wherever_it_was(builder: Builder, missing: int):
    folders = chain(builder, 4)
    del folders[missing]
    found = told(folders)
    assert {outcome for outcome, _ in found} == {"INCOMPLETE"}
    assert all(f"run run-{missing}, which" in text and text.endswith("is missing") for _, text in found)
    assert len(found) == (1 if missing in (0, 3) else 2)


def test_a_run_that_continues_other_records_than_there_are_is_tampered(builder: Builder):
    found = told(chain(builder, 3, root="00" * 32))
    assert ("TAMPERED", "run run-2 continues other records than run run-1 has") in found


def test_a_run_whose_successor_is_another_one_is_tampered(builder: Builder):
    found = told(chain(builder, 3, successor={"run": "run-1", "open": "ab" * 32}))
    assert ("TAMPERED", "run run-0 does not name run run-1 as the one that continues it") in found


def test_a_run_whose_close_statement_is_gone_is_still_bound_by_the_one_that_continues_it(builder: Builder):
    folders = chain(builder, 3)
    (folders[1] / names.CLOSE).unlink()
    assert told(folders) == []
    lines = folders[1] / names.lines_path("main")
    lines.write_bytes(lines.read_bytes().replace(b"nothing", b"nothinG"))
    assert told(folders) == [("TAMPERED", "run run-2 continues other records than run run-1 has")]


def test_runs_of_different_sessions_are_joined_by_the_close_digest_of_the_run_before(builder: Builder):
    first, second = builder.opened(run="run-a"), None
    first.close()
    before = read_bundle((first.folder / names.CLOSE).read_bytes()).digest
    second = builder.opened(run="run-b", startedOn="2026-11-24T00:00:00Z", previous=before)
    second.close()
    assert told([first.folder, second.folder]) == []
    third = builder.opened(run="run-c", startedOn="2026-11-25T00:00:00Z", previous="cd" * 32)
    third.close()
    ((outcome, text),) = told([first.folder, second.folder, third.folder])
    assert outcome == "INCOMPLETE"
    assert text.startswith("run run-c neither continues another run that is given")
    assert "cd" * 32 in text


def test_what_is_no_run_or_is_given_twice_is_said(builder: Builder, tmp_path: Path):
    (folder,) = chain(builder, 1)
    assert told([folder, folder]) == [("MALFORMED", "run run-0 is given twice")]
    assert told([folder, tmp_path / "absent"])[0][0] == "MALFORMED"


def test_a_hostile_name_reaches_no_terminal(builder: Builder):
    run = builder.opened(run="run-x", continues={"run": "\x1b[2Jgone\u202e", "open": 7, "lines": [], "root": None})
    run.close()
    ((outcome, text),) = told([run.folder])
    assert outcome == "INCOMPLETE"
    assert text.isprintable()
