"""The policy's rules as the run used them: how often each allowed, and how often it was broken."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from .model import Evidence
from .text import RULES


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule id with its counts over the run; `controls` as its findings name them."""

    name: str
    meaning: str
    controls: tuple[str, ...]
    allowed: int
    reached: int
    blocked: int
    unproven: int
    observed: int
    expected: int

    @property
    def broken(self) -> int:
        """Unexpected findings in enforce mode."""
        return self.reached + self.blocked + self.unproven


def rules_of(evidence: Evidence) -> tuple[Rule, ...]:
    """Rules that decided on a call or were broken, broken ones first. Protocol traffic is left out."""
    allowed = Counter(d.rule for c in evidence.calls for d in c.decisions
                      if d.about == c.request.at.ref and d.verdict in ("allow", "approve"))  # fmt: skip
    states: dict[str, Counter[str]] = defaultdict(Counter)
    controls: dict[str, set[str]] = defaultdict(set)
    for finding in evidence.findings:
        state = "expected" if finding.expected else finding.shown_state
        states[finding.rule][state] += 1
        controls[finding.rule].update(finding.controls)
    names = (set(allowed) | set(states)) - {"", "NOT-JUDGED"}
    rules = [
        Rule(
            name=name,
            meaning=RULES.get(name, ""),
            controls=tuple(sorted(controls[name])),
            allowed=allowed[name],
            reached=states[name]["reached"],
            blocked=states[name]["blocked"],
            unproven=states[name]["unproven"],
            observed=states[name]["observed"],
            expected=states[name]["expected"],
        )
        for name in names
    ]
    return tuple(sorted(rules, key=lambda r: (-r.broken, -r.observed, -r.expected, r.name)))


def source_link(evidence: Evidence, source: str) -> str:
    """The page's anchor for `file.yaml:12`, or nothing when that file's text is not in the page."""
    name, _, line = source.rpartition(":")
    places = [n for n, p in enumerate(evidence.policies, 1) if p.name == name and p.text]
    if len(places) != 1 or not line.isdigit():
        return ""
    last = len(evidence.policies[places[0] - 1].lines)
    return f"policy-{places[0]}-{int(line)}" if 0 < int(line) <= last else ""
