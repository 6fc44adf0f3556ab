"""What one run has that another had not: agents, tools, data scopes, servers, tests, policy, findings, signer.

Pure: two summaries in, a comparison out. It is information and fails nothing. Leaves out where summaries come from
(`approved`) and how a comparison looks (`report.since`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.evidence.recount import STATES
from pytest_mcp_governance.policy.diff import Change, Direction, diff
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.model import Policy, SourceKind
from pytest_mcp_governance.report.since import Difference, Item, Named, Weight
from pytest_mcp_governance.run.approved import Effective, Source, Summary

MAX_POLICY_PAIRS = 16
_ANY_AGENT, _EVERY_CALL = "any agent", "every call"
_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How `after` differs from `before`. Pairs are (agent, tool) or (agent, data scope), everything sorted.

    Args:
        wider, narrower: changes of the policy; what cannot be decided stands under `wider`.
        more_findings, fewer_findings: (what, before, after) for unexpected findings.
        other_signer: fingerprints before and after, where the first was confirmed and the second differs.
        classes: data scope to its class, for those that are new or gone.
        shard: the part of the suite that `after` was, so that tests which it lacks say nothing; "" for the whole.
    """

    wider: tuple[Change, ...] = ()
    narrower: tuple[Change, ...] = ()
    new_agents: tuple[str, ...] = ()
    gone_agents: tuple[str, ...] = ()
    new_tools: tuple[Pair, ...] = ()
    gone_tools: tuple[Pair, ...] = ()
    new_scopes: tuple[Pair, ...] = ()
    gone_scopes: tuple[Pair, ...] = ()
    new_servers: tuple[str, ...] = ()
    gone_servers: tuple[str, ...] = ()
    new_tests: tuple[str, ...] = ()
    gone_tests: tuple[str, ...] = ()
    more_findings: tuple[tuple[str, int, int], ...] = ()
    fewer_findings: tuple[tuple[str, int, int], ...] = ()
    other_signer: Pair | None = None
    classes: Mapping[str, str] | None = None
    shard: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All of it in words, the most important first; what a part of the suite lacks is left out."""
        found = [*self._to_look_at(), *self._besides()]
        return tuple(difference for difference in found if difference.items)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be compared."""
        if not self.shard:
            return ()
        return ("This run is one shard, so what it lacks of the approved run says nothing.",)

    def _to_look_at(self) -> Iterator[Difference]:
        yield _difference("Wider policy", "warn", map(_change, self.wider))
        yield _difference("New data scopes", "warn", map(self._scope, self.new_scopes))
        yield _difference("New agents", "warn", map(_name, self.new_agents))
        yield _difference("New tools", "warn", map(_pair, self.new_tools))
        if not self.shard:
            yield _difference("Fewer tests", "warn", map(_name, self.gone_tests))
        yield _difference("New servers", "warn", map(_name, self.new_servers))
        yield _difference("More findings", "warn", map(_count, self.more_findings))
        if self.other_signer is not None:
            before, after = self.other_signer
            yield _difference("Another signer", "warn", [(Named(after), ", was ", Named(before))])

    def _besides(self) -> Iterator[Difference]:
        yield _difference("Narrower policy", "note", map(_change, self.narrower))
        if not self.shard:
            yield _difference("Data scopes no longer accessed", "note", map(self._scope, self.gone_scopes))
            yield _difference("Agents that are gone", "note", map(_name, self.gone_agents))
            yield _difference("Tools no longer called", "note", map(_pair, self.gone_tools))
            yield _difference("Servers that are gone", "note", map(_name, self.gone_servers))
            yield _difference("Fewer findings", "note", map(_count, self.fewer_findings))
        yield _difference("New tests", "note", map(_name, self.new_tests))

    def _scope(self, pair: Pair) -> Item:
        kind = (self.classes or {}).get(pair[1], "")
        return (*_pair(pair), *((" (", Named(kind), ")") if kind else ()))


def compare(before: Summary, after: Summary, *, signer: str = "") -> Comparison:
    """Compare a run with the approved one.

    Args:
        before: the approved run.
        after: the run that is looked at.
        signer: fingerprint of the key that signs `after`.
    """
    changes = _policy_changes(before, after)
    other = before.signer and signer and before.signer != signer
    tools, scopes = (lambda s: _pairs(s, "tools")), (lambda s: _pairs(s, "scopes"))
    return Comparison(
        wider=tuple(change for change in changes if change.direction != "narrower"),
        narrower=tuple(change for change in changes if change.direction == "narrower"),
        new_agents=_less(after.agents, before.agents),
        gone_agents=_less(before.agents, after.agents),
        new_tools=_new_pairs(tools, before, after),
        gone_tools=_new_pairs(tools, after, before),
        new_scopes=_new_pairs(scopes, before, after),
        gone_scopes=_new_pairs(scopes, after, before),
        new_servers=_less(after.servers, before.servers),
        gone_servers=_less(before.servers, after.servers),
        new_tests=_less(after.tests, before.tests),
        gone_tests=_less(before.tests, after.tests),
        more_findings=tuple(row for row in _findings(before, after) if row[2] > row[1]),
        fewer_findings=tuple(row for row in _findings(before, after) if row[2] < row[1]),
        other_signer=(before.signer, signer) if other else None,
        classes={**before.classes, **after.classes},
        shard=after.shard if after.shard != before.shard else "",
    )


