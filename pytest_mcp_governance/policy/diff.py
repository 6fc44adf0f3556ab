"""What changes between two lists of policy sources: for each agent and tool, what is wider and what is narrower.

Sources are AND-ed, so the lists are compared as wholes. "Not wider" is only ever said where it is proven for every
name there is and every argument; what cannot be decided counts as wider and says so. Messages that cannot be judged
at all (rule ERROR) are left out, and so is what only people read: owners, review dates, controls, rule ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from pytest_mcp_governance.policy.changes import EVERY_CALL, Change, Direction, PolicyDiff
from pytest_mcp_governance.policy.comparison import Comparison
from pytest_mcp_governance.policy.inclusion import scope_parts, shown_parts
from pytest_mcp_governance.policy.model import Policy, Waiver
from pytest_mcp_governance.policy.permissions import ANY_AGENT, Sources

__all__ = ["EVERY_CALL", "Change", "Direction", "PolicyDiff", "diff"]

_ORDER: tuple[Direction, ...] = ("wider", "changed", "narrower")


def diff(
    before: Sequence[Policy],
    after: Sequence[Policy],
    *,
    floor: Sequence[Policy] = (),
    today: date | None = None,
) -> PolicyDiff:
    """Compare two lists of sources, each AND-ed.

    A widening is waived where a waiver that was there before, or one of the floor for a rule of the same id, allows as
    much. A waiver that is new, or longer or wider than before, waives nothing: it is a widening itself.

    Args:
        before, after: the sources; none at all means that nothing is judged and everything goes.
        floor: sources from outside the change, AND-ed to both.
        today: the day by which waivers hold; None: each is taken as holding until it expires.

    Returns:
        The changes; none where what is permitted is the same. Rules are compared whatever the mode is, so that a
        policy that only observes is compared too.
    """
    before, after = (*before, *floor), (*after, *floor)
    if not before or not after:
        return PolicyDiff(_without_policy(before, after))
    granted = [waiver for policy in floor for waiver in policy.waivers]
    changes = [*_mode(before, after), *_rules(before, after, granted, today), *_asked(before, after)]
    changes += [*_labels(before, after, "wider"), *_labels(after, before, "narrower")]
    changes.sort(key=lambda change: (_ORDER.index(change.direction), change.waiver is not None))
    return PolicyDiff(tuple(dict.fromkeys(changes)))


def _rules(
    before: Sequence[Policy], after: Sequence[Policy], granted: Sequence[Waiver], today: date | None
) -> list[Change]:
    for joined in (False, True):  # the second try names several deny rules where one denies
        first = Sources(before, 0, today, granted, joined=joined)
        comparison = Comparison(first, Sources(after, len(first.rules), today, joined=joined))
        if comparison.complete:
            break
    return list(comparison.changes())


def _without_policy(before: Sequence[Policy], after: Sequence[Policy]) -> tuple[Change, ...]:
    nothing = "no policy: nothing is judged or blocked"
    if before:
        return (Change("wider", ANY_AGENT, EVERY_CALL, _called(before), nothing),)
    if after:
        detail = "a first policy permits less than none, whatever it says: read all of it"
        return (Change("narrower", ANY_AGENT, EVERY_CALL, nothing, _called(after), detail),)
    return ()


def _called(policies: Sequence[Policy]) -> str:
    return "policy " + " and ".join(policy.id for policy in policies)


def _mode(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    blocks = {True: "mode enforce: what is not allowed is blocked", False: "mode observe: nothing is blocked"}
    was, now = (any(policy.mode == "enforce" for policy in policies) for policies in (before, after))
    if was != now:
        yield Change("wider" if was else "narrower", ANY_AGENT, EVERY_CALL, blocks[was], blocks[now])


def _asked(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    """What servers may ask of the agent's side."""
    words = {True: "allowed", False: "denied"}
    for name in ("sampling", "elicitation", "roots"):
        was, now = _may_ask(before, name), _may_ask(after, name)
        if was != now:
            yield Change("wider" if now else "narrower", ANY_AGENT, f"what servers ask: {name}", words[was], words[now])
    if _may_ask(before, "roots") and _may_ask(after, "roots"):
        yield from _root_limits(before, after)


def _may_ask(policies: Sequence[Policy], name: str) -> bool:
    answers = []
    for policy in policies:
        said = getattr(policy.protocol, name)
        if said is None and policy.constraint:
            continue
        answers.append(bool(said))
    return bool(answers) and all(answers)


def _root_limits(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    was, now = ([p.protocol.roots for p in policies if p.protocol.roots] for policies in (before, after))
    shown = [" and in ".join(", ".join(roots) for roots in side) for side in (was, now)]
    if not all(any(_roots_within(own, wanted) for own in now) for wanted in was):
        yield Change("wider", ANY_AGENT, "what servers ask: roots", f"in {shown[0]}", f"in {shown[1]}")
    elif not all(any(_roots_within(own, wanted) for own in was) for wanted in now):
        yield Change("narrower", ANY_AGENT, "what servers ask: roots", f"in {shown[0]}", f"in {shown[1]}")


def _roots_within(own: Sequence[str], wanted: Sequence[str]) -> bool:
    # A directory below another may be a symlink that leads out of it, so file roots are within themselves only.
    return all(
        any(
            root == other or (not root.lower().startswith("file:") and root.startswith(other.rstrip("/") + "/"))
            for other in wanted
        )
        for root in own
    )


def _labels(before: Sequence[Policy], after: Sequence[Policy], direction: Direction) -> Iterator[Change]:
    """What is no longer labelled secret or personal, and so no longer masked and withheld."""
    kept: dict[str, frozenset[tuple[str, str]]] = {}
    for scope in (scope for policy in after for scope in policy.data.values() if scope.sensitive):
        kept[scope.name] = kept.get(scope.name, frozenset()) | scope_parts(scope)
    labelled = {(s.name, s.scope_class): s for policy in before for s in policy.data.values() if s.sensitive}
    everything = frozenset(part for parts in kept.values() for part in parts)
    for scope in labelled.values():
        lost = scope_parts(scope) - everything
        if lost:
            on, off = f"{scope.scope_class}: masked and withheld", "not labelled"
            sides = (on, off) if direction == "wider" else (off, on)
            yield Change(direction, ANY_AGENT, f"data scope {scope.name}", *sides, shown_parts(lost))
