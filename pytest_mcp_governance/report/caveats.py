"""What the page says about itself: what the file does not prove, why a run is incomplete, how to check it.

The sentences depend on the run, so that they are read. Nothing here vouches for the file.
"""

from __future__ import annotations

from .facts import RunFacts
from .model import Evidence
from .summary import RunSummary
from .text import counted, joined, number, sentence, withheld

_GATES = {"reached": "only reached and unproven findings failed its run", "off": "no finding failed its run"}


def limits(run: RunSummary, evidence: Evidence, facts: RunFacts) -> tuple[tuple[str, str], ...]:
    """What this very file leaves unproven: (what, why) pairs, the specific ones first."""
    found: list[tuple[str, str]] = []
    if facts.status != "complete" or run.gaps or evidence.missing_segments:
        found.append((f"A whole {facts.kind.lower()}", " ".join(incomplete_reasons(run, evidence, facts))))
    if not run.judged:
        which = "no call was judged" if run.unjudged == run.calls else f"{counted(run.unjudged, 'call')} had none"
        found.append(("That the calls were allowed", f"Not every test had a policy: {which}."))
    if evidence.unaudited_servers:
        named = joined(list(evidence.unaudited_servers))
        found.append(("Servers left in unaudited", f"By choice the agent could reach {named} past the recorder."))
    if run.observed:
        found.append(("That observed rules hold", "Rules in observe mode record; they stop nothing."))
    found.extend(_tests_left_out(run, evidence))
    if count := evidence.withheld.values:
        are = "is" if count == 1 else "are"
        found.append(
            ("What was withheld", f"{withheld(evidence.withheld)} {are} left out as secret or personal. "
             "Their digests are sealed; the run folder has the values.")
        )  # fmt: skip
    if facts.key_is_ephemeral:
        found.append(("Who signed it", f"The key was made for this {facts.kind.lower()} and kept nowhere."))
    if facts.omitted_screens:
        found.append(
            ("Every screen", f"{counted(facts.omitted_screens, 'picture')} left out for size, listed under seal.")
        )
    if not run.screens and any(str(call.request.tool).startswith("browser_") for call in evidence.calls):
        found.append(
            ("What the browser showed", "No screen was recorded: start the browser's server with "
             "--cdp-endpoint ${MCP_AUDIT_CDP_URL}, and the recorder watches its browser.")
        )  # fmt: skip
    if run.unanswered:
        found.append(("What came of every call", f"{counted(run.unanswered, 'call')} had no recorded answer."))
    return (*found, *_always(run, evidence, facts))


def brief(run: RunSummary, evidence: Evidence) -> str:
    """The same in one sentence or two, for texts that have no room for reasons."""
    beyond = ["anything that did not pass the recorder", "that answers were true", "how production behaves"]
    left = [f"{why[:1].lower()}{why[1:]}" for _, why in _tests_left_out(run, evidence)]
    if count := evidence.withheld.values:
        left.append(f"{counted(count, 'value')} {'is' if count == 1 else 'are'} withheld from the report.")
    rest = " ".join(sentence(x) for x in left)
    return f"Not proven: {', '.join(beyond)}, or what code of the same user did meanwhile." + (
        f" {rest}" if rest else ""
    )


def _always(run: RunSummary, evidence: Evidence, facts: RunFacts) -> tuple[tuple[str, str], ...]:
    where = ", ".join(facts.environment[:2] or evidence.platforms[:1]) or "a test machine"
    named = {s.name for s in evidence.servers} | {c.request.server for c in evidence.calls}
    servers = counted(len(named - {""}), "MCP server")
    return (
        ("That production behaves so", f"Tests made these calls on {where}."),
        ("Other ways out", f"Only traffic with {servers} passed the recorder. What an agent did with tools, "
         "files or networks of its own left no record."),
        ("That answers are true", "What a server said and a browser showed is recorded as it came."),
        ("The exact time", "Times are this machine's clock. No time authority confirmed them."),
        ("Code of the same user", "While the run was recorded, code under the recorder's own account could "
         "have interfered. Alterations made after sealing are what the command finds."),
    )  # fmt: skip


