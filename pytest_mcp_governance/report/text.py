"""Every sentence of the page and of the terminal summary, in one place and in plain words.

Sentences hold names as recorded: who prints them makes them harmless (hostile.py). Counts come from
summary.py. Nothing here says that a file was checked: only the command line can say that.
"""

from __future__ import annotations

from pytest_mcp_governance.evidence.reader import Withheld

from .hostile import plain
from .model import Call, Evidence, Finding, Screen, Text
from .summary import RunSummary, Tone, Verdict

MAX_POINTS = 4
MAX_SENTENCE = 400

# A call's or finding's state: the label of its chip, the chip's colour class, what it means.
STATES: dict[str, tuple[str, str, str]] = {
    "reached": ("Reached", "bad", "It broke the policy and reached data or had an effect."),
    "blocked": ("Blocked", "stop", "It broke the policy and was stopped before it reached a server."),
    "unproven": ("Unproven", "warn", "Evidence that the policy asks for is missing."),
    "observed": ("Observed", "warn", "It broke a rule that is only observed, so it was let through."),
    "expected": ("Expected by the test", "note", "A test provoked it on purpose."),
    "unjudged": ("Not judged", "note", "No policy decided on it."),
    "undecided": ("No decision", "warn", "No decision on it was recorded."),
    "allowed": ("Allowed", "ok", "The policy allows it."),
}
ORDER_OF_STATES = tuple(STATES)

NO_PICTURE = {
    "failed": "No picture could be taken.",
    "withheld": "Picture withheld: it may show labelled values. Its digest is sealed.",
    "absent": "Picture left out of this file. It is in the run folder.",
    "unreadable": "Not shown: the bytes are no PNG, JPEG or WebP picture of a sane size.",
    "budget": "Picture not shown on this page to keep it small. It is in this file's data and in the run folder.",
}
RULES = {
    "DEFAULT-DENY": "Nothing allows this call, so it is denied.",
    "NOT-JUDGED": "There was no policy.",
    "PROTOCOL": "Protocol traffic that needs no rule.",
    "MALFORMED": "The message is not valid JSON-RPC.",
    "ERROR": "The decision itself failed; a failed decision denies.",
    "UNKNOWN-AGENT": "The sender is no agent of this test.",
    "NO-CALLS": "An audited gateway was opened and no call came through it.",
}
OUTCOMES = {
    "passed": "ok",
    "failed": "bad",
    "error": "bad",
    "skipped": "note",
    "xfailed": "note",
    "xpassed": "warn",
    "rerun": "warn",
    "": "warn",
}
SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(count: int) -> str:
    """`1,204`."""
    return f"{count:,}"


