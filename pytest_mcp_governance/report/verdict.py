"""The verdict of a run: one word, its headline and the sentences under it, for page and terminal alike.

Bad news first. What broke the policy, what servers sent and what tests expected in vain are counted apart.
Counts come from summary.py. Nothing here says that a file was checked: only the command line can say that.
"""

from __future__ import annotations

from collections import Counter

from .hostile import plain
from .model import Evidence
from .summary import Broken, RunSummary, Tone, Verdict
from .text import counted, finding_sentence, joined, number, word

MAX_POINTS = 4
MAX_SENTENCE = 400
HOW_TO_BE_JUDGED = (
    "To have the next run judged, write `governance.policy.yaml` into the project's folder: see docs/policy-format.md."
)


def verdict(run: RunSummary, evidence: Evidence, *, status: str = "complete") -> Verdict:
    """The word, its colour, the headline and the sentences under it. Bad news before incomplete before good."""
    incomplete = status != "complete" or run.gaps > 0 or bool(evidence.missing_segments)
    failed = sum(n for outcome, n in run.tests if outcome in ("failed", "error"))
    points = _points(run, evidence)
    if run.unexpected:
        return _worded("Failed", "bad", _findings_headline(run), points)
    if incomplete:
        headline = "This record is incomplete. " + _so_far(run)
        return _worded("Incomplete", "warn", headline, points)
    if not run.judged:
        return _worded("Not judged", "neutral", _unjudged_headline(run), points)
    if failed:
        return _worded("Tests failed", "bad", f"{counted(failed, 'test')} failed. {_kept(run)}", points)
    if not run.calls or not run.tests:
        return _worded("Nothing exercised", "warn", "No tool call was recorded, so nothing is shown.", points)
    if "enforce" not in run.modes:
        return _worded("Observed only", "neutral", _kept(run), points)
    return _worded("Passed", "ok", _kept(run), points)


def _worded(name: str, tone: Tone, headline: str, points: tuple[str, ...]) -> Verdict:
    return Verdict(name, tone, plain(headline, MAX_SENTENCE), tuple(plain(p, MAX_SENTENCE) for p in points))


def _findings_headline(run: RunSummary) -> str:
    broken = run.broken
    if broken.calls:
        parts = [f"{number(broken.calls)} of {counted(run.calls, 'call')} broke the policy{_ends(broken)}."]
    else:
        parts = ["No call broke the policy." if run.calls else "No call was recorded."]
    if broken.unproven:
        parts.append(f"Evidence is missing for {counted(broken.unproven, 'call')}.")
    if broken.by_servers:
        sender = "a server" if broken.by_servers == 1 else "servers"
        parts.append(f"{counted(broken.by_servers, 'message')} from {sender} broke the policy.")
    if broken.of_tests:
        whose = "a test was" if broken.of_tests == 1 else "tests were"
        parts.append(f"{counted(broken.of_tests, 'expectation')} of {whose} not met.")
    if broken.elsewhere:
        parts.append(f"{counted(broken.elsewhere, 'finding')} named no message of this record.")
    return " ".join(parts)


def _ends(broken: Broken) -> str:
    """What became of the calls that broke the policy."""
    ends = (
        (broken.reached, "reached data or had an effect", ""),
        (broken.blocked, "blocked", "was " if broken.blocked == 1 else "were "),
    )
    some = [(n, f"{verb}{end}") for n, end, verb in ends if n]
    if len(some) > 1:
        return ": " + joined([f"{word(n)} {end}" for n, end in some])
    return f"; {'it' if broken.calls == 1 else 'all'} {some[0][1]}"


def _kept(run: RunSummary) -> str:
    """What can be said of the calls of a run without unexpected findings."""
    scope = f"in {counted(run.calls, 'call')} by {counted(len(run.agents), 'agent')}"
    if "enforce" in run.modes:
        return f"No enforced rule was broken {scope}{_apart(run)}."
    return f"Rules were only observed {scope}: {_observed(run)}."


def _apart(run: RunSummary) -> str:
    """What a reader of "no enforced rule was broken" must hear in the same breath."""
    if run.expected:
        return f", apart from {word(run.expected)} that {'its test' if run.expected == 1 else 'tests'} provoked"
    return ""


def _observed(run: RunSummary) -> str:
    if not run.observed:
        return "none was broken"
    return "one finding" if run.observed == 1 else f"{word(run.observed)} findings"


def _so_far(run: RunSummary) -> str:
    """What an incomplete record holds."""
    if not run.judged:
        return f"It holds {counted(run.calls, 'call')}, not judged."
    what = _kept(run)
    return f"In what it holds, {what[:1].lower()}{what[1:]}"


def _unjudged_headline(run: RunSummary) -> str:
    some = run.unjudged < run.calls
    it = "it" if run.calls == 1 else "them"
    rest = f"{number(run.unjudged)} of them had no policy" if some else f"no policy decided on {it}"
    return f"Recorded, not judged: {_who_called(run)}, and {rest}."


def _who_called(run: RunSummary) -> str:
    return f"{counted(len(run.agents), 'agent')} made {counted(run.calls, 'call')}"


def _points(run: RunSummary, evidence: Evidence) -> tuple[str, ...]:
    found = Counter(finding_sentence(x) for x in evidence.findings)
    shown = list(found)[: MAX_POINTS if len(found) <= MAX_POINTS else MAX_POINTS - 1]
    points = [s if found[s] == 1 else f"{s[:-1]} ({number(found[s])} times)." for s in shown]
    if more := len(evidence.findings) - sum(found[s] for s in shown):
        points.append(f"And {counted(more, 'more finding')} below.")
    if not run.judged:
        points.append(HOW_TO_BE_JUDGED)
    return tuple(points)
