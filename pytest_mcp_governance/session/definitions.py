"""Tool definitions as servers gave them in this run: each new one is recorded, one that changed is told.

Compares digests of the same command's listings; what was approved beforehand is the lock file's affair.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_mcp_governance.policy.lockfile import changed_members, definition_digest

# A server that invents tools without end must not fill the memory; past this many their texts are not kept.
MOST_KEPT = 10_000


class Definition(NamedTuple):
    """A definition that a listing brought and that this run has not seen; `changed` where the tool had another."""

    tool: str
    sha256: str
    was: str | None
    changed: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    digests: set[str] = field(default_factory=set)
    last: str = ""
    definition: Mapping[str, object] = field(default_factory=dict)


class Definitions:
    """What the servers of one recorder have defined."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], _Known] = {}

    def another_run(self) -> None:
        """From now on what is new is new to another run; what it has changed from is remembered."""
        for known in self._known.values():
            known.digests.clear()

    def input_schema(self, tool: str, *, server: str, command: str) -> object:
        """The schema of a tool's arguments as its server gave it last; None where it gave none."""
        known = self._known.get((server, command, tool))
        return known.definition.get("inputSchema") if known is not None else None

    def new_in(self, result: object, *, server: str, command: str) -> Iterator[Definition]:
        """The definitions in a `tools/list` result that are new to this run.

        Args:
            result: the result.
            server: the server's configured name.
            command: digest of how it is started or reached; another command is another server.
        """
        tools = result.get("tools") if isinstance(result, dict) else None
        for definition in tools if isinstance(tools, list) else ():
            name = definition.get("name") if isinstance(definition, dict) else None
            if not isinstance(name, str):
                continue
            known = self._known.setdefault((server, command, name), _Known())
            try:
                sha256 = definition_digest(definition)
                if sha256 in known.digests:
                    continue
                was = known.last if known.last not in ("", sha256) else None
                changed = changed_members(known.definition, definition) if was else ()
            except RecursionError:
                continue  # too deep to be compared; wherever a policy judges, its message is refused for that
            yield Definition(name, sha256, was, changed)
            known.digests.add(sha256)
            known.last = sha256
            known.definition = definition if len(self._known) <= MOST_KEPT else {}
