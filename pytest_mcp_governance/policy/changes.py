"""The changes between two policies, as values. Compares nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["wider", "changed", "narrower"]
EVERY_CALL = "every call"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes for an agent and a tool.

    Attributes:
        direction: "changed" is what cannot be decided, such as two regular expressions; it counts as wider.
        agent: an agent, a pattern of agents, "any agent" or "any other agent".
        tool: `server.tool` or a pattern, for the names under it that no other line names; or "resource …",
            "prompt …", "data scope …", "every call", or what a server asks of the agent's side.
        before, after: what was and is permitted, as far as it differs.
        detail: more about it, a phrase.
        waiver: id of the waiver that covers this widening; None where none does.
    """

    direction: Direction
    agent: str
    tool: str
    before: str
    after: str
    detail: str = ""
    waiver: str | None = None

    @property
    def widens(self) -> bool:
        """Whether it is, or may be, wider than before, and no waiver covers it."""
        return self.direction != "narrower" and self.waiver is None


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """All changes, what is wider first."""

    changes: tuple[Change, ...]

    @property
    def widens(self) -> bool:
        """Whether anything is, or may be, wider than before without a waiver."""
        return any(change.widens for change in self.changes)

    def markdown(self) -> str:
        """The changes for a pull request; everything that comes from a policy is escaped."""
        from pytest_mcp_governance.policy.diff_markdown import as_markdown

        return as_markdown(self)
