"""What a verification came to, in words: for the command line and for whatever quotes it.

Words and numbers only; nothing here is escaped but what `verify` escaped already, and nothing decides an outcome.
"""

from collections.abc import Mapping

from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.recount import STATES

_MEANING = {
    Outcome.VERIFIED: "unaltered since recorded, and signed by a key you trust.",
    Outcome.TAMPERED: "something contradicts a signature or a digest. Do not rely on this file.",
    Outcome.MALFORMED: "this is not evidence.",
    Outcome.INCOMPLETE: "what is there is unaltered, but it is not the whole run.",
    Outcome.UNTRUSTED: "consistent. Signer not confirmed: name the key that you trust with --trust; "
    "`mcp-governance keygen` makes one.",
    Outcome.REQUIREMENT: "unaltered since recorded, but a requirement is not met.",
}
_MISMATCH = "consistent, but not signed by a key you trust."
_COLUMNS = (("enforce", "unexpected"), ("observe", "observed"), ("expected", "expected"))


def meaning(outcome: Outcome, *, trusting: bool) -> str:
    """What an outcome means, one sentence or two.

    Args:
        outcome: the outcome.
        trusting: the reader named a key to trust.
    """
    return _MISMATCH if outcome is Outcome.UNTRUSTED and trusting else _MEANING[outcome]


def tests(report: Report) -> str:
    """How the tests ended, and how many of those that were selected were audited."""
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.tests.items()) or "none"
    if "selected" not in report.selection or report.group:  # a test can be selected by several shards
        return outcomes
    return f"{outcomes}; {report.selection['audited']:,} of {report.selection['selected']:,} selected audited"


def findings(counted: Mapping[str, Mapping[str, int]]) -> str:
    """Findings by state, each unexpected, observed or expected."""
    parts = []
    for state in STATES:
        row = counted.get(state, {})
        seen = [f"{row[column]:,} {word}" for column, word in _COLUMNS if row.get(column)]
        parts.append(f"{state} {' + '.join(seen) or '0'}")
    return ", ".join(parts)


def number(count: int, noun: str) -> str:
    """A count with its noun in the right number."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