def _tests_left_out(run: RunSummary, evidence: Evidence) -> list[tuple[str, str]]:
    outcomes, selection = dict(run.tests), evidence.selection
    left = [
        (outcomes.get("skipped", 0), "was skipped", "were skipped"),
        (selection.deselected if selection else 0, "was deselected", "were deselected"),
        (selection.unaudited if selection else 0, "ran without an audit", "ran without an audit"),
        (run.unfinished_tests, "never ended", "never ended"),
    ]
    parts = [f"{number(n)} {one if n == 1 else many}" for n, one, many in left if n]
    return [("Tests left out", f"Of the suite's tests, {joined(parts)}.")] if parts else []


def incomplete_reasons(run: RunSummary, evidence: Evidence, facts: RunFacts) -> tuple[str, ...]:
    """Why the run does not count as complete, one sentence each; empty when it does."""
    reasons = [sentence(r) for r in facts.status_reasons] or _seen_in_the_records(run, evidence)
    for gap in evidence.gaps:
        lost = f"{counted(gap.count, 'item')} of {gap.what}" if gap.count else gap.what
        reasons.append(f"The recorder lost {lost}{': ' + gap.reason if gap.reason else ''}.")
    if facts.status == "recovered":
        reasons.append("The run was closed afterwards, not by itself.")
    if facts.status == "partial" and not reasons:
        reasons.append("The test run stopped before all selected tests had run.")
    return tuple(reasons)


def _seen_in_the_records(run: RunSummary, evidence: Evidence) -> list[str]:
    reasons = []
    if evidence.missing_segments:
        reasons.append(f"Records of {joined(list(evidence.missing_segments))} are missing.")
    if run.unfinished_tests:
        reasons.append(f"{counted(run.unfinished_tests, 'test')} never ended.")
    begun = {t.name for t in evidence.tests}
    if not_begun := sum(name not in begun for name in evidence.missing_tests):
        reasons.append(f"{counted(not_begun, 'selected test')} never began.")
    return reasons


def let_pass(evidence: Evidence) -> str:
    """Which findings failed neither test nor run by the suite's own choice; empty where all could."""
    said = []
    known = sum(bool(finding.known) and finding.counts for finding in evidence.findings)
    if known:
        are, them = ("is", "it") if known == 1 else ("are", "them")
        said.append(f"{number(known)} {are} known to the suite's own baseline, which did not fail its run for {them}.")
    if evidence.gate != "any":
        meaning = _GATES.get(evidence.gate, "which findings failed its run, this version cannot tell")
        name = f" `{evidence.gate}`" if evidence.gate in _GATES else " of another kind"
        said.append(f"The suite's own gate was{name}: {meaning}.")
    return " ".join(said)


def checks(facts: RunFacts) -> tuple[tuple[str, str], ...]:
    """The four questions about the file, each with what this page can say about it."""
    if facts.key_is_ephemeral:
        signer = (
            f"Unknown. The key was made for this {facts.kind.lower()} alone and kept nowhere, so nobody can vouch for "
            "it. See `mcp-governance keygen`."
        )
    else:
        signer = "A file cannot vouch for its own signer. Compare with the fingerprint your security team publishes:"
    return (
        ("Contents", "Not checked by this page. The command recomputes every record, screen and word of it."),
        ("Seal", "Not checked by this page. The command checks every signature and every sealed root."),
        ("Signer not confirmed", signer),
        ("Time not confirmed", "By the clock of the machine that ran the tests, no authority."),
    )


EXIT_CODES = (
    ("0", "whole, and signed by the key you named"),
    ("1", "altered after it was sealed"),
    ("2", "not an evidence file"),
    ("3", "unaltered but incomplete"),
    ("4", "consistent, but signed by nobody you named"),
    ("5", "a `--require` of yours is not met"),
)
