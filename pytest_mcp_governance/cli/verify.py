"""`mcp-governance verify`: say in words what a report or run folder proves, and exit with its outcome.

Leaves out all checking (`evidence.verify`). Everything printed from inside the evidence is escaped.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, check
from pytest_mcp_governance.evidence import wording
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report
from pytest_mcp_governance.evidence.requirements import parse_requirements
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.evidence.verify import verify

_MAX_PROBLEMS = 20
_JSON_FIELDS = (
    "run status records sealed withheld omitted trusted_time signer trusted open_digest close_digest "
    "started_on finished_on segments findings tests selection policies notes"
)


@click.command(name="verify")
@click.argument("target", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    multiple=True,
    metavar="KEY",
    help="Whom to trust: a public key in PEM, `SHA256:…`, or a trust.json. May be given several times.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="WHAT",
    help="passed, no-withheld, timestamp, commit=…, policy=…, floor=…, challenge=…, close=…; commas separate several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context, target: Path, trust: tuple[str, ...], require: tuple[str, ...], as_json: bool
) -> None:
    """Verify a governance report or a run folder, offline.

    Proves that nothing was altered since it was recorded, and by whom it was signed. It does not prove that
    nothing bypassed the recorder or that what a server said is true.

    \b
    Exit codes
      0 VERIFIED     whole, unaltered, signed by a key you trust
      1 TAMPERED     something contradicts a signature or digest
      2 MALFORMED    not evidence, or a usage error
      3 INCOMPLETE   unaltered, but not the whole run
      4 UNTRUSTED    consistent, but no key you trust signed it
      5 REQUIREMENT  a --require is not met
    """
    check("--trust", trust, load_trust)
    check("--require", require, lambda text: parse_requirements((text,)))
    report = verify(target, trust=trust, require=require)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        for line in _words(report, target, trusting=bool(trust)):
            click.echo(line)
    context.exit(report.exit_code)


def _as_json(report: Report) -> dict[str, object]:
    return {
        "outcome": report.outcome.name,
        "exit_code": report.exit_code,
        "verdict": report.verdict.value if report.verdict else None,
        "problems": [
            {"outcome": problem.outcome.name, "ref": problem.ref, "text": problem.text} for problem in report.problems
        ],
        **{name: getattr(report, name) for name in _JSON_FIELDS.split()},
        "statements": [asdict(statement) for statement in report.statements],
    }


def _words(report: Report, target: Path, *, trusting: bool) -> Iterator[str]:
    yield f"{report.outcome.name}: {wording.meaning(report.outcome, trusting=trusting)}"
    yield f"  file       {safe(str(target))}"
    if report.run:
        yield from _facts(report)
    yield from _problems(report.problems)
    for note in report.notes:
        yield f"  note       {safe(note, MAX_CHARACTERS)}"


def _facts(report: Report) -> Iterator[str]:
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
    yield f"  open       {report.open_digest}"
    yield f"  close      {report.close_digest or 'none'}"


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
