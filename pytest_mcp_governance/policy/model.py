"""The policy as values: rules, data scopes and protocol limits of one source.

Made by `loader`; nothing here reads YAML or looks at a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from pytest_mcp_governance.policy.arguments import ArgumentRule
from pytest_mcp_governance.policy.data import DataScope
from pytest_mcp_governance.policy.matching import Glob, ToolPattern
from pytest_mcp_governance.policy.verdicts import Mode

SourceKind = Literal["file", "marker", "inline", "floor"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Exactly one of allowing and denying; `source` is "file:line", `to_names` is `to` as written."""

    id: str
    source: str
    denies: bool
    tools: tuple[ToolPattern, ...] = ()
    resources: tuple[Glob, ...] = ()
    prompts: tuple[ToolPattern, ...] = ()
    to: tuple[Glob, ...] | None = None
    to_names: tuple[str, ...] = ()
    args: tuple[ArgumentRule, ...] | None = None
    data: frozenset[str] | None = None
    unresolved_denied: bool = False
    controls: tuple[str, ...] = ()

    def concerns(self, agent: str) -> bool:
        """Whether the rule speaks about this agent; a rule without `to` speaks about all."""
        return self.to is None or any(glob.matches(agent) for glob in self.to)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A limit of one rule of the same source, lifted for some agents until a day.

    `args` is what a call must meet in the place of the rule's own: for an allowing rule all arguments, for a denying
    one those that the waiver names, None where it names none. `shown` is that in words. `expires` is the last day, UTC.
    """

    id: str
    source: str
    rule: str
    agents: tuple[Glob, ...]
    agent_names: tuple[str, ...]
    tools: tuple[ToolPattern, ...] | None
    args: tuple[ArgumentRule, ...] | None
    shown: str
    owner: str
    ticket: str
    expires: date
    reason: str

    def active(self, today: date | None) -> bool:
        """Whether it holds on this day; on a day that nobody knows none does."""
        return today is not None and today <= self.expires


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a server may ask of the agent's side; None = the source says nothing about it."""

    source: str = ""
    sampling: bool | None = None
    elicitation: bool | None = None
    roots: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One source: its rules, and the text they came from.

    `constraint` sources only limit; without any allowing source everything stays denied. `sha256` is that of
    `text` in UTF-8. `owned` says that it names an owner, `review_by` when somebody should read it again.
    """

    id: str
    name: str
    kind: SourceKind
    text: str = field(repr=False)
    sha256: str
    mode: Mode
    constraint: bool
    rules: tuple[Rule, ...]
    data: Mapping[str, DataScope]
    agents: Mapping[str, tuple[Glob, ...]]
    protocol: Protocol
    waivers: tuple[Waiver, ...] = ()
    owned: bool = False
    review_by: date | None = None
