"""One source's answer to one message: deny, then allow with arguments, then data scope.

Sources do not know of each other here; `engine` joins their rulings, every one of which must allow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pytest_mcp_governance.policy.arguments import Failure, first_failure
from pytest_mcp_governance.policy.data import (
    Leaves,
    ScopeMap,
    Touch,
    carried_uris,
    collect,
    leaf_values,
    outside,
    result_documents,
)
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.model import Policy, Rule
from pytest_mcp_governance.policy.places import Paths, file_path, plain_uri
from pytest_mcp_governance.policy.subjects import Subject
from pytest_mcp_governance.policy.verdicts import DEFAULT_DENY, PROTOCOL, Status
from pytest_mcp_governance.policy.waivers import Asked, Waivers

_CACHE_SIZE = 4096
_NEAREST = 3
_REFUSED_REQUEST = "refused-request"  # its answer, which only observing lets through


@dataclass(frozen=True, slots=True)
class Ruling:
    """A source's answer; `allows` None means it has nothing to say (a constraint that does not apply).

    `waived_by` are the waivers without which it would refuse; `hint` says of a refusal why no waiver helps.
    """

    allows: bool | None
    rule: str = ""
    clause: str = ""
    reason: str = ""
    source: str = ""
    controls: tuple[str, ...] = ()
    failure: Failure | None = field(default=None, repr=False)
    nearest: str = ""
    limit: Rule | None = None
    passing: tuple[Rule, ...] = ()
    resolved: bool = False
    touches: tuple[Touch, ...] = field(default=(), repr=False)
    waived_by: tuple[str, ...] = ()
    hint: str = ""

    @property
    def outside(self) -> bool:
        """Whether no rule permits what was touched, whatever its scope."""
        return self.clause == _REFUSED_REQUEST or (self.allows is False and not self.clause.startswith("data."))


@dataclass(frozen=True, slots=True)
class Candidates:
    """The rules of a source that speak about one (kind, server, name, agent)."""

    denies: tuple[Rule, ...]
    allows: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Permit:
    """What a request was allowed by, kept for its answer."""

    passing: tuple[Rule, ...]
    resolved: bool
    sensitive: tuple[Touch, ...] = field(default=(), repr=False)

    @classmethod
    def by(cls, ruling: Ruling) -> Permit:
        """What `ruling` allowed; a secret or personal place that it touched makes the whole answer such."""
        held = tuple(t for t in ruling.touches if t.scope_class in ("secret", "pii") and t.how in ("uri", "argument"))
        return cls(ruling.passing, ruling.resolved, held)


class Source:
    """One policy, indexed for deciding; `today` is the day by which its waivers hold."""

    def __init__(self, policy: Policy, today: date | None = None) -> None:
        self.policy = policy
        self._waivers = Waivers(policy.waivers, today)
        self.scopes = ScopeMap(policy.data)
        self._cache: dict[tuple[str, str, str, str], Candidates] = {}

    def candidates(self, kind: str, server: str, name: str, agent: str) -> Candidates:
        """The rules that concern this call, found once and remembered."""
        key = (kind, server, name, agent)
        known = self._cache.get(key)
        if known is None:
            if len(self._cache) >= _CACHE_SIZE:  # an agent that invents names must not fill the memory
                self._cache.clear()
            matching = [r for r in self.policy.rules if r.concerns(agent) and _names(r, kind, server, name)]
            denies = tuple(rule for rule in matching if rule.denies)
            known = self._cache[key] = Candidates(denies, tuple(rule for rule in matching if not rule.denies))
        return known

    def is_plain(self, kind: str, server: str, name: str, agent: str) -> Rule | None:
        """The rule that allows this call whatever its arguments are, where no data scope can matter."""
        found = self.candidates(kind, server, name, agent)
        if found.denies or not found.allows or self.scopes or self.policy.constraint:
            return None
        rule = found.allows[0]
        return rule if rule.args is None and rule.data is None else None

    def request(self, subject: Subject, event: Event, leaves: Leaves, paths: Paths, secret: Touch | None) -> Ruling:
        """Judge a request for tools, resources or prompts; each of its names must be allowed."""
        touches = self._request_touches(subject, event, leaves, paths, secret)
        ruling = Ruling(False, DEFAULT_DENY, "no-rule", "the request names nothing", touches=touches)
        waived: dict[str, None] = {}
        for name in subject.names:
            ruling = self._one(subject, name, event, paths, touches)
            if ruling.allows is False:
                return ruling
            waived |= dict.fromkeys(ruling.waived_by)
        return replace(ruling, waived_by=tuple(waived)) if len(subject.names) > 1 else ruling

    def answer(
        self,
        subject: Subject,
        event: Event,
        leaves: Leaves,
        paths: Paths,
        secret: Touch | None,
        request: Permit,
    ) -> Ruling:
        """Judge what a result carries by the rules that allowed its request."""
        touches = self._answer_touches(subject, event, leaves, paths, secret)
        if request.sensitive and event.kind == "result":
            carried = leaf_values(result_documents(event.result))
            touches += tuple(Touch(t.scope, t.scope_class, t.data, "result", True, carried) for t in request.sensitive)
        denied: Ruling | None = None
        for rule in request.passing:
            clause = "data.out" if any(_breaks(t, rule) for t in touches) else ""
            dark = rule.unresolved_denied and not request.resolved and not _resolved(touches)
            if not clause and dark and not _failed(event):
                clause = "data.unresolved"
            if not clause:
                return _by(rule, True, "result", "", touches)
            denied = denied or _by(rule, False, clause, _data_reason(touches, rule, clause), touches)
        clause = "" if self.policy.constraint else _REFUSED_REQUEST
        return denied or Ruling(None, clause=clause, touches=touches)

    def asked(self, subject: Subject, paths: Paths) -> Ruling:
        """Judge what a server asks of the agent's side, and the answer to it."""
        said = self.policy.protocol
        allowed = {"sampling": said.sampling, "elicitation": said.elicitation, "roots": said.roots}.get(subject.kind)
        if allowed is None and self.policy.constraint:
            return Ruling(None)
        if not allowed:
            reason = f"no source allows {subject.kind}"
            return Ruling(False, DEFAULT_DENY, subject.kind, reason, said.source)
        if subject.kind == "roots" and said.roots is not None:
            outside = [uri for uri in subject.names if not _in_roots(uri, said.roots, paths)]
            if outside:
                limit = "must be inside " + " or ".join(said.roots)
                failure = Failure("roots.max", "roots", outside[0], limit)
                return Ruling(False, PROTOCOL, "roots.max", "a root outside the limit", said.source, (), failure)
        return Ruling(True, PROTOCOL, subject.kind, "", said.source)

    def _one(self, subject: Subject, name: str, event: Event, paths: Paths, touches: tuple[Touch, ...]) -> Ruling:
        found = self.candidates(subject.kind, event.server, name, event.agent or "")
        asked = Asked(subject.kind, event.server, name, event.agent or "", subject.arguments)
        lifted: list[str] = []
        for rule in found.denies:
            waiver = self._waivers.lifting(rule, asked, paths)
            if waiver is None:
                hint = self._waivers.hint(rule, asked, paths)
                return replace(_by(rule, False, "deny", "the rule denies it", touches), hint=hint)
            lifted.append(waiver.id)
        if self.policy.constraint:
            return Ruling(None, touches=touches, waived_by=tuple(lifted))
        rulings = [self._by_rule(rule, asked, paths, touches) for rule in found.allows]
        passing = [ruling for ruling in rulings if ruling.allows]
        if passing:
            first = min(passing, key=lambda ruling: bool(ruling.waived_by))  # no waiver where none is needed
            rules = tuple(ruling.limit for ruling in passing if ruling.limit is not None)
            return replace(first, passing=rules, resolved=_resolved(touches), waived_by=(*lifted, *first.waived_by))
        # The refusal that came furthest tells the most.
        late = [ruling for ruling in rulings if ruling.clause.startswith("data.")]
        if rulings:
            return (late or rulings)[0]
        return self._default(subject, name, event, touches)

    def _by_rule(self, rule: Rule, asked: Asked, paths: Paths, touches: tuple[Touch, ...]) -> Ruling:
        """What one allowing rule says, with the waivers of its arguments."""
        waived: tuple[str, ...] = ()
        if rule.args is not None and asked.arguments is not None:
            failure = first_failure(rule.args, asked.arguments, paths)
            if failure:
                waiver = self._waivers.lifting(rule, asked, paths)
                if waiver is None:
                    refusal = _by(rule, False, failure.clause, "an argument is outside its limit", touches, failure)
                    return replace(refusal, hint=self._waivers.hint(rule, asked, paths))
                waived = (waiver.id,)
        clause = self._data_clause(rule, asked, touches)
        if clause:
            return _by(rule, False, clause, _data_reason(touches, rule, clause), touches)
        return replace(_by(rule, True, "allow", "", touches), waived_by=waived)

    def _data_clause(self, rule: Rule, asked: Asked, touches: tuple[Touch, ...]) -> str:
        """Which data limit of the rule the call does not meet."""
        if rule.data is None:
            return ""
        if any(status_of(touch, rule) == "out" for touch in touches):
            return "data.out"
        later = asked.kind == "tool" and self.scopes.declares_results(asked.server, asked.name)
        return "data.unresolved" if rule.unresolved_denied and not later and not _resolved(touches) else ""

    def _default(self, subject: Subject, name: str, event: Event, touches: tuple[Touch, ...]) -> Ruling:
        other = self._for_others(subject, name, event)
        if other:
            what = name if subject.kind == "resource" else f"{event.server}.{name}"
            agents = " and ".join(other.to_names)
            reason = f"rule {other.id} allows {what}, but only to {agents}; this agent is {event.agent}"
            return Ruling(False, DEFAULT_DENY, "no-rule", reason, other.source, touches=touches)
        nearest = self._nearest(subject.kind, f"{event.server}.{name}" if subject.kind != "resource" else name)
        reason = f"no rule allows this {subject.kind}" + (f": {name}" if subject.kind != "tool" else "")
        return Ruling(False, DEFAULT_DENY, "no-rule", reason, self.policy.name, nearest=nearest, touches=touches)

    def _for_others(self, subject: Subject, name: str, event: Event) -> Rule | None:
        """The first rule that would allow it, were the agent another."""
        rules = (rule for rule in self.policy.rules if not rule.denies and not rule.concerns(event.agent or ""))
        return next((rule for rule in rules if _names(rule, subject.kind, event.server, name)), None)

    def _nearest(self, kind: str, wanted: str) -> str:
        allowed = [text for rule in self.policy.rules if not rule.denies for text in _texts(rule, kind)]
        close = difflib.get_close_matches(wanted[:200], allowed, n=_NEAREST, cutoff=0.3)
        return ", ".join(close or allowed[:_NEAREST])

    def _request_touches(
        self, subject: Subject, event: Event, leaves: Leaves, paths: Paths, secret: Touch | None
    ) -> tuple[Touch, ...]:
        if not self.scopes:
            return (secret,) if secret else ()
        if subject.kind == "resource":
            found = self.scopes.places([("uri", uri) for uri in subject.names], paths, "uri")
        else:
            items = collect(subject.arguments).items if subject.kind == "tool" else ()
            found = self.scopes.places(items, paths, "argument")
        return self._labelled(found, leaves, _reference(subject, event), secret)

    def _answer_touches(
        self, subject: Subject, event: Event, leaves: Leaves, paths: Paths, secret: Touch | None
    ) -> tuple[Touch, ...]:
        if not self.scopes:
            return (secret,) if secret else ()
        if event.kind == "error":
            return self._labelled([], leaves, _reference(subject, event), secret)
        asked = set(subject.names)
        found: list[Touch] = []
        for how, uri in carried_uris(event.result):
            if uri not in asked:
                found += self.scopes.places([("uri", uri)], paths, how)
        if subject.kind == "tool":
            found += self.scopes.results(event.server, subject.names[0], event.result)
        return self._labelled(found, leaves, _reference(subject, event), secret)

    def labels(self, leaves: Leaves, reference: str, secret: Touch | None) -> tuple[Touch, ...]:
        """What gives itself away in any other message."""
        return self._labelled([], leaves, reference, secret)

    def _labelled(self, found: list[Touch], leaves: Leaves, reference: str, secret: Touch | None) -> tuple[Touch, ...]:
        detected = self.scopes.detected(leaves.text, reference, found)
        return (*found, *detected, *_unlabelled(secret, [*found, *detected]))


