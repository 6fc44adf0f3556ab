"""Applies the waivers of one source: whether one lifts the limit that a call does not meet, and why it does not.

A waiver lifts limits of a rule of its own source, never of another, and only while it has not expired. Reading
them is `waiver_section`'s affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pytest_mcp_governance.policy.arguments import first_failure
from pytest_mcp_governance.policy.model import Rule, Waiver
from pytest_mcp_governance.policy.places import Paths


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call asks for; `arguments` is None where a rule's `args` do not apply."""

    kind: str
    server: str
    name: str
    agent: str
    arguments: Mapping[str, object] | None = field(repr=False)


class Waivers:
    """The waivers of one source on one day; without a day none holds."""

    def __init__(self, waivers: Sequence[Waiver], today: date | None) -> None:
        self._today = today
        self._by_rule: dict[str, list[Waiver]] = {}
        for waiver in waivers:
            self._by_rule.setdefault(waiver.rule, []).append(waiver)

    def lifting(self, rule: Rule, asked: Asked, paths: Paths) -> Waiver | None:
        """The waiver by which this call passes the rule; None where there is none."""
        return next((w for w in self._by_rule.get(rule.id, ()) if not self._against(w, rule, asked, paths)), None)

    def hint(self, rule: Rule, asked: Asked, paths: Paths) -> str:
        """Why no waiver of the rule helps, of the one that comes nearest; empty where the rule has none."""
        told = [(self._against(waiver, rule, asked, paths), waiver) for waiver in self._by_rule.get(rule.id, ())]
        if not told:
            return ""
        against, waiver = min(told, key=lambda pair: len(pair[0]))
        reasons = [reason for reason in against if reason]
        why = f" but {' and '.join(reasons)}" if reasons else " only"
        return f"waiver {waiver.id} allows {waiver.shown}{why}"

    def _against(self, waiver: Waiver, rule: Rule, asked: Asked, paths: Paths) -> list[str]:
        """What keeps the waiver from applying; an entry without words where the arguments are beyond it too."""
        against = []
        if not any(glob.matches(asked.agent) for glob in waiver.agents):
            against.append(f"is for {' and '.join(waiver.agent_names)}")
        tools = waiver.tools
        if tools is not None and not (asked.kind == "tool" and any(t.matches(asked.server, asked.name) for t in tools)):
            against.append(f"is for {' and '.join(tool.text for tool in tools)}")
        if not waiver.active(self._today):
            unknown = self._today is None  # a day that nobody knows is no permission
            against.append("nobody said which day it is" if unknown else f"expired on {waiver.expires.isoformat()}")
        if waiver.args is not None:
            if asked.arguments is None:
                against.append("")  # nobody can tell whether its arguments hold
            elif first_failure(waiver.args, asked.arguments, paths, closed=not rule.denies):
                against.append("")
        return against
