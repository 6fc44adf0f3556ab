"""What is said of each finding, call and screen, in plain words, and the words for their states.

Sentences hold names as recorded: who prints them makes them harmless (hostile.py). Leaves out the verdict
(verdict.py) and what the page says about itself (caveats.py).
"""

from __future__ import annotations

from typing import NamedTuple

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Access, Call, Finding, Message, Screen, Text, WithheldCount


class State(NamedTuple):
    """How a state of a call or finding is shown.

    `tone` is the colour class, `icon` the symbol, `word` what a cell of the access matrix says.
    """

    label: str
    tone: str
    icon: str
    word: str
    meaning: str


STATES = {
    "reached": State("Reached", "bad", "bad", "reached", "It broke the policy and reached data or had an effect."),
    "blocked": State("Blocked", "stop", "stop", "blocked", "It broke the policy and was stopped."),
    "unproven": State("Unproven", "warn", "warn", "unproven", "Evidence that the policy asks for is missing."),
    "observed": State("Observed", "warn", "warn", "observed", "It broke a rule that is only observed."),
    "expected_reached": State("Went through, as expected", "note", "note", "went through",
                              "A test provoked it on purpose, under a rule that is only observed."),
    "expected_blocked": State("Blocked, as expected", "note", "stop", "blocked",
                              "A test provoked it on purpose, and it was stopped."),
    "expected_unproven": State("Unproven, as expected", "note", "note", "unproven",
                               "A test provoked it on purpose; evidence is missing."),
    "unjudged": State("Not judged", "note", "note", "not judged", "No policy decided on it."),
    "undecided": State("No decision", "warn", "warn", "no decision", "No decision on it was recorded."),
    "allowed": State("Allowed", "ok", "ok", "allowed", "The policy allows it."),
}  # fmt: skip
ORDER_OF_STATES = tuple(STATES)
# States of a finding, worst first.
FOUND = ORDER_OF_STATES[:7]

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
    "MALFORMED": "The message is no valid MCP message.",
    "ERROR": "The decision itself failed; a failed decision denies.",
    "UNKNOWN-AGENT": "The sender is no agent of this test.",
    "NO-CALLS": "A test that is audited made no call.",
    "EXPECTED-DENIAL-MISSING": "A test expected a denial that did not happen.",
}
DETAILS = {"nearest": "Nearest allowed", "waiver": "Waiver"}
HOW = {"detected": "detection", "embedded": "what came with the result", "link": "a link in the result"}
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


# ---- findings and calls ------------------------------------------------------------------------------


def finding_sentence(finding: Finding) -> str:
    """Who did what, under which rule, and what became of it."""
    about = finding.about
    if about is None and not finding.refs:
        return _about_the_test(finding)
    if finding.rule == "TOOL-CHANGED":
        tool, server = tool_name("", finding.tool), finding.server or "a server"
        told = "kept from the agent" if finding.state == "blocked" else "told to the agent"
        return f"Server {server} changed its definition of the tool {tool} during the run, and the new one was {told}."
    if about is not None and about.direction == "s2c" and finding.state != "unproven":
        return _about_an_answer(finding) if about.is_answer else _about_a_server(finding, about)
    who, tool = finding.agent or "An unknown sender", tool_name(finding.server, finding.tool)
    if finding.state == "unproven":
        about_tool = f" on {tool}" if tool else ""
        return f"{who}: rule {finding.rule} asks for evidence{about_tool} that is missing."
    if finding.state == "blocked":
        act = f"call {tool}" if tool else "send a message"
        return f"{who} tried to {act}. Rule {finding.rule} blocked it{_as_expected(finding)}."
    return f"{who} {f'called {tool}' if tool else 'sent a message'} {_against(finding)}"


def finding_why(finding: Finding) -> Text:
    """The recorded reason, without what the sentence about a test says already."""
    reason = finding.reason
    if finding.about is not None or finding.refs or isinstance(reason, Withheld):
        return reason
    first, _, rest = reason.partition(". ")
    return rest if first.removeprefix("the test").rstrip(". ") in _about_the_test(finding) else reason


def _about_the_test(finding: Finding) -> str:
    """Of a finding that no message bears out: the test claimed something that the record does not show."""
    test = finding.at.test.rpartition("::")[2] or "The run"
    reason = finding.reason if isinstance(finding.reason, str) else ""
    if finding.rule == "NO-CALLS" and reason.startswith("no call came through gateway"):
        return f"{test} opened a gateway and made no call through it."
    if finding.rule == "NO-CALLS" and (not reason or reason.startswith("no call came through")):
        return f"{test} made no call."
    if finding.rule == "EXPECTED-DENIAL-MISSING" and reason.startswith(("the test expected", "expected")):
        return _closed(f"{test} {reason.removeprefix('the test ')}")
    if finding.rule == "EXPECTED-DENIAL-MISSING":
        return _closed(f"{test} expected a denial that did not happen{': ' if reason else ''}{reason}")
    return _closed(f"{test}: {reason.partition('. ')[0] or f'rule {finding.rule} asks for evidence that is missing'}")


def _closed(clause: str) -> str:
    """With the mark at its end."""
    return clause if clause.endswith("?") else clause.rstrip(". ") + "."


