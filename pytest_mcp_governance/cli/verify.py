"""`mcp-governance verify`: say in words what a report or run folder proves, and exit with its outcome.

Leaves out all checking (`evidence.verify`). Everything printed from inside the evidence is escaped.
"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import check
from pytest_mcp_governance.cli.verify_approval import approval_at, verify_approval
from pytest_mcp_governance.cli.words import chain_words, words
from pytest_mcp_governance.evidence.chain import check_chain
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report, worst
from pytest_mcp_governance.evidence.requirements import parse_requirements
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.evidence.verify import verify

_JSON_FIELDS = (
    "run status records sealed withheld omitted trusted_time signer trusted open_digest close_digest "
    "started_on finished_on segments findings tests selection policies notes"
)


@click.command(name="verify")
@click.argument("targets", metavar="FILE|FOLDER…", nargs=-1, required=True, type=click.Path(path_type=Path))
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
@click.option(
    "--chain", is_flag=True, help="Check that the runs form an unbroken chain; so it is where several are named."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context,
    targets: tuple[Path, ...],
    trust: tuple[str, ...],
    require: tuple[str, ...],
    chain: bool,
    as_json: bool,
) -> None:
    """Verify the report of a run or a group of shards, a run folder, or an approval, offline.

    Of several runs each is verified, and that none is missing between them: each names the run that it continues.

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
    if chain or len(targets) > 1:
        context.exit(_verify_chain(targets, trust, require, as_json=as_json))
    (target,) = targets
    approval = approval_at(target)
    if approval is not None:
        context.exit(verify_approval(approval, target, trust=trust, require=require, as_json=as_json))
    report = verify(target, trust=trust, require=require)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        for line in words(report, target, trusting=bool(trust)):
            click.echo(line)
    context.exit(report.exit_code)


def _verify_chain(targets: tuple[Path, ...], trust: tuple[str, ...], require: tuple[str, ...], *, as_json: bool) -> int:
    reports = [verify(target, trust=trust, require=require) for target in targets]
    broken = check_chain(targets)
    found = [Problem(report.outcome, "") for report in reports if report.outcome is not Outcome.VERIFIED]
    outcome = worst((*found, *broken))
    if as_json:
        runs = [_as_json(report) | {"file": str(target)} for report, target in zip(reports, targets, strict=True)]
        links = [{"outcome": problem.outcome.name, "text": problem.text} for problem in broken]
        chain = {"outcome": outcome.name, "exit_code": outcome.exit_code, "links": links, "runs": runs}
        click.echo(json.dumps(chain, indent=2))
    else:
        for report, target in zip(reports, targets, strict=True):
            for line in words(report, target, trusting=bool(trust)):
                click.echo(line)
            click.echo()
        for line in chain_words(outcome, len(targets), broken):
            click.echo(line)
    return outcome.exit_code


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
        "group": report.group,
        "shards": [asdict(shard) for shard in report.shards],
    }
