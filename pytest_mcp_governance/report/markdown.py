"""A run as Markdown, for a pull request's comment and a job's summary: `markdown(evidence, checked) -> str`.

From records and what a check of the file came to. Every recorded value stands in a code span (escaping.py). Cut to a
size, with what was left out counted. Leaves out pictures, arguments and answers: the report has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_mcp_governance.evidence.outcome import ShardReport

from .access import OUTSIDE, UNRESOLVED, Cell, Column, matrix
from .caveats import brief, let_pass
from .escaping import code, name, prose
from .facts import Checked
from .listing import Listed, listed
from .model import Evidence
from .since import markdown_lines
from .summary import RunSummary, summary_of
from .text import STATES, counted, number

COMMENT_BYTES = 65_000  # GitHub takes 65,536 characters
SUMMARY_BYTES = 1_048_000  # GitHub takes 1 MiB from a step
_ROWS = (1_000, 300, 100, 30, 10, 3, 0)
_MOST_SCOPES = 8
_MOST_PROBLEMS = 5


def markdown(evidence: Evidence, checked: Checked, *, max_bytes: int = COMMENT_BYTES) -> str:
    """The run in GitHub's Markdown, at most `max_bytes` of UTF-8.

    Args:
        evidence: the run, as collected from its report.
        checked: what its file came to.
        max_bytes: where it must fit; rows of tables are left out, and counted, until it does.
    """
    run = summary_of(evidence, status=checked.status or "partial")
    text = ""
    for rows in _ROWS:
        text = "\n".join(_lines(run, evidence, checked, rows))
        if len(text.encode()) <= max_bytes:
            break
    return text


def _lines(run: RunSummary, evidence: Evidence, checked: Checked, rows: int) -> Iterable[str]:
    yield f"## MCP governance: {run.verdict.word}"
    yield ""
    yield f"**{prose(run.verdict.headline)}**"
    yield ""
    yield _state_of_the_run(checked)
    yield from (f"- {prose(problem)}" for problem in checked.problems[:_MOST_PROBLEMS])
    if (more := len(checked.problems) - _MOST_PROBLEMS) > 0:
        yield f"- and {counted(more, 'more problem')}"
    yield ""
    yield from _findings(run, evidence, listed(evidence), rows)
    if checked.since is not None:
        yield from markdown_lines(checked.since)
    yield from _access(run, evidence, rows)
    yield from _shards(checked, rows)
    yield from _tests(run, evidence)
    yield from _check(checked)
    yield f"_{prose(brief(run, evidence))}_"
    yield ""


def _state_of_the_run(checked: Checked) -> str:
    status = {"complete": "is complete", "": "was not closed"}.get(checked.status, f"is {checked.status}")
    said = f"{checked.outcome}: {checked.meaning}" if checked.outcome else "Nobody has verified its report yet."
    commit = f" Sources: commit {code(checked.commit)}{' with local changes' if checked.dirty else ''}."
    return f"{checked.kind} {code(checked.run)} {status}. {prose(said)}{commit if checked.commit else ''}"


def _findings(run: RunSummary, evidence: Evidence, found: Sequence[Listed], rows: int) -> Iterable[str]:
    if found:
        yield "### Findings"
        yield ""
        yield from _table(("", "Rule", "Call", "Agent", "Test", "Stated at"), [_row(x) for x in found[:rows]])
        if left := sum(x.count for x in found[rows:]):
            yield ""
            yield f"and {counted(left, 'more finding')}, in the report."
        yield ""
    if passed := let_pass(evidence):
        yield prose(passed)
        yield ""
    if run.expected:
        provoked = "Its test" if run.expected == 1 else "Tests"
        yield f"{provoked} provoked {counted(run.expected, 'finding')} on purpose."
        yield ""


def _row(one: Listed) -> tuple[str, ...]:
    finding, label = one.finding, STATES[one.finding.shown_state].label
    times = f" ({counted(one.count, 'time')})" if one.count > 1 else ""
    ended = f" ({prose(one.outcome or 'not ended', 40)})" if finding.at.test else ""
    return (
        f"{f'**{label}**' if finding.counts else label}{times}",
        name(finding.rule),
        name(one.call),
        name(finding.agent),
        f"{name(finding.at.test)}{ended}",
        name(finding.source),
    )


def _access(run: RunSummary, evidence: Evidence, rows: int) -> Iterable[str]:
    table = matrix(evidence, run)
    used = [n for n, _ in enumerate(table.columns) if any(row.cells[n] for row in table.rows)]
    if not used:
        return
    shown = used[:_MOST_SCOPES]
    yield "### Who accessed what"
    yield ""
    heads = [_head(table.columns[n]) for n in shown]
    body = [(name(row.agent), number(row.calls), *(_cell(row.cells[n]) for n in shown)) for row in table.rows[:rows]]
    yield from _table(("Agent", "Calls", *heads), body)
    left = [counted(n, noun) for n, noun in ((len(table.rows) - rows, "more agent"),
            (len(used) - len(shown), "more data scope")) if n > 0]  # fmt: skip
    if left:
        yield ""
        yield f"and {' and '.join(left)}, in the report."
    yield ""


def _head(column: Column) -> str:
    if column.key in (OUTSIDE, UNRESOLVED):
        return column.label
    return name(column.key, 60) + (f" ({prose(column.scope_class, 40)})" if column.scope_class else "")


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    marks = [f"{number(len(calls))} {STATES[state].word}" for state, calls in cell.marks]
    return number(len(cell.calls)) + (f" ({', '.join(marks)})" if marks else "")


def _shards(checked: Checked, rows: int) -> Iterable[str]:
    if not checked.shards:
        return
    yield "### Shards"
    yield ""
    yield from _table(("Shard", "Tests", "Unexpected findings", "Run"), [_shard(x) for x in checked.shards[:rows]])
    if (left := len(checked.shards) - rows) > 0:
        yield ""
        yield f"and {counted(left, 'more run')}, in the report."
    yield ""


def _shard(shard: ShardReport) -> tuple[str, ...]:
    again = f", attempt {shard.attempt}" if shard.attempt > 1 or shard.superseded else ""
    later = ", run again later" if shard.superseded else ""
    outcomes = ", ".join(f"{number(n)} {prose(outcome, 40)}" for outcome, n in shard.tests.items()) or "none ended"
    status = "" if shard.status == "complete" else f" ({prose(shard.status or 'not closed', 40)})"
    found = sum(states["enforce"] for states in shard.findings.values())
    return f"{shard.index}/{shard.total}{again}{later}", outcomes + status, number(found), code(shard.run)


def _tests(run: RunSummary, evidence: Evidence) -> Iterable[str]:
    outcomes = ", ".join(f"{number(n)} {prose(outcome, 40)}" for outcome, n in run.tests) or "none ended"
    selected = evidence.selection
    beside = [(selected.unaudited, "ran without an audit"), (selected.deselected, "deselected")] if selected else []
    beside += [(run.unfinished_tests, "not ended"), (len(evidence.missing_tests), "without an end on record")]
    rest = "".join(f"; {number(n)} {what}" for n, what in beside if n)
    yield f"**Audited tests:** {outcomes}{rest}."
    yield ""


def _check(checked: Checked) -> Iterable[str]:
    yield "### Check it"
    yield ""
    command = code(f"mcp-governance verify {checked.file} --trust SHA256:…")
    yield f"{command}, with the fingerprint that your security team publishes."
    yield "Digests to compare with those in the job's log:"
    yield ""
    if checked.open_digest:
        yield f"- open {code(checked.open_digest)}"
    yield f"- {'close' if checked.kind == 'Run' else 'group'} {code(checked.close_digest)}"
    yield f"- signer {code(checked.signer)}, as the file says"
    yield ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"
