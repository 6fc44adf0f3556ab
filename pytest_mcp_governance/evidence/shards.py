"""The shards of a group: what each run says it is, and whether together they are the whole. Values only.

What is signed about a group is made from here, and made again by whoever verifies it. Leaves out reading, signatures
and trust (see `group`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.checking import CheckedRun
from pytest_mcp_governance.evidence.outcome import Outcome, Problem
from pytest_mcp_governance.evidence.safe_text import safe

MAX_SHARDS = 10_000
MAX_GROUP_CHARACTERS = 128
MAX_MISSING_ATTEMPTS = 10_000
_NAMED = 20  # missing shards, or commits, that are named one by one
_SHORT = 12  # characters of a commit


@dataclass(frozen=True, slots=True)
class Shard:
    """Which shard of which group a run says it is."""

    index: int
    total: int
    group: str
    attempt: int

    def __str__(self) -> str:
        again = f" attempt {self.attempt}" if self.attempt > 1 else ""
        return f"shard {self.index}/{self.total}{again}"


@dataclass(frozen=True, slots=True, repr=False)
class Member:
    """A run as part of a group.

    Args:
        shard: which shard it says it is.
        run: run id.
        started_on: RFC 3339, as it states.
        close: its close digest, "" where it was not closed.
        status: of its close statement, "" where it was not closed.
        signer: fingerprint of its own signer.
        tests: number of test attempts by outcome.
        findings: state to counts.
        selected: clear names of the audited tests that it selected.
        collections: digests of the collections that it selected from; one, where all is well.
        unaudited: number of tests that it ran without an audit.
        judged: every test in it was judged by a policy; true where no test ended.
        commit: of the repository that it ran in, as it states; "" where it states none.
        superseded: a later attempt of the same shard is in the group.
    """

    shard: Shard
    run: str
    started_on: str
    close: str
    status: str
    signer: str
    tests: Mapping[str, int]
    findings: Mapping[str, Mapping[str, int]]
    selected: frozenset[str]
    collections: frozenset[str]
    unaudited: int
    judged: bool
    commit: str = ""
    superseded: bool = False

    def __str__(self) -> str:
        return f"{self.shard} (run {self.run})"

    @property
    def unexpected(self) -> int:
        """Unexpected findings in enforce mode."""
        return sum(row["enforce"] for row in self.findings.values())

    def listed(self) -> dict[str, object]:
        """As the group statement lists it."""
        return {
            "run": self.run,
            "index": self.shard.index,
            "attempt": self.shard.attempt,
            "close": self.close,
            "status": self.status,
            "tests": dict(self.tests),
            "findings": {state: dict(row) for state, row in self.findings.items()},
            "superseded": self.superseded,
        }


@dataclass(frozen=True, slots=True)
class Whole:
    """What the members come to together.

    Args:
        group: the group's id.
        total: how many shards there are, as its shards say; the most where they disagree.
        totals: all that they say.
        members: by shard, attempt and start.
        missing: shards of which no run is here.
        missing_attempts: (shard, attempt) of which a later attempt is here.
        collection: digest of the collection; None where the shards do not all name the same one.
        selected: number of different tests that the shards selected.
        covered: those tests are the whole collection.
        commits: that its runs state, sorted; "" where one states none.
    """

    group: str
    total: int
    totals: tuple[int, ...]
    members: tuple[Member, ...]
    missing: tuple[int, ...]
    missing_attempts: tuple[tuple[int, int], ...]
    collection: str | None
    selected: int
    covered: bool
    commits: tuple[str, ...] = ()

    def listed(self) -> dict[str, object]:
        """The part of the group statement's predicate that is made from the runs."""
        return {
            "group": self.group,
            "total": self.total,
            "runs": [member.listed() for member in self.members],
            "missing": list(self.missing),
            "missingAttempts": [list(pair) for pair in self.missing_attempts],
            "selection": {"collection": self.collection, "selected": self.selected, "covered": self.covered},
        }


def member_of(run: CheckedRun) -> Member:
    """A checked run as part of a group.

    Raises:
        EvidenceError: it says of itself no shard, or none that can be.
    """
    count, close = run.count, run.closed
    started = run.opened.predicate.get("startedOn")
    return Member(
        shard=read_shard(run.opened.predicate.get("shard"), run.run),
        run=run.run,
        started_on=started if isinstance(started, str) else "",
        close=close.digest if close is not None else "",
        status=close.status if close is not None else "",
        signer=run.identity.fingerprint,
        tests=count.tests,
        findings=count.findings,
        selected=frozenset(count.selected),
        collections=frozenset(count.collections),
        unaudited=count.selection.get("unaudited", 0),
        judged=count.judged or not count.tests,
        commit=_commit(run.opened.predicate),
    )


def _commit(opened: Mapping[str, object]) -> str:
    source = opened.get("source")
    commit = source.get("commit") if isinstance(source, dict) else None
    return commit if isinstance(commit, str) else ""


