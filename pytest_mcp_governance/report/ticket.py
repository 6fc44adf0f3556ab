"""The words beside a report on a ticket: `comment(ticket, form)` and `how_to_check(ticket)`.

Facts of one verification, no promise beyond them. Recorded text is harmless in each form: Markdown, Jira's wiki
markup, plain text. Leaves out reading, verifying and packing (`run.attach`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_mcp_governance.evidence import wording
from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.outcome import Verdict as Policy

from . import escaping
from .hostile import plain
from .listing import Listed
from .text import STATES, counted

Form = Literal["markdown", "jira", "text"]
SHOWN = 400
_MOST_FINDINGS = 10
_MOST_PROBLEMS = 5
_NOT_IN_JIRA = re.compile(r"[^\w ,./;'=…]|_")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is known of a report that goes onto a ticket.

    Args:
        file: name under which it is attached.
        sha256: of the file, hex.
        size: of the file, in bytes.
        report: what the verifier said of exactly these bytes.
        trusting: whoever attaches it named a key to trust.
        findings: those that no test expected, worst first.
        keep_until: date that the close statement names, or "".
        asked_until: date that whoever attaches it names, or "".
        full: the report withholds nothing that is secret or personal.
    """

    file: str
    sha256: str
    size: int
    report: Report
    trusting: bool
    findings: tuple[Listed, ...] = ()
    keep_until: str = ""
    asked_until: str = ""
    full: bool = False

    @property
    def command(self) -> str:
        """The command line that checks the file; the reader puts a fingerprint in."""
        close = f" --require close={self.report.close_digest}" if self.report.close_digest else ""
        return f"mcp-governance verify {self.file} --trust SHA256:…{close}"


def comment(ticket: Ticket, form: Form) -> str:
    """The comment's text, ending with a newline."""
    write = _FORMS[form]
    lines = [write.heading(_headline(ticket)), ""]
    lines += [write.item(level, label, text) for level, label, text in _facts(ticket, write)]
    lines += ["", write.words(_PROVES), ""]
    return "\n".join(lines)


def how_to_check(ticket: Ticket) -> str:
    """The text of HOW-TO-CHECK.txt."""
    meanings = [f"  {code.value}  {code.name:<12} {wording.meaning(code, trusting=True)}"
                for code in sorted(Outcome, key=lambda c: c.value)]  # fmt: skip
    until = f"{ticket.keep_until}, as signed in the report" if ticket.keep_until else "no date is signed in the report"
    return "\n".join(
        [
            f"How to check {ticket.file}",
            "",
            "1. Get the signer's fingerprint from elsewhere: your security team's page, the pipeline's log, a call.",
            "   Not from the file, and not from this text.",
            "2. Install the verifier:  pip install pytest-mcp-governance",
            "3. Run, offline, with that fingerprint in place of SHA256:…",
            "",
            f"   {ticket.command}",
            "",
            "Its exit code says",
            *meanings,
            "",
            f"  file sha256   {ticket.sha256}",
            f"  close digest  {ticket.report.close_digest or 'none: the run was not closed'}",
            f"  open digest   {ticket.report.open_digest}",
            "",
            "Compare the digests with those that the run printed into its log.",
            "",
            _PROVES,
            "",
            f"Keep until: {until}.",
            "This text and the comment are not signed; the report is.",
            "",
        ]
    )


_PROVES = (
    "What verifies is unaltered since recorded. That does not prove that nothing bypassed the recorder, nor that "
    "what a server said is true."
)


def _headline(ticket: Ticket) -> str:
    report = ticket.report
    verdict = {
        Policy.NOT_JUDGED: "no policy judged it",
        Policy.FINDINGS: "with unexpected findings",
        Policy.NO_FINDINGS: "no unexpected finding in enforce mode",
        None: "findings unknown",
    }[report.verdict]
    return f"Governance evidence of run `{report.run}`: {report.outcome.name}, {verdict}"