def _about_an_answer(finding: Finding) -> str:
    who, tool = finding.agent or "An unknown sender", tool_name(finding.server, finding.tool)
    did = f"{who} called {tool}" if tool else f"{who} sent a request"
    if finding.state == "blocked":
        kept = f"rule {finding.rule} kept the answer from the agent{_as_expected(finding)}"
        return f"{did}. The server answered, and {kept}."
    return f"{did}, and was answered {_against(finding)}"


def _about_a_server(finding: Finding, message: Message) -> str:
    server = f"Server {finding.server}" if finding.server else "A server"
    advice = ""
    if message.kind == "invalid" and "not-object" in message.problems:
        did = "wrote a line to stdout that is no MCP message"
        advice = " Its stdout belongs to the protocol: print to stderr."
    elif message.kind == "invalid":
        did = f"sent a message that is not valid MCP ({joined(list(message.problems)) or 'malformed'})"
    elif message.kind == "request":
        did = _asked(finding.agent or "an unknown agent", message.method)
    elif message.kind == "notification":
        did = f"sent the notification {_named(message.method)}"
    else:
        did = "sent an answer that nothing asked for"
    if finding.state == "blocked":
        return f"{server} {did}. Rule {finding.rule} kept it from the agent{_as_expected(finding)}.{advice}"
    return f"{server} {did}, {_against(finding)}{advice}"


def _as_expected(finding: Finding) -> str:
    return ", as the test expected" if finding.expected else ""


def _against(finding: Finding) -> str:
    if finding.expected:
        return f"against rule {finding.rule}, as the test expected."
    if finding.mode == "observe":
        return f"against rule {finding.rule}, which is only observed. It went through."
    return f"against rule {finding.rule}. It was not blocked."


def call_sentence(call: Call) -> str:
    """One plain sentence: who called what, and what became of it."""
    request = call.request
    who = request.agent or "An unknown sender"
    if request.direction == "s2c":
        did = f"{request.server or 'A server'} {_asked(who, request.method)}"
    elif request.method == "tools/call":
        did = f"{who} called {tool_name(request.server, request.tool)}"
    elif request.kind == "invalid":
        did = f"{who} sent {request.server or 'a server'} a message that is not valid"
    else:
        did = f"{who} sent {_named(request.method)} to {request.server or 'a server'}"
    return f"{did}. {_what_became(call)}{_what_followed(call)}"


def _asked(who: str, method: Text) -> str:
    """What a server wants of the agent's side, in words; the method stands behind them."""
    named = _named(method)
    wanted = {
        "sampling/createMessage": f"asked the model of {who} for a text",
        "elicitation/create": f"asked the user behind {who} for input",
        "roots/list": f"asked {who} which folders it works in",
    }
    return f"{wanted[named]} ({named})" if named in wanted else f"asked {who} for {named}"


def _what_followed(call: Call) -> str:
    methods = [m.method for m in call.later if isinstance(m.method, str)]
    told = ""
    if call.continues:
        told += f" It brings the input that call {call.continues} asked for."
    if any(method.startswith(("tasks/", "notifications/tasks")) for method in methods):
        told += " It became a task, and what the task brought later is part of this call."
    if "notifications/cancelled" in methods:
        told += " It was cancelled."
    return told


def _named(method: Text) -> str:
    return "(withheld method)" if isinstance(method, Withheld) else method or "a message"


def _what_became(call: Call) -> str:
    receiver, sender = ("agent", "server") if call.request.direction == "s2c" else ("server", "agent")
    decision = call.decision
    if decision is not None and decision.verdict == "deny" and decision.effect != "forward":
        asked = ", as the test expected" if call.state.startswith("expected") else ""
        return f"Rule {decision.rule} stopped it before it reached the {receiver}{asked}."
    replaced = next((d for d in call.decisions if d.effect == "replace"), None)
    if replaced is not None:
        return f"The {receiver} answered, and rule {replaced.rule} kept the answer from the {sender}."
    took = "" if call.duration_ms is None else f" after {milliseconds(call.duration_ms)}"
    if call.answer is None:
        end = "No answer was recorded."
    elif call.answer.kind == "invalid":
        end = f"The {receiver} answered with a message that is not valid{took}."
    elif call.answer.kind == "error":
        end = f"The {receiver} answered with an error{took}."
    else:
        end = f"The {receiver} answered{took}."
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
    return f"{request.server}: {_named(request.method)}" if request.server else _named(request.method)


def message_label(message: Message) -> str:
    """What a message is, in a list of messages."""
    kind = {"request": "", "notification": ""}.get(message.kind, f" {message.kind}")
    return f"{_named(message.method)}{kind}"


def milliseconds(duration: float) -> str:
    return f"{duration / 1000:,.1f} s" if duration >= 1000 else f"{duration:,.0f} ms"


def placed(access: Access) -> str:
    """What is said of data that an allowing rule does not cover; nothing where it does."""
    if access.status == "out":
        return "not allowed by the rule" if access.scope else "in no scope"
    return "" if access.status == "in" else access.status


def withheld(count: WithheldCount) -> str:
    """`27 values (9 of them belong to 3 screens)`: every withheld value counts, as the verifier counts them."""
    pictures = [(count.screens, "screen", "screens"), (count.images, "picture in an answer", "pictures in answers")]
    hidden = joined([counted(n, one, many) for n, one, many in pictures if n])
    belong = "belongs" if count.of_pictures == 1 else "belong"
    return counted(count.values, "value") + (
        f" ({number(count.of_pictures)} of them {belong} to {hidden})" if hidden else ""
    )


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