def status_of(touch: Touch, rule: Rule | None) -> Status:
    """Where a touch lies, seen from a rule; without a rule or limit every known scope is in."""
    limited = rule is not None and rule.data is not None
    if touch.scope is None:
        return "out" if limited and touch.located else "unresolved"
    # Untrusted says where a text came from, not which data it is.
    if not limited or touch.scope_class == "untrusted" or (rule and rule.data and touch.scope in rule.data):
        return "in"
    return "out"


def _breaks(touch: Touch, rule: Rule) -> bool:
    """Whether a touch is outside a rule's data limit; a link points to data and brings none."""
    return touch.how != "link" and status_of(touch, rule) == "out"


def _resolved(touches: Iterable[Touch]) -> bool:
    """Whether some scope is known and nothing is left in the dark."""
    placed = [touch for touch in touches if touch.how not in ("detected", "link")]
    return bool(placed) and all(touch.scope is not None for touch in placed)


def _failed(event: Event) -> bool:
    """Whether a result says that the tool failed: it carries a message, not the data asked for."""
    return event.kind == "error" or (isinstance(event.result, dict) and event.result.get("isError") is True)


def _unlabelled(secret: Touch | None, found: Sequence[Touch]) -> Sequence[Touch]:
    """The built-in secrets that no declared secret or pii scope covers already."""
    if secret is None:
        return ()
    covered = [str(value) for touch in found if touch.scope_class in ("secret", "pii") for value in touch.fields]
    left = outside([str(value) for value in secret.fields], covered)
    return (Touch(secret.scope, secret.scope_class, secret.data, secret.how, True, left),) if left else ()