def _less(these: Iterable[str], those: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(these) - set(those)))


def _pairs(summary: Summary, what: str) -> set[Pair]:
    return {
        (name, used) for name, use in summary.agents.items() for used in (use.tools if what == "tools" else use.scopes)
    }


def _new_pairs(of: Callable[[Summary], set[Pair]], before: Summary, after: Summary) -> tuple[Pair, ...]:
    return tuple(sorted(of(after) - of(before)))


def _findings(before: Summary, after: Summary) -> Iterator[tuple[str, int, int]]:
    for state in STATES:
        was, now = before.findings.get(state, {}), after.findings.get(state, {})
        yield f"unexpected, {state}", was.get("enforce", 0), now.get("enforce", 0)
        yield f"observed, {state}", was.get("observe", 0), now.get("observe", 0)


# -- policy -----------------------------------------------------------------------------------------------------------


def _policy_changes(before: Summary, after: Summary) -> tuple[Change, ...]:
    """The changes over every pair of policies that some test was judged by, then and now."""
    pairs = dict.fromkeys(
        (before.tests[name], after.tests[name]) for name in sorted(after.tests) if name in before.tests
    )
    if not pairs and before.tests and after.tests:  # every test is a new one: what most were judged by is compared
        pairs = {((*before.policies, None)[0], (*after.policies, None)[0]): None}
    differing = [(was, now) for was, now in pairs if was != now]
    found: list[Change] = []
    for was, now in differing[:MAX_POLICY_PAIRS]:
        found += _changes(was, now)
    if left := len(differing) - MAX_POLICY_PAIRS:
        # What was not compared may be wider, so it counts as that.
        more = f"{left} more combinations of policies were not compared; read the policies" if left > 0 else ""
        found += [Change("changed", _ANY_AGENT, _EVERY_CALL, "", "", more)] if more else []
    return tuple(dict.fromkeys(found))


def _changes(was: Effective | None, now: Effective | None) -> list[Change]:
    try:
        changes = list(diff(_loaded(was), _loaded(now)).changes)
    except PolicyError as error:
        # A policy that cannot be read today may have forbidden anything.
        return [Change("changed", _ANY_AGENT, _EVERY_CALL, "", "", f"the policies cannot be compared: {error}")]
    modes = (was.mode if was else "", now.mode if now else "")
    if was and now and modes[0] != modes[1] and not any(change.before.startswith("mode ") for change in changes):
        direction: Direction = "narrower" if modes[1] == "enforce" else "wider"
        changes.insert(0, Change(direction, _ANY_AGENT, _EVERY_CALL, f"mode {modes[0]}", f"mode {modes[1]}"))
    return changes


def _loaded(policy: Effective | None) -> list[Policy]:
    return [_load(source) for source in policy.sources] if policy is not None else []


def _load(source: Source) -> Policy:
    kind = next((kind for kind in _KINDS if kind == source.kind), None)
    if source.text is None or kind is None:
        raise PolicyError("its text is not on record", file=source.name)
    return load_policy(source.text, name=source.name, kind=kind)


# -- words ------------------------------------------------------------------------------------------------------------


def _difference(what: str, weight: Weight, items: Iterable[Item]) -> Difference:
    return Difference(what, weight, tuple(items))


def _name(name: str) -> Item:
    return (Named(name),)


def _pair(pair: Pair) -> Item:
    return (Named(pair[0] or "no agent"), ": ", Named(pair[1]))


def _count(row: tuple[str, int, int]) -> Item:
    what, before, after = row
    return (f"{what}: {after:,}, was {before:,}",)


def _change(change: Change) -> Item:
    item: Item = (Named(change.agent), ", ", Named(change.tool))
    if change.before or change.after:
        item += (": now ", Named(change.after or "nothing"), ", was ", Named(change.before or "nothing"))
    if change.detail:
        item += ("; ", Named(change.detail))
    return (*item, " under waiver ", Named(change.waiver)) if change.waiver is not None else item
