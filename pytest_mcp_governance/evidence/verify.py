"""The verifier's last word: what was checked, held against whom the reader trusts and what the reader requires.

The checks themselves are in `checking`. It imports nothing but `evidence`, evaluates no policy, writes nothing
and raises nothing.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.checking import UNRELIABLE, CheckedRun, check_run
from pytest_mcp_governance.evidence.group import CheckedGroup, check_group, is_group
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.later import Later
from pytest_mcp_governance.evidence.outcome import Endorsement, Outcome, Problem, Report, ShardReport, Verdict, worst
from pytest_mcp_governance.evidence.recount import STATES, Recount
from pytest_mcp_governance.evidence.requirements import Facts, Requirement, parse_requirements, unmet
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.shards import Member, shown_group
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.trust import Trust, load_trust, parse_time

__all__ = ["Outcome", "Problem", "Report", "Verdict", "verify"]


def verify(
    target: str | os.PathLike[str] | bytes,
    trust: Sequence[Trust | PublicKey | str] = (),
    require: Sequence[str] = (),
) -> Report:
    """Verify the report of a run or of a group, its bytes, or a run folder.

    Args:
        target: path, or the bytes of a single file.
        trust: identities to trust: loaded keys, `SHA256:` fingerprints, PEM or trust.json paths.
        require: requirements such as `passed` or `commit=…`.

    Returns:
        The report. Whatever the bytes are, nothing is raised; what cannot be read is MALFORMED.
    """
    try:
        trusted = tuple(load_trust(entry) for entry in trust)
        required = parse_requirements(tuple(require))
        source = open_target(target)
        if isinstance(source, ContainerSource) and is_group(source.paths()):
            return _group_report(check_group(source, required), trusted)
        return _run_report(check_run(source), trusted, required)
    except GovernanceError as error:
        return Report(Outcome.MALFORMED, (Problem(Outcome.MALFORMED, safe(str(error), 1_000)),))
    except Exception as error:  # a verifier that dies on hostile bytes would be no verifier
        text = f"This cannot be read as evidence ({type(error).__name__})."
        return Report(Outcome.MALFORMED, (Problem(Outcome.MALFORMED, text),))


def _run_report(run: CheckedRun, trust: Sequence[Trust], require: Sequence[Requirement]) -> Report:
    opened, close = run.opened.predicate, run.closed
    refusal = refused(run.identity, close.finished_on if close else opened.get("startedOn"), trust)
    seen = endorsements(run.later, trust)
    if refusal is not None and not vouched(run.later, trust):
        run.problems.append(Problem(Outcome.UNTRUSTED, f"signed by {run.identity.fingerprint}; {refusal}"))
    report = Report(
        outcome=worst(tuple(run.problems)),
        run=run.run,
        signer=run.identity.fingerprint,
        trusted=refusal is None,
        statements=seen,
        open_digest=run.opened.digest,
        started_on=_time_text(opened.get("startedOn")),
        close_digest=close.digest if close else "",
        finished_on=_time_text(close.finished_on) if close else "",
        status=close.status if close else "",
        omitted=len(close.omitted) if close else 0,
        records=sum(walked.lines for walked in run.walked.values()),
        sealed=run.sealed,
        withheld=sum(walked.withheld for walked in run.walked.values()),
        segments={name: walked.lines for name, walked in run.walked.items()},
    )
    return _finish(run, report, require)


def _finish(run: CheckedRun, report: Report, require: Sequence[Requirement]) -> Report:
    count = run.count
    if report.outcome not in UNRELIABLE:
        report = replace(
            report,
            verdict=_verdict(count),
            findings=count.findings,
            tests={safe(outcome): number for outcome, number in count.tests.items()},
            selection=count.selection,
            policies=tuple(map(safe, count.policies)),
        )
        facts = Facts(count, run.opened.predicate, report.withheld, report.close_digest)
        for requirement in require:
            reason = unmet(requirement, facts)
            if reason is not None:
                text = f"required: {safe(requirement.name)}; {reason}"
                run.problems.append(Problem(Outcome.REQUIREMENT, text))
    if count.unknown:
        run.notes.append(f"{count.unknown} records are of types that this version does not know")
    ordered = tuple(sorted(run.problems, key=lambda problem: problem.outcome.value))
    return replace(report, outcome=worst(ordered), problems=ordered, notes=tuple(run.notes))


def _group_report(group: CheckedGroup, trust: Sequence[Trust]) -> Report:
    finished = group.bundle.predicate.get("finishedOn")
    refusal = refused(group.identity, finished, trust)
    if refusal is not None and not vouched(group.later, trust):
        text = f"the group is signed by {group.identity.fingerprint}; {refusal}"
        group.problems.append(Problem(Outcome.UNTRUSTED, text))
    if group.unknown:
        group.notes.append(f"{group.unknown} records are of types that this version does not know")
    reliable = worst(tuple(group.problems)) not in UNRELIABLE
    ordered = tuple(
        sorted([*group.problems, *(group.unmet if reliable else ())], key=lambda problem: problem.outcome.value)
    )
    report = Report(
        outcome=worst(ordered),
        problems=ordered,
        notes=tuple(group.notes),
        signer=group.identity.fingerprint,
        trusted=refusal is None,
        statements=endorsements(group.later, trust),
        close_digest=group.digest,
        started_on=_time_text(group.started_on),
        finished_on=_time_text(finished),
        records=group.records,
        sealed=group.sealed,
        withheld=group.withheld,
        omitted=group.omitted,
        segments=group.segments,
    )
    whole = group.whole
    if whole is None or not reliable:
        return report
    return replace(
        report,
        group=shown_group(whole.group),
        shards=tuple(map(_shard_report, whole.members)),
        status="complete" if all(p.outcome is not Outcome.INCOMPLETE for p in ordered) else "partial",
        verdict=_group_verdict(whole.members),
        findings={
            state: {
                column: sum(member.findings[state][column] for member in whole.members)
                for column in ("enforce", "observe", "expected")
            }
            for state in STATES
        },
        tests=_sum(member.tests for member in whole.members),
        selection=group.selection,
        policies=tuple(map(safe, sorted(group.policies))),
    )


def _shard_report(member: Member) -> ShardReport:
    return ShardReport(
        index=member.shard.index,
        total=member.shard.total,
        attempt=member.shard.attempt,
        superseded=member.superseded,
        run=member.run,
        status=member.status,
        close_digest=member.close,
        signer=member.signer,
        tests={safe(outcome): number for outcome, number in member.tests.items()},
        findings=member.findings,
        judged=member.judged,
    )


def _group_verdict(members: Sequence[Member]) -> Verdict:
    if any(member.unexpected for member in members):
        return Verdict.FINDINGS  # of any attempt: one that was run again until it was green counts too
    if not all(member.judged for member in members) or not any(member.tests for member in members):
        return Verdict.NOT_JUDGED
    return Verdict.NO_FINDINGS


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update({safe(name): number for name, number in count.items()})
    return dict(sorted(total.items()))


def refused(key: PublicKey, signed_on: object, trust: Sequence[Trust]) -> str | None:
    """Why nobody of `trust` stands behind a key at that time; None where somebody does."""
    at = parse_time(signed_on)
    refusals = [entry.refuses(key, at) for entry in trust]
    if None in refusals:
        return None
    return refusals[0] if refusals else "no trusted key was named"


def vouched(later: Sequence[Later], trust: Sequence[Trust]) -> bool:
    """Whether somebody trusted made a later statement that vouches for the run."""
    return any(entry.kind.vouches and refused(entry.signer, entry.signed_on, trust) is None for entry in later)


def endorsements(later: Sequence[Later], trust: Sequence[Trust]) -> tuple[Endorsement, ...]:
    """Later statements as a report names them."""
    return tuple(
        Endorsement(
            entry.kind.name,
            entry.signer.fingerprint,
            refused(entry.signer, entry.signed_on, trust) is None,
            _time_text(entry.signed_on),
            entry.digest,
        )
        for entry in later
    )


def _verdict(count: Recount) -> Verdict:
    if not count.judged:
        return Verdict.NOT_JUDGED
    return Verdict.FINDINGS if count.unexpected else Verdict.NO_FINDINGS


def _time_text(value: object) -> str:
    return safe(value, 40) if isinstance(value, str) else ""