def word(count: int) -> str:
    """`two` up to ten, digits above."""
    return SMALL[count] if 0 <= count < len(SMALL) else number(count)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 call`, `19 calls`."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def sentence(clause: str) -> str:
    """A clause with a capital and a full stop, whatever it came with."""
    return capital(clause.rstrip(". ")) + "."


def tool_name(server: str, tool: Text | None) -> str:
    """`server.tool`, as policies name it."""
    called = "(withheld tool)" if isinstance(tool, Withheld) else tool
    return ".".join(x for x in (server, called) if x)


# ---- the verdict -------------------------------------------------------------------------------------


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
    if run.calls_broken:
        verb = "broke"
        first = f"{number(run.calls_broken)} of {counted(run.calls, 'call')} {verb} the policy."
    else:
        first = f"{counted(run.unexpected, 'finding')} against the policy, in {counted(run.calls, 'call')}."
    parts = []
    if run.reached.enforce == run.unexpected == run.calls_broken > 1:
        parts.append("all of them reached data or had an effect")
    elif run.blocked.enforce == run.unexpected == run.calls_broken > 1:
        return f"{first} All of them were blocked."
    elif run.reached.enforce:
        parts.append(f"{word(run.reached.enforce)} reached data or had an effect")
    if run.blocked.enforce:
        was = "was" if run.blocked.enforce == 1 else "were"
        parts.append(f"{word(run.blocked.enforce)} {was} blocked")
    if run.unproven.enforce:
        lacks = "lacks" if run.unproven.enforce == 1 else "lack"
        parts.append(f"{word(run.unproven.enforce)} {lacks} evidence")
    return f"{first} {capital(joined(parts))}."


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
    found = [finding_sentence(x) for x in evidence.findings]
    shown = found if len(found) <= MAX_POINTS else found[: MAX_POINTS - 1]
    more = len(found) - len(shown)
    points = [*shown, f"And {counted(more, 'more finding')} below."] if more else list(shown)
    if not run.judged:
        points.append("To have the next run judged, write a policy with `mcp-governance init`.")
    return tuple(points)


# ---- findings and calls ------------------------------------------------------------------------------


def finding_sentence(finding: Finding) -> str:
    """Who did what, under which rule, and what became of it."""
    who, tool = finding.agent or "The run", tool_name(finding.server, finding.tool)
    if finding.state == "unproven":
        about = f" on {tool}" if tool else ""
        return f"{who}: rule {finding.rule} asks for evidence{about} that is missing."
    if finding.rule == "NO-CALLS":
        return f"{who} opened an audited gateway, and no call came through it."
    act = f"call {tool}" if tool else "send a message"
    if finding.state == "blocked":
        why = " as the test expected" if finding.expected else ""
        return f"{who} tried to {act}. Rule {finding.rule} blocked it{why}."
    past = f"called {tool}" if tool else "sent a message"
    if finding.expected:
        return f"{who} {past} against rule {finding.rule}, as the test expected."
    if finding.mode == "observe":
        return f"{who} {past} against rule {finding.rule}, which is only observed. It went through."
    return f"{who} {past} against rule {finding.rule}. It was not blocked."


def finding_state(finding: Finding) -> str:
    """The key of STATES under which a finding is shown."""
    if finding.expected:
        return "expected"
    return "observed" if finding.mode == "observe" else finding.state


def call_sentence(call: Call) -> str:
    """One plain sentence: who called what, and what became of it."""
    request = call.request
    who = request.agent or "An unknown sender"
    if request.direction == "s2c":
        did = f"{request.server or 'A server'} asked {who} for {_method(call)}"
    elif request.method == "tools/call":
        did = f"{who} called {tool_name(request.server, request.tool)}"
    elif request.kind == "invalid":
        did = f"{who} sent {request.server or 'a server'} a message that is not valid"
    else:
        did = f"{who} sent {_method(call)} to {request.server or 'a server'}"
    return f"{did}. {_what_became(call)}"


def _method(call: Call) -> str:
    method = call.request.method
    return "(withheld method)" if isinstance(method, Withheld) else method or "a message"


def _what_became(call: Call) -> str:
    decision = call.decision
    if decision is not None and decision.verdict == "deny" and decision.effect != "forward":
        asked = ", as the test expected" if call.state == "expected" else ""
        return f"Rule {decision.rule} stopped it before it reached the server{asked}."
    replaced = next((d for d in call.decisions if d.effect == "replace"), None)
    if replaced is not None:
        return f"The server answered, and rule {replaced.rule} kept the answer from the agent."
    took = "" if call.duration_ms is None else f" after {milliseconds(call.duration_ms)}"
    if call.answer is None:
        end = "No answer was recorded."
    elif call.answer.kind == "error":
        end = f"The server answered with an error{took}."
    else:
        end = f"The server answered{took}."
    return f"{_permitted(call)} {end}"


def _permitted(call: Call) -> str:
    decision = call.decision
    if decision is None:
        return "No decision on it was recorded."
    if decision.rule == "NOT-JUDGED":
        return "No policy judged it, and it went through."
    if decision.verdict == "observe":
        return f"Rule {decision.rule} speaks against it but is only observed, so it went through."
    if call.state in ("reached", "observed"):
        return "It went through."
    return f"Rule {decision.rule} allows it."


def call_label(call: Call) -> str:
    """What the list of calls shows: `server.tool`, or the method."""
    request = call.request
    if request.method == "tools/call" and request.tool is not None:
        return tool_name(request.server, request.tool)
    if request.kind == "invalid":
        return f"{request.server}: invalid message" if request.server else "invalid message"
    return f"{request.server}: {_method(call)}" if request.server else _method(call)


def milliseconds(duration: float) -> str:
    return f"{duration / 1000:,.1f} s" if duration >= 1000 else f"{duration:,.0f} ms"


def screen_caption(screen: Screen, borrowed_from: int = 0) -> str:
    """When the picture was taken; `borrowed_from` is the earlier call it belongs to, where it is not this one's."""
    masked = " Parts of it are masked." if screen.masked else ""
    if borrowed_from:
        return f"No picture of this call; the agent's last screen before it, at call {number(borrowed_from)}.{masked}"
    if screen.kind == "image":
        return "Picture in the tool's answer."
    if screen.offset_ms is None:
        return f"Screen {screen.moment} the call.{masked}" if screen.moment else f"Screen.{masked}"
    if screen.moment == "before" and screen.offset_ms > -1:
        return f"Screen when the call was decided.{masked}"
    side = "before" if screen.offset_ms < 0 else "after"
    return f"Screen {milliseconds(abs(screen.offset_ms))} {side} the call was sent.{masked}"


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
