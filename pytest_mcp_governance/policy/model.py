"""The policy as values: rules, data scopes and protocol limits of one source.

Made by `loader`; nothing here reads YAML or looks at a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    `text` in UTF-8.
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
