"""From what was touched to what is told: the accesses of a decision, and the masking that follows from them.

Decides nothing: whether a touch is in or out is `ruling`'s answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_mcp_governance.policy.data import BUILTIN_SECRET, Leaves, Touch, carried_uris
from pytest_mcp_governance.policy.detectors import builtin_secrets
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.masking import Masker
from pytest_mcp_governance.policy.model import Rule
from pytest_mcp_governance.policy.ruling import Ruling, Source, status_of
from pytest_mcp_governance.policy.subjects import Subject
from pytest_mcp_governance.policy.verdicts import Access

_ACCESSING = ("tools/call", "resources/read", "resources/subscribe", "prompts/get", "completion/complete")


class Labeller:
    """Makes accesses for one judge.

    Args:
        sources: the policies, whose scopes label messages that no rule judges.
        secrets: values to label wherever they occur.
        masker: learns every secret and personal value.
    """

    def __init__(self, sources: tuple[Source, ...], secrets: tuple[str, ...], masker: Masker) -> None:
        self._sources = sources
        self._secrets = secrets
        self._masker = masker

    def secret(self, event: Event, leaves: Leaves) -> Touch | None:
        """The secrets in a message that give themselves away or are known, as one touch."""
        text = leaves.text
        found = builtin_secrets(text)
        if self._secrets:
            found = tuple(dict.fromkeys((*found, *(value for value in self._secrets if value in text))))
        if not found:
            return None
        reference = f"{event.server}.{event.tool or event.method or event.kind}"
        return Touch(BUILTIN_SECRET, "secret", reference, "detected", True, found)

    def labels(self, event: Event, leaves: Leaves, secret: Touch | None) -> tuple[Access, ...]:
        """Accesses of a message that no rule judges: only what gives itself away."""
        reference = f"{event.server}.{event.tool or event.method or event.kind}"
        touches = [t for source in self._sources for t in source.labels(leaves, reference, secret)]
        return self.labelled(touches, None)

    def of(self, rulings: Sequence[Ruling], *, blocked: bool) -> tuple[Access, ...]:
        """All sources' touches as accesses; of a blocked message only what is out, secret or personal."""
        found: list[Access] = []
        for ruling in rulings:
            accesses = self.labelled(ruling.touches, ruling.limit)
            if ruling.outside:
                accesses = tuple(_out(access) for access in accesses)
            found += [a for a in accesses if not blocked or _matters(a)]
        return tuple(_distinct(found))

    def labelled(self, touches: Sequence[Touch], limit: Rule | None) -> tuple[Access, ...]:
        """Touches as accesses, seen from a rule; what is secret or personal is masked from now on."""
        found = []
        for touch in touches:
            if touch.scope_class in ("secret", "pii"):
                self._masker.learn(touch.fields, touch.scope or touch.scope_class)
            status = status_of(touch, limit)
            found.append(Access(touch.scope, touch.scope_class, status, touch.data, touch.how, touch.fields))
        return tuple(_distinct(found))


def asks_for_data(event: Event) -> bool:
    return event.direction == "c2s" and event.kind in ("request", "invalid") and event.method in _ACCESSING


def reference(event: Event, subject: Subject | None) -> list[Access]:
    """The access of a request of which nobody can tell what data it touches; there is always one."""
    if subject is not None and subject.kind == "resource":
        return [Access(None, None, "unresolved", uri[:200], "uri") for uri in subject.names]
    name = subject.names[0] if subject is not None and subject.names else event.tool or "?"
    return [Access(None, None, "unresolved", f"{event.server}.{name}"[:200], "argument")]


def carried(event: Event, known: Sequence[Access]) -> list[Access]:
    """The resources that a result brings or points to and that no scope has labelled."""
    told = {access.data for access in known}
    found = [(how, uri[:200]) for how, uri in carried_uris(event.result)]
    return [Access(None, None, "unresolved", uri, how) for how, uri in dict.fromkeys(found) if uri not in told]


def _out(access: Access) -> Access:
    if access.scope is None:
        return access
    return Access(access.scope, access.scope_class, "out", access.data, access.how, access.fields)


def _matters(access: Access) -> bool:
    return access.status == "out" or access.scope_class in ("secret", "pii")


def _distinct(accesses: Sequence[Access]) -> list[Access]:
    """Without repetitions; fields may be unhashable, and `1 == True`, so compare by what is printed."""
    found: dict[str, Access] = {}
    for access in accesses:
        key = repr((access.scope, access.scope_class, access.status, access.data, access.how, access.fields))
        found.setdefault(key, access)
    return list(found.values())