def _facts(ticket: Ticket, write: _Form) -> Iterator[tuple[int, str, str]]:
    report, words, value = ticket.report, write.words, write.value
    yield 0, "Verification", words(f"{report.outcome.name}. {_meaning(ticket)}")
    problems = [p for p in report.problems if p.outcome is not Outcome.UNTRUSTED]
    yield from ((1, "", words(str(problem))) for problem in problems[:_MOST_PROBLEMS])
    if (more := len(problems) - _MOST_PROBLEMS) > 0:
        yield 1, "", words(f"and {counted(more, 'more problem')}")
    yield 0, "Policy verdict", words(report.verdict.value if report.verdict else "unknown")
    yield 0, "Findings", words(wording.findings(report.findings))
    yield from ((1, "", _finding(one, write)) for one in ticket.findings[:_MOST_FINDINGS])
    if (left := sum(one.count for one in ticket.findings[_MOST_FINDINGS:])) > 0:
        yield 1, "", words(f"and {counted(left, 'more finding')}, in the report")
    yield 0, "Tests", words(wording.tests(report))
    yield 0, "Withheld", words(_withheld(ticket))
    yield 0, "Signer", f"{value(report.signer)}, {words(_confirmed(ticket))}"
    for later in report.statements:
        said = "trusted" if later.trusted else "not confirmed"
        yield 1, "", f"{words(f'{later.kind} by')} {value(later.signer)}, {words(said)}"
    yield 0, "Close digest", value(report.close_digest) if report.close_digest else words("none: not closed")
    yield 0, "Open digest", value(report.open_digest)
    yield 0, "File", f"{value(ticket.file)}, {words(f'{ticket.size:,} bytes, SHA-256')} {value(ticket.sha256)}"
    yield 0, "Keep until", words(_keep(ticket))
    yield (
        0,
        "Check it",
        f"{value(ticket.command)}{words(', with a fingerprint from elsewhere. Exit code 0 is VERIFIED')}",
    )


def _meaning(ticket: Ticket) -> str:
    if ticket.report.outcome is Outcome.UNTRUSTED and not ticket.trusting:
        return "Unaltered since recorded. Who signed it is not confirmed: no trusted key was named."
    meaning = wording.meaning(ticket.report.outcome, trusting=ticket.trusting)
    return meaning[0].upper() + meaning[1:].replace("a key you trust", "a key that whoever attached it trusts")


def _confirmed(ticket: Ticket) -> str:
    if ticket.report.trusted:
        return "trusted by whoever attached it"
    return "not confirmed. Compare it with the fingerprint that your security team publishes"


def _withheld(ticket: Ticket) -> str:
    report = ticket.report
    said = f"{wording.number(report.withheld, 'value')} withheld, {wording.number(report.omitted, 'blob')} omitted"
    return f"{said}. Full report: it shows what is labelled secret or personal" if ticket.full else said


def _keep(ticket: Ticket) -> str:
    signed = f"{ticket.keep_until}, as signed in the report" if ticket.keep_until else "no date is signed in the report"
    if not ticket.asked_until:
        return signed if ticket.keep_until else f"not set; {signed}"
    return f"{ticket.asked_until}, says whoever attached it; that is not signed ({signed})"


def _finding(one: Listed, write: _Form) -> str:
    finding, value, words = one.finding, write.value, write.words
    label = STATES[finding.shown_state].label
    parts = [f"{words(label)} {value(finding.rule)}"]
    parts += [f"{words(before)} {value(text)}" for before, text in
              (("call", one.call), ("agent", finding.agent), ("data scope", finding.scope), ("test", finding.at.test))
              if text]  # fmt: skip
    times = f" ({counted(one.count, 'time')})" if one.count > 1 else ""
    return words(", ").join(parts) + words(times)


# -- forms ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """How one kind of text writes our sentences, recorded values, the first line, and an item of the list."""

    words: Callable[[str], str]
    value: Callable[[str], str]
    heading: Callable[[str], str]
    item: Callable[[int, str, str], str]


def _markdown_item(level: int, label: str, text: str) -> str:
    return f"{'  ' * level}- {f'**{label}:** ' if label else ''}{text}"


def _jira(text: str) -> str:
    """Character references in place of all that Jira's renderer could take for markup, a link or a mention."""
    return _NOT_IN_JIRA.sub(lambda m: f"&#{ord(m.group())};", plain(text, 1_000))


def _jira_value(text: str) -> str:
    return f"{{{{{_jira(plain(text, SHOWN))}}}}}" if text.strip() else "none"


def _jira_words(text: str) -> str:
    parts = text.split("`")
    return "".join(_jira_value(part) if number % 2 else _jira(part) for number, part in enumerate(parts))


def _jira_item(level: int, label: str, text: str) -> str:
    return f"{'*' * (level + 1)} {f'*{label}:* ' if label else ''}{text}"


def _text_item(level: int, label: str, text: str) -> str:
    return f"  - {text}" if level else f"{label}: {text}"


def _plain(text: str) -> str:
    return plain(text, 1_000).replace("`", "")


_FORMS: dict[Form, _Form] = {
    "markdown": _Form(
        escaping.prose,
        lambda text: escaping.name(text, SHOWN),
        lambda text: f"**{escaping.prose(text)}**",
        _markdown_item,
    ),
    "jira": _Form(_jira_words, _jira_value, lambda text: f"*{_jira_words(text)}*", _jira_item),
    "text": _Form(_plain, lambda text: plain(text, SHOWN), _plain, _text_item),
}
