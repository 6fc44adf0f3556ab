"""The lines that a verification comes to on a terminal. Everything from inside the evidence is escaped.

Leaves out checking (`evidence.verify`), JSON, and words that other places use too (`evidence.wording`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS
from pytest_mcp_governance.evidence import wording
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report
from pytest_mcp_governance.evidence.safe_text import safe

_MAX_PROBLEMS = 20
_MAX_SHARDS = 40


def words(
    report: Report, target: Path, *, trusting: bool, meanings: Mapping[Outcome, str] | None = None
) -> Iterator[str]:
    """The lines of a verification.

    Args:
        report: what it came to.
        target: what was verified.
        trusting: whether the reader named anybody to trust.
        meanings: other words for an outcome than it usually has.
    """
    meaning = (meanings or {}).get(report.outcome) or wording.meaning(report.outcome, trusting=trusting)
    if report.group and report.outcome is Outcome.INCOMPLETE:
        meaning = "what is there is unaltered, but it is not the whole group."
    yield f"{report.outcome.name}: {meaning}"
    yield f"  file       {safe(str(target))}"
    if report.group:
        # What is missing or red is read first; there can be many shards.
        yield from _problems(report.problems)
        yield from _shards(report)
        yield from _facts(report)
    else:
        if report.run:
            yield from _facts(report)
        yield from _problems(report.problems)
    for note in report.notes:
        yield f"  note       {safe(note, MAX_CHARACTERS)}"


def chain_words(outcome: Outcome, runs: int, broken: tuple[Problem, ...]) -> Iterator[str]:
    """The lines about what lies between several runs.

    Args:
        outcome: of all runs and what lies between them.
        runs: how many.
        broken: what is wrong between them.
    """
    whole = "an unbroken chain: none is missing between the first and the last, and none follows that is known of"
    yield f"{outcome.name}: {wording.number(runs, 'run')}, " + ("not an unbroken chain" if broken else whole)
    yield from _problems(broken)


def _shards(report: Report) -> Iterator[str]:
    yield f"  group      {safe(report.group)}, {wording.number(len(report.shards), 'run')}"
    for shard in report.shards[:_MAX_SHARDS]:
        unexpected = sum(row["enforce"] for row in shard.findings.values())
        said = [", ".join(f"{number:,} {outcome}" for outcome, number in shard.tests.items()) or "no audited test"]
        said += [wording.number(unexpected, "unexpected finding")] if unexpected else []
        said += [] if shard.judged else ["not judged"]
        said += [shard.status or "not closed"] if shard.status != "complete" else []
        said += ["superseded, and counted"] if shard.superseded else []
        attempt = f" attempt {shard.attempt}" if shard.attempt > 1 else ""
        yield f"  shard      {shard.index}/{shard.total}{attempt}, run {shard.run}: {', '.join(said)}"
    if len(report.shards) > _MAX_SHARDS:
        yield f"  … and {len(report.shards) - _MAX_SHARDS:,} more (--json shows all)"


def _facts(report: Report) -> Iterator[str]:
    if report.run:
        yield f"  run        {report.run} ({report.status or 'not closed'})"
    yield f"  records    {_records(report)}"
    withheld, omitted = wording.number(report.withheld, "value"), wording.number(report.omitted, "blob")
    yield f"  left out   {withheld} withheld, {omitted} omitted"
    if report.verdict is not None:
        yield f"  tests      {wording.tests(report)}"
        yield f"  findings   {wording.findings(report.findings)}"
        yield f"  verdict    {report.verdict.value}"
    confirmed = "trusted" if report.trusted else "not confirmed"
    yield f"  signer     {report.signer} ({confirmed})"
    for later in report.statements:
        by = f"{later.signer} ({'trusted' if later.trusted else 'not confirmed'})"
        yield f"  later      {later.kind} by {by}, {later.signed_on}"
    started, finished = report.started_on or "?", report.finished_on or "?"
    yield f"  time       {started} to {finished}, as the recorder states; no authority confirmed it"
    if report.open_digest:
        yield f"  open       {report.open_digest}"
    yield f"  {'digest' if report.group else 'close':<10} {report.close_digest or 'none'}"


def _records(report: Report) -> str:
    if report.outcome is Outcome.TAMPERED:  # what came before the contradiction is no longer worth a claim
        return f"{report.records:,} read before something was wrong" if report.records else "none could be checked"
    sealed = "all sealed" if report.sealed == report.records else f"{report.sealed:,} sealed"
    return f"{report.records:,} in {wording.number(len(report.segments), 'segment')}, {sealed}"


def _problems(problems: tuple[Problem, ...]) -> Iterator[str]:
    for problem in problems[:_MAX_PROBLEMS]:
        yield f"  {problem.outcome.name.lower():<10} {safe(str(problem), MAX_CHARACTERS)}"
    if len(problems) > _MAX_PROBLEMS:
        yield f"  … and {len(problems) - _MAX_PROBLEMS:,} more problems (--json shows all)"