def read_shard(value: object, run: str) -> Shard:
    """A shard as an open statement says it.

    Raises:
        EvidenceError: anything else.
    """
    if value is None:
        raise EvidenceError(
            f"Run {run} is no shard. Give each job its --mcp-governance-shard; a single run needs no merge: "
            "`mcp-governance countersign` signs it."
        )
    fields = value if isinstance(value, dict) else {}
    index, total, attempt = (fields.get(name) for name in ("index", "total", "attempt"))
    group = fields.get("group")
    numbers = all(number.__class__ is int for number in (index, total, attempt))
    if not numbers or not isinstance(group, str) or not 1 <= len(group) <= MAX_GROUP_CHARACTERS:
        raise EvidenceError(f"Run {run} does not say properly which shard it is.")
    shard = Shard(int(str(index)), int(str(total)), group, int(str(attempt)))
    if not (1 <= shard.index <= shard.total <= MAX_SHARDS and 1 <= shard.attempt <= MAX_SHARDS):
        raise EvidenceError(f"Run {run} says that it is shard {shard.index}/{shard.total}, attempt {shard.attempt}.")
    return shard


def whole_of(members: Sequence[Member]) -> Whole:
    """What at least one member comes to; the same whatever their order.

    Raises:
        EvidenceError: more earlier attempts are missing than anybody would list.
    """
    ordered = sorted(members, key=lambda m: (m.shard.index, m.shard.attempt, m.started_on, m.run))
    last = {member.shard.index: member.run for member in ordered}
    ordered = [replace(member, superseded=last[member.shard.index] != member.run) for member in ordered]
    attempts = {(member.shard.index, member.shard.attempt) for member in ordered}
    # Counted before they are made: a few small runs can claim attempts without end.
    latest = {member.shard.index: member.shard.attempt for member in ordered}  # in order, so the last one stays
    if sum(latest.values()) - len(attempts) > MAX_MISSING_ATTEMPTS:
        raise EvidenceError(f"More than {MAX_MISSING_ATTEMPTS:,} earlier attempts are missing; this is no group.")
    total = max(member.shard.total for member in ordered)
    selected = frozenset[str]().union(*(member.selected for member in ordered))
    collection = _one_collection(ordered)
    return Whole(
        group=ordered[0].shard.group,
        total=total,
        totals=tuple(sorted({member.shard.total for member in ordered})),
        members=tuple(ordered),
        missing=tuple(index for index in range(1, total + 1) if index not in last),
        missing_attempts=tuple(
            sorted({(i, earlier) for i, k in attempts for earlier in range(1, k)} - attempts)
        ),
        collection=collection,
        selected=len(selected),
        covered=collection == collection_digest(selected),
        commits=tuple(sorted({member.commit for member in ordered})),
    )  # fmt: skip


def collection_digest(names: frozenset[str]) -> str:
    """SHA-256 (hex) over the sorted names, each with a newline: what `collection` is when `names` are all."""
    text = "".join(f"{name}\n" for name in sorted(names))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def lacks(whole: Whole, expected: int | None) -> Iterator[Problem]:
    """What makes a group INCOMPLETE, one problem each; nothing where it is whole.

    Args:
        whole: the group.
        expected: how many shards whoever merged them expected, None where that was left to the shards.
    """

    def incomplete(text: str) -> Problem:
        return Problem(Outcome.INCOMPLETE, text)

    if len(whole.totals) > 1:
        said = ", ".join(map(str, whole.totals))
        yield incomplete(f"the shards do not agree on how many they are: {said}")
    if expected is not None and (expected,) != whole.totals:
        yield incomplete(f"{expected} shards were expected, and these say that they are {whole.total}")
    for index in whole.missing[:_NAMED]:
        yield incomplete(f"shard {index}/{whole.total} is not here")
    if len(whole.missing) > _NAMED:
        yield incomplete(f"and {len(whole.missing) - _NAMED} more shards are not here")
    for index, attempt in whole.missing_attempts[:_NAMED]:
        yield incomplete(f"attempt {attempt} of shard {index}/{whole.total} is not here")
    if len(whole.missing_attempts) > _NAMED:
        yield incomplete(f"and {len(whole.missing_attempts) - _NAMED} more attempts are not here")
    if len(whole.commits) > 1:  # one that names no commit is not known to be of the same
        named = ", ".join(safe(commit[:_SHORT]) or "none" for commit in whole.commits[:_NAMED])
        yield incomplete(f"the shards are not all of one commit, so what is whole is no version of the code: {named}")
    if whole.collection is None:
        yield incomplete(
            "the shards did not all collect the same tests, so nobody can say whether together they are the whole: "
            "choose tests with -k or a plugin such as pytest-split, not with paths"
        )
    elif not whole.covered and not whole.missing:
        count = whole.selected
        yield incomplete(f"some collected test was in no shard: {count} were selected, and these are not all")


def shown_group(group: str) -> str:
    """A group's id, safe for a terminal."""
    return safe(group, MAX_GROUP_CHARACTERS)


def _one_collection(members: Sequence[Member]) -> str | None:
    named = {digest for member in members for digest in member.collections}
    every = all(len(member.collections) == 1 for member in members)
    return next(iter(named)) if len(named) == 1 and every else None
