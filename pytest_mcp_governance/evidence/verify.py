"""The verifier's last word: what was checked, held against whom the reader trusts and what the reader requires.

The checks themselves are in `checking`. It imports nothing but `evidence`, evaluates no policy, writes nothing
and raises nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence import closing
from pytest_mcp_governance.evidence.checking import UNRELIABLE, CheckedRun, check_run
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.later import Later
from pytest_mcp_governance.evidence.outcome import Endorsement, Outcome, Problem, Report, Verdict, worst
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.requirements import Facts, Requirement, parse_requirements, unmet
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.trust import Trust, load_trust, parse_time
from pytest_mcp_governance.evidence.walk import Walked

__all__ = ["Outcome", "Problem", "Report", "Verdict", "verify"]


def verify(
    target: str | os.PathLike[str] | bytes,
    trust: Sequence[Trust | PublicKey | str] = (),
    require: Sequence[str] = (),
) -> Report:
    """Verify a report file, its bytes, or a run folder.

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
        return _run_report(check_run(open_target(target)), trusted, required)
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
        sealed=sum(_sealed(walked, close) for walked in run.walked.values()),
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


def _sealed(walked: Walked, close: closing.Close | None) -> int:
    listed = close.segments.get(walked.name) if close is not None else None
    if listed is not None and (listed.lines, listed.root) == (walked.lines, walked.root):
        return walked.lines
    return min(walked.sealed, walked.lines)


def _time_text(value: object) -> str:
    return safe(value, 40) if isinstance(value, str) else ""
