"""A run's findings as SARIF 2.1.0: `sarif(evidence, checked, …) -> str`.

One result for each finding that no test expected. What fails the run is an `error`, whether it was blocked or not, so
that a gate made of SARIF is as strict as pytest's; what was only observed is a `note`, and what the suite's baseline
knows of is suppressed.
Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/ (section numbers below are of that document).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from .clock import rfc3339
from .facts import Checked
from .hostile import plain
from .listing import Place, account, call_of, identity, place_of, unexpected
from .model import Evidence, Finding
from .shards import bare_test
from .text import RULES, STATES, counted

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS = 5_000  # GitHub keeps no more of a run
FINGERPRINT = "mcpGovernanceFinding/v1"
_MAX_MESSAGE = 4_000
_MAX_NAME = 500
Json = Mapping[str, object]


def sarif(evidence: Evidence, checked: Checked, *, version: str, folder: str = "") -> str:
    """The run as a SARIF log of one run, in ASCII.

    Args:
        evidence: the run, as collected from its report.
        checked: what its file came to.
        version: of this package.
        folder: where pytest's root folder lies in the repository; empty where they are one.
    """
    found = unexpected(evidence)
    rules = sorted({finding.rule for finding in found})
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "pytest-mcp-governance",
                        "semanticVersion": version,
                        "rules": [_rule(name, found) for name in rules],
                    }
                },
                # Up to the last slash it is the category, which is the same for every run (3.17.3).
                "automationDetails": {"id": f"mcp-governance/{_name(checked.run)}"},
                "invocations": [_invocation(evidence, checked, left=len(found) - MOST_RESULTS)],
                "columnKind": "unicodeCodePoints",
                "results": [_result(x, rules.index(x.rule), folder) for x in found[:MOST_RESULTS]],
                "properties": {
                    "outcome": checked.outcome or "not verified",
                    "status": checked.status or "not closed",
                    "openDigest": checked.open_digest,
                    "closeDigest": checked.close_digest,
                    "commit": _name(checked.commit),
                    "expectedFindings": sum(x.expected for x in evidence.findings),
                },
            }
        ],
    }
    return json.dumps(log, indent=2) + "\n"


def _rule(rule: str, found: Sequence[Finding]) -> Json:
    controls = sorted({control for x in found if x.rule == rule for control in x.controls})
    meaning = RULES.get(rule, f"Rule {rule} of the run's policy.")
    return {
        "id": _name(rule),
        "shortDescription": {"text": _message(meaning)},
        "properties": {"tags": [_name(control) for control in controls]},
    }


def _result(finding: Finding, rule_index: int, folder: str) -> Json:
    place = place_of(finding)
    digest = hashlib.sha256("\0".join(identity(finding)).encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": _name(finding.rule),
        "ruleIndex": rule_index,
        "level": "error" if finding.counts else "note",
        # Where any result has it, all must: an empty list says "not suppressed" (3.27.23).
        "suppressions": [_suppression(finding)] if finding.known else [],
        "message": {"text": _message(account(finding))},
        "locations": [{**_physical(place, folder), "logicalLocations": _logical(finding)}],
        "partialFingerprints": {FINGERPRINT: digest},
        "properties": {
            "state": finding.state,
            "mode": finding.mode,
            "clause": _name(finding.clause),
            "scope": _name(finding.scope),
            "attempt": finding.at.attempt,
            "records": [_name(ref) for ref in finding.refs],
            "tags": [STATES[finding.shown_state].word, *(_name(control) for control in finding.controls)],
        },
    }


def _suppression(finding: Finding) -> Json:
    entry = dict(finding.known_entry)
    said = "; ".join(f"{name} {text}" for name, text in entry.items() if isinstance(text, str))
    # Baseline and ticket lie outside of the source code (3.35.2).
    return {"kind": "external", "status": "accepted", "justification": _message(f"{finding.known}: {said}")}


def _physical(place: Place | None, folder: str) -> Json:
    if place is None:
        return {}
    uri = quote("/".join(x for x in (folder, place.file) if x))
    region = {"region": {"startLine": place.line}} if place.line else {}
    return {"physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}, **region}}


def _logical(finding: Finding) -> list[Json]:
    """Test, agent and tool; kinds of one's own are allowed where none of the listed fits (3.33.7)."""
    named = (("function", bare_test(finding.at.test)), ("agent", finding.agent), ("tool", call_of(finding)))
    return [{"fullyQualifiedName": _name(name), "kind": kind} for kind, name in named if name]


def _invocation(evidence: Evidence, checked: Checked, *, left: int) -> Json:
    notes = [{"level": "warning", "message": {"text": _message(problem)}} for problem in checked.problems]
    if left > 0:
        text = f"{counted(left, 'more finding')} left out here; the report has all of them."
        notes.append({"level": "warning", "message": {"text": text}})
    times = {"startTimeUtc": evidence.first, "endTimeUtc": evidence.last}
    return {
        # The run, not its verdict: whether everything that was to be recorded was (3.20.14).
        "executionSuccessful": checked.status == "complete",
        **{key: rfc3339(stamp.us) for key, stamp in times.items() if stamp is not None},
        "toolExecutionNotifications": notes,
    }


def _name(text: str) -> str:
    return plain(text, _MAX_NAME)


def _message(text: str) -> str:
    """A message's text: curly brackets doubled, so that none is a placeholder (3.11.5); no embedded link (3.11.6)."""
    shown = plain(text, _MAX_MESSAGE).replace("](", "] (")
    return shown.replace("{", "{{").replace("}", "}}")
