"""What a verification came to: outcome, problems, counts. Values only; `verify` makes them.

Leaves out words for people beyond one line each; the command line has those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """The outcomes, in order of precedence after VERIFIED; the value is the exit code."""

    VERIFIED = 0
    TAMPERED = 1
    MALFORMED = 2
    INCOMPLETE = 3
    UNTRUSTED = 4
    REQUIREMENT = 5

    @property
    def exit_code(self) -> int:
        """What a command that verifies exits with."""
        return self.value


class Verdict(Enum):
    """What the recorded policy made of the run: shown beside the outcome, never part of it."""

    NOT_JUDGED = "not judged by any policy"
    NO_FINDINGS = "no unexpected finding in enforce mode"
    FINDINGS = "unexpected findings in enforce mode"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        outcome: what it makes of the whole.
        text: one sentence, safe for a terminal.
        ref: the record where it shows, `<segment>/<seq>`, or "".
    """

    outcome: Outcome
    text: str
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.ref}: {self.text}" if self.ref else self.text

    @property
    def sentence(self) -> str:
        """With one full stop, whether or not the text brought its own."""
        return f"{str(self).rstrip('.')}."


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A later statement, as a report of a verification names it.

    Args:
        kind: such as `countersign`.
        signer: fingerprint of the key that made it.
        trusted: whether that key is one the caller trusts.
        signed_on: as its signer states.
        digest: SHA-256 (hex) of its payload.
    """

    kind: str
    signer: str
    trusted: bool
    signed_on: str
    digest: str


@dataclass(frozen=True, slots=True)
class ShardReport:
    """A run in a group: which shard and attempt it is, and what its records come to.

    Args:
        superseded: a later attempt of the same shard is in the group; this one counts all the same.
        status: of its close statement, "" where it was not closed.
        signer: fingerprint of its own signer, whom nobody has to trust.
        tests: outcome to number of test attempts.
        findings: state to counts.
        judged: every test in it was judged by a policy.
    """

    index: int
    total: int
    attempt: int
    superseded: bool
    run: str
    status: str
    close_digest: str
    signer: str
    tests: Mapping[str, int]
    findings: Mapping[str, Mapping[str, int]]
    judged: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `verify`. Digests are hex; counts are of records, values and blobs.

    Args:
        outcome: one of six.
        problems: what is wrong, the first broken record first; empty for VERIFIED.
        notes: what a reader should know though it is not wrong.
        run: run id, "" where unknown.
        status: of the close statement (complete, partial, recovered), "" where the run is not closed.
        records: records that were read.
        sealed: records that a signature covers.
        withheld: committed values that are not disclosed.
        omitted: blobs that the close statement lists as left out.
        trusted_time: RFC 3339 time that an authority confirmed, None where none did.
        verdict: what the policy found, None where counts are not reliable.
        signer: fingerprint of the identity key, "" where unknown.
        trusted: whether that key is one the caller trusts.
        statements: later statements over this very run; with a trusted countersignature it is VERIFIED too.
        open_digest: SHA-256 of the open statement's payload, or "".
        close_digest: SHA-256 of the close statement's payload, or "".
        started_on: as the run claims it, or "".
        finished_on: as the run claims it, or "".
        segments: records of each segment.
        findings: state to counts of enforce, observe (unexpected each) and expected.
        tests: outcome to number of test attempts.
        selection: selected, audited, unaudited, deselected.
        policies: digests of the effective policies.
        group: id of a group, "" for a single run. Counts of a group are sums over all its runs, superseded ones
            included; its close digest is the digest of its statement.
        shards: the runs of a group, by shard and attempt.
    """

    outcome: Outcome
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    run: str = ""
    status: str = ""
    records: int = 0
    sealed: int = 0
    withheld: int = 0
    omitted: int = 0
    trusted_time: str | None = None
    verdict: Verdict | None = None
    signer: str = ""
    trusted: bool = False
    statements: tuple[Endorsement, ...] = ()
    open_digest: str = ""
    close_digest: str = ""
    started_on: str = ""
    finished_on: str = ""
    segments: Mapping[str, int] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tests: Mapping[str, int] = field(default_factory=dict)
    selection: Mapping[str, int] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    group: str = ""
    shards: tuple[ShardReport, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the outcome."""
        return self.outcome.exit_code


def worst(problems: tuple[Problem, ...]) -> Outcome:
    """The outcome that a list of problems makes: the first present in order of precedence."""
    return min((problem.outcome for problem in problems), key=lambda o: o.value, default=Outcome.VERIFIED)
