"""A run in figures and one verdict, from records only: `summarise(reader) -> RunSummary`.

The same figures stand in the terminal and at the top of the page. Leaves out wording (verdict.py) and whether
anything was altered: only the verifier says that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pytest_mcp_governance.evidence.reader import Records

from .collect import collect
from .model import Evidence, Finding

Tone = Literal["bad", "warn", "ok", "neutral"]


@dataclass(frozen=True, slots=True)
class FindingCount:
    """`enforce` and `observe` count unexpected findings; `expected` those that their test provoked."""

    enforce: int = 0
    observe: int = 0
    expected: int = 0

    @property
    def total(self) -> int:
        return self.enforce + self.observe + self.expected


@dataclass(frozen=True, slots=True)
class Broken:
    """What unexpected findings in enforce mode are about, each thing counted once.

    `reached` and `blocked` count calls by the worse of the two, `unproven` calls that lack evidence,
    `by_servers` messages that servers sent of their own accord; `of_tests` counts findings that name no message,
    such as an expectation that was not met, and `elsewhere` those whose message is not in the record.
    """

    reached: int = 0
    blocked: int = 0
    unproven: int = 0
    by_servers: int = 0
    of_tests: int = 0
    elsewhere: int = 0

    @property
    def calls(self) -> int:
        return self.reached + self.blocked


@dataclass(frozen=True, slots=True)
class AgentSummary:
    agent: str
    calls: int
    denied: int
    findings: int
    screens: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, its colour, the headline sentences and up to four supporting ones."""

    word: str
    tone: Tone
    headline: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunSummary:
    run: str
    agents: tuple[AgentSummary, ...]
    calls: int
    denied: int
    unanswered: int
    unjudged: int
    calls_with_screen: int
    broken: Broken
    screens: int
    reached: FindingCount
    blocked: FindingCount
    unproven: FindingCount
    tests: tuple[tuple[str, int], ...]
    unfinished_tests: int
    gaps: int
    judged: bool
    modes: tuple[str, ...]
    verdict: Verdict

    @property
    def unexpected(self) -> int:
        """Findings that fail the run."""
        return self.reached.enforce + self.blocked.enforce + self.unproven.enforce

    @property
    def observed(self) -> int:
        return self.reached.observe + self.blocked.observe + self.unproven.observe

    @property
    def expected(self) -> int:
        return self.reached.expected + self.blocked.expected + self.unproven.expected


def summarise(reader: Records, *, status: str = "complete") -> RunSummary:
    """Figures and verdict of the run that `reader` opens.

    Args:
        reader: the run's evidence, whole or with values withheld; both give the same figures.
        status: as the close statement says it; records alone show gaps and missing segments.
    """
    return summary_of(collect(reader), status=status)


def summary_of(evidence: Evidence, *, status: str = "complete", judged: bool = True) -> RunSummary:
    """The same from evidence already collected; `status` and `judged` as the closing run knows them."""
    from .verdict import verdict  # verdict.py words what this module counts

    states = {s: _count(x for x in evidence.findings if x.state == s) for s in ("reached", "blocked", "unproven")}
    figures = RunSummary(
        run=evidence.run,
        agents=tuple(_agent(evidence, name) for name in evidence.agents),
        calls=len(evidence.calls),
        denied=sum(c.denied for c in evidence.calls),
        unanswered=sum(c.answer is None and c.delivered is None for c in evidence.calls),
        unjudged=sum(c.state in ("unjudged", "undecided") for c in evidence.calls),
        calls_with_screen=sum(any(s.is_screen for s in c.screens) for c in evidence.calls),
        broken=_broken(x for x in evidence.findings if x.counts),
        screens=sum(s.is_screen for s in evidence.screens),
        reached=states["reached"],
        blocked=states["blocked"],
        unproven=states["unproven"],
        tests=evidence.outcomes,
        unfinished_tests=evidence.unfinished_tests,
        gaps=len(evidence.gaps),
        judged=judged and evidence.judged,
        modes=evidence.modes,
        verdict=Verdict("", "neutral", "", ()),
    )
    return replace(figures, verdict=verdict(figures, evidence, status=status))


def _count(findings: Iterable[Finding]) -> FindingCount:
    found = list(findings)
    return FindingCount(
        enforce=sum(x.counts for x in found),
        observe=sum(not x.expected and x.mode == "observe" for x in found),
        expected=sum(x.expected for x in found),
    )


def _broken(findings: Iterable[Finding]) -> Broken:
    calls: dict[str, set[int]] = {"reached": set(), "blocked": set(), "unproven": set()}
    by_servers: set[str] = set()
    of_tests = elsewhere = 0
    for finding in findings:
        if finding.calls:
            calls[finding.state].update(finding.calls)
        elif finding.about is not None:
            by_servers.add(finding.about.at.ref)
        elif finding.refs:
            elsewhere += 1
        else:
            of_tests += 1
    return Broken(
        reached=len(calls["reached"]),
        blocked=len(calls["blocked"] - calls["reached"]),
        unproven=len(calls["unproven"]),
        by_servers=len(by_servers),
        of_tests=of_tests,
        elsewhere=elsewhere,
    )


def _agent(evidence: Evidence, name: str) -> AgentSummary:
    calls = [c for c in evidence.calls if c.request.agent == name]
    return AgentSummary(
        agent=name,
        calls=len(calls),
        denied=sum(c.denied for c in calls),
        findings=sum(x.agent == name and not x.expected and not x.is_by_server for x in evidence.findings),
        screens=sum(s.is_screen for c in calls for s in c.screens),
        scopes=tuple(sorted({a.scope for a in evidence.accesses if a.agent == name and a.scope})),
    )
