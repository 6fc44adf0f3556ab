"""What a reader may require beyond VERIFIED: `--require passed,no-withheld,commit=…`.

Leaves out RFC 3161: `timestamp` can be asked for and is not met in this version.
"""

import difflib
import re
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.safe_text import safe

PLAIN = ("passed", "no-withheld", "timestamp")
VALUED = ("commit", "policy", "floor", "challenge", "close")
_VALUES = {"commit": "SHA", "challenge": "NONCE"}
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement; `value` is "" for those without one."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What requirements are held against; all of it verified.

    Args:
        count: the recount of the run.
        opened: predicate of the open statement.
        withheld: committed values without disclosure.
        close_digest: hex, or "".
    """

    count: Recount
    opened: dict[str, object]
    withheld: int
    close_digest: str


def parse_requirements(texts: tuple[str, ...]) -> tuple[Requirement, ...]:
    """Parse requirement texts; each may hold several, separated by commas.

    Raises:
        EvidenceError: an unknown requirement, or one that lacks its value.
    """
    return tuple(_parse(part.strip()) for text in texts for part in text.split(","))


def unmet(requirement: Requirement, facts: Facts) -> str | None:
    """Why a requirement is not met, in one line; None where it is."""
    match requirement.name:
        case "passed":
            return _passed(facts.count)
        case "no-withheld":
            return f"{facts.withheld} values are withheld" if facts.withheld else None
        case "timestamp":
            return "no timestamp authority confirmed the time, and this version cannot check one"
        case "commit":
            return _commit(facts.opened, requirement.value)
        case "policy":
            return _policy(facts.count, requirement.value)
        case "floor":
            return _floor(facts.count, requirement.value)
        case "challenge":
            same = facts.opened.get("challenge") == requirement.value
            return None if same else f"the run answers {_seen(facts.opened.get('challenge'))}"
        case _:
            same = facts.close_digest == requirement.value.removeprefix("sha256:")
            return None if same else f"the close digest is {facts.close_digest or 'none'}"


def _parse(part: str) -> Requirement:
    name, equals, value = part.partition("=")
    if name in PLAIN and not equals:
        return Requirement(name)
    if name in VALUED and value:
        if name in ("policy", "floor", "close") and _HEX64.fullmatch(value.removeprefix("sha256:")) is None:
            raise EvidenceError(f"Requirement `{name}=` takes a SHA-256 digest of 64 hex characters.")
        return Requirement(name, value)
    if name in VALUED:
        raise EvidenceError(f"Requirement `{name}` needs a value: {name}={_VALUES.get(name, 'SHA256')}.")
    near = difflib.get_close_matches(name, (*PLAIN, *VALUED), n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    known = ", ".join([*PLAIN, *(f"{name}=…" for name in VALUED)])
    raise EvidenceError(f"Unknown requirement {safe(part)!r}{meant} Known: {known}.")


def _passed(count: Recount) -> str | None:
    if not count.judged:
        return "not every test was judged by a policy"
    last = count.last_outcomes
    if not last:
        return "no test ended"
    others = sorted(name for name, outcome in last.items() if outcome != "passed")
    if others:
        # Skipped and expected failures did not pass either: they show nothing about the agent.
        return f"{len(others)} of {len(last)} tests did not pass, the first is {safe(others[0])}"
    if count.unexpected:
        return f"{count.unexpected} unexpected findings in enforce mode"
    return None


def _commit(opened: dict[str, object], wanted: str) -> str | None:
    source = opened.get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("commit") != wanted:
        return f"the run names commit {_seen(source.get('commit'))}"
    if source.get("dirty") is not False:
        return "the run does not say that the working tree was clean at that commit"
    return None


def _policy(count: Recount, wanted: str) -> str | None:
    if not count.judged:
        return "not every test was judged by a policy"
    if count.policies != (wanted.removeprefix("sha256:"),):
        return f"the run was judged by {', '.join(map(safe, count.policies))}"
    return None


def _floor(count: Recount, wanted: str) -> str | None:
    if not count.judged:
        return "not every test was judged by a policy"
    if not count.floors:
        return "not every test had a floor"
    same = count.floors == (wanted.removeprefix("sha256:"),)
    return None if same else f"the floor was {', '.join(map(safe, count.floors))}"


def _seen(value: object) -> str:
    return safe(value) if isinstance(value, str) else "none"