def _by(
    rule: Rule,
    allows: bool,
    clause: str,
    reason: str,
    touches: tuple[Touch, ...],
    failure: Failure | None = None,
) -> Ruling:
    return Ruling(allows, rule.id, clause, reason, rule.source, rule.controls, failure, limit=rule, touches=touches)


def _data_reason(touches: Iterable[Touch], rule: Rule, clause: str) -> str:
    allowed = ", ".join(sorted(rule.data or ())) or "none"
    if clause == "data.unresolved":
        return f"nobody can tell which data it touches; the rule allows {allowed} only"
    outside = [_named(touch) for touch in touches if _breaks(touch, rule)]
    return f"it touches {', '.join(dict.fromkeys(outside))}; the rule allows {allowed}"


def _named(touch: Touch) -> str:
    scope = touch.scope or "data of no scope"
    return scope if touch.how == "detected" or touch.data.endswith("…") else f"{scope} ({touch.data})"


def _reference(subject: Subject, event: Event) -> str:
    name = subject.names[0] if subject.names else event.method or event.kind
    return name if subject.kind == "resource" else f"{event.server}.{name}"


def _names(rule: Rule, kind: str, server: str, name: str) -> bool:
    if kind == "tool":
        return any(pattern.matches(server, name) for pattern in rule.tools)
    if kind == "prompt":
        return any(pattern.matches(server, name) for pattern in rule.prompts)
    if kind == "resource":
        return plain_uri(name) and any(glob.matches(name) for glob in rule.resources)
    return False


def _texts(rule: Rule, kind: str) -> list[str]:
    texts: Mapping[str, list[str]] = {
        "tool": [pattern.text for pattern in rule.tools],
        "prompt": [pattern.text for pattern in rule.prompts],
        "resource": [glob.text for glob in rule.resources],
    }
    return texts.get(kind, [])


def _in_roots(uri: str, roots: Iterable[str], paths: Paths) -> bool:
    path = file_path(uri)
    for root in roots:
        root_path = file_path(root)
        if path is not None and root_path is not None and paths.inside(path, root_path):
            return True
        if path is None and plain_uri(uri) and (uri == root or uri.startswith(root.rstrip("/") + "/")):
            return True
    return False
