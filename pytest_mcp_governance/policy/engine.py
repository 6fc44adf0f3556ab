"""The judge of one test: decides on every message before it is forwarded, and says what stands at the end.

Order: malformed, agent, then every source (deny, allow, arguments, data scope); all sources must allow. Any
exception is a denial. It records nothing and forwards nothing; flows, sequences, budgets, approvals and pins are
not in this version, and the loader refuses policies that ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

from pytest_mcp_governance.policy.accesses import Labeller, asks_for_data, carried, reference
from pytest_mcp_governance.policy.data import Leaves, Touch, collect
from pytest_mcp_governance.policy.detectors import TooMuch
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.later import brought, call_behind
from pytest_mcp_governance.policy.masking import Masker
from pytest_mcp_governance.policy.model import Policy
from pytest_mcp_governance.policy.places import Paths, Resolver
from pytest_mcp_governance.policy.ruling import Permit, Ruling, Source
from pytest_mcp_governance.policy.standing import Account, failure_detail
from pytest_mcp_governance.policy.subjects import Shapeless, Subject, subject_of
from pytest_mcp_governance.policy.verdicts import (
    BLIND,
    DEFAULT_DENY,
    ERROR,
    MALFORMED,
    NOT_JUDGED,
    PROTOCOL,
    TOO_LONG,
    UNKNOWN_AGENT,
    Access,
    Decision,
    Effect,
    Finding,
    Mode,
    seen_line,
)

__all__ = ["Access", "Decision", "Finding", "Judge", "Mode", "Resolver"]

_MIN_SECRET = 6  # shorter environment values occur by chance
_CACHE_SIZE = 4096
_MAX_REASON = 500
_MOST_LEARNED = 4096
_MOST_BLOCKED = 65_536
_JUDGED_KINDS = ("tool", "resource", "prompt")
_ASKED_KINDS = ("sampling", "elicitation", "roots")


class Judge:
    """Decides for one test attempt.

    Args:
        policies: the sources; every one of them must allow. None at all: nothing is judged or blocked.
        mode: tightens the sources' own mode, never relaxes it.
        resolver: resolves symlinks; called only for paths that a policy limits.
        known_secrets: values to label as `builtin.secret` wherever they occur; under 6 characters unused.
        today: the day, in UTC, by which waivers hold; None: no waiver holds.
        keeps: keep calls and refusals for assertions and the end; without it `recorded` gives each finding at once,
            and memory does not grow with the number of messages.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        mode: Mode | None,
        resolver: Resolver,
        known_secrets: Sequence[str] = (),
        today: date | None = None,
        keeps: bool = True,
    ) -> None:
        self._sources = tuple(Source(policy, today) for policy in policies)
        self._mode: Mode | None = None
        if policies:
            stated = {mode, *(policy.mode for policy in policies)}
            self._mode = "enforce" if "enforce" in stated else "observe"
        secrets = tuple(dict.fromkeys(s for s in known_secrets if isinstance(s, str) and len(s) >= _MIN_SECRET))
        self._paths = Paths(resolver)
        self._masker = Masker(secrets, most=None if keeps else _MOST_LEARNED)
        self._labeller = Labeller(self._sources, secrets, self._masker)
        self._account = Account(
            mode=self._mode,
            rules=[rule.id for policy in policies for rule in policy.rules],
            masker=self._masker,
            paths=self._paths,
            keeps=keeps,
        )
        self._permits: dict[str, tuple[Permit, ...]] = {}
        self._blocked: dict[str, None] = {}
        self._plain: dict[tuple[str, str, str], Decision] = {}

    @property
    def judged(self) -> bool:
        """Whether there is any policy."""
        return bool(self._sources)

    @property
    def mode(self) -> Literal["enforce", "observe", "none"]:
        """The strictest mode that any source or the caller states."""
        return self._mode or "none"

    @property
    def sources(self) -> tuple[Policy, ...]:
        """The policies, in the order given."""
        return tuple(source.policy for source in self._sources)

    def decide(self, event: Event, request: Event | None = None) -> Decision:
        """Decide on a message; never raises.

        Args:
            event: the message.
            request: the request that a result or error answers, None where nothing asked for it.
        """
        if TOO_LONG in event.problems:
            # Nobody has read it, so that no mode and no missing policy lets it through.
            refused = Decision(
                "deny", MALFORMED, TOO_LONG, "the message is longer than the limit", "replace" if request else "block"
            )
            self._account.note(event, refused, None)
            return refused
        subject: Subject | None = None
        self._paths.begin()
        try:
            if not event.problems and event.kind != "invalid":
                subject = self._subject(event, request)
            decision = self._decide(event, request, subject)
        except Exception as error:  # nobody can say that what we failed to judge is allowed
            decision = self._failed(event, error)
        decision = self._completed(event, request, subject, decision)
        if request is not None:
            self._permits.pop(request.ref, None)  # also where its answer was refused before it came to that
        if event.kind == "request" or decision.verdict != "allow" or not event.agent or decision.clause in BLIND:
            self._account.note(event, decision, subject)
        return decision

    def masked(self, text: str) -> str:
        """`text` with every secret or personal value in it replaced by what it is, in brackets."""
        return self._masker.text(text)

    def recorded(self, event: Event, decision: Decision, ref: str) -> Finding | None:
        """The decision on `event` was recorded as `ref`; findings will refer to it.

        Returns:
            Its finding, where the judge keeps nothing until the end.
        """
        if decision.verdict != "allow" or decision.clause in BLIND:
            return self._account.recorded(event, ref)
        return None

    def expect_denied(self, rule: str | None) -> int:
        """From now on a denial, by this rule or any, is expected; returns the token that ends it."""
        return self._account.expect(rule)

    def end_expectation(self, token: int) -> tuple[Finding, ...]:
        """End an expectation: empty where such a denial happened, else the finding that it is missing."""
        return self._account.end_expectation(token)

    def require(self, requirement: Mapping[str, object]) -> tuple[Finding, ...]:
        """Register an inline assertion; returns what breaks it so far. It is judged again at the end.

        Raises:
            PolicyError: a requirement that cannot be read.
        """
        return self._account.require(requirement)

    def gateway_opened(self, gid: str, idle_ok: bool, *, label: str = "") -> None:
        """A gateway or connection was opened; without a call it becomes a finding unless `idle_ok`.

        Args:
            label: whose it is and where it leads, for that finding: "agent clerk-1 to books, files".
        """
        self._account.gateway_opened(gid, idle_ok, label)

    def gateway_call(self, gid: str) -> None:
        """A call came through it."""
        self._account.gateway_call(gid)

    def stranger(self, ref: str) -> None:
        """A connection without an agent's token was refused, as `ref` records."""
        self._account.stranger(ref)

    def tool_changed(self, event: Event, tool: str, members: Sequence[str], reached: bool) -> None:
        """A listing defines `tool` otherwise than before in this run: in which members, and was it passed on."""
        self._account.tool_changed(event, tool, members, reached)

    def standing(self) -> tuple[Finding, ...]:
        """The findings as they stand now."""
        return self._account.findings(final=False)

    def conclude(self) -> tuple[Finding, ...]:
        """The final findings, expected ones marked, missing ones added."""
        return self._account.findings(final=True)

    def _subject(self, event: Event, request: Event | None) -> Subject | None:
        try:
            return subject_of(event, request)
        except Shapeless:
            if self._sources:
                raise
            return None  # without a policy nobody minds its shape

    def _completed(self, event: Event, request: Event | None, subject: Subject | None, decision: Decision) -> Decision:
        """Add what holds however a message was judged."""
        if decision.effect != "forward":
            if request is None:
                self._block(event.ref)
            elif event.kind == "invalid":
                return replace(decision, effect="replace")
        elif asks_for_data(event) and not any(access.how != "detected" for access in decision.accesses):
            return replace(decision, accesses=(*decision.accesses, *reference(event, subject)))
        elif subject is not None and subject.kind in _JUDGED_KINDS and event.kind in ("result", "notification"):
            named = [access for access in carried(brought(event, request), decision.accesses)
                     if access.data not in (name[:200] for name in subject.names)]  # fmt: skip
            return replace(decision, accesses=(*decision.accesses, *named)) if named else decision
        return decision

    def _block(self, ref: str) -> None:
        self._permits.pop(ref, None)
        self._blocked[ref] = None
        if len(self._blocked) > _MOST_BLOCKED:
            # An answer to one so old is refused all the same: its request is judged anew, by the same sources.
            del self._blocked[next(iter(self._blocked))]

    def _decide(self, event: Event, request: Event | None, subject: Subject | None) -> Decision:
        leaves = collect(_payload(event))
        secret = self._labeller.secret(event, leaves)
        if not self._sources:
            return self._not_judged(secret)
        if subject is None:
            reason = f"the message is malformed: {', '.join(event.problems) or event.kind}"
            return self._refuse(
                event, Ruling(False, MALFORMED, "strict-parse", reason), self._labeller.labels(event, leaves, secret)
            )
        if request is not None and request.ref in self._blocked:
            reason = "an answer to a request that was never forwarded"
            return self._refuse(
                event, Ruling(False, PROTOCOL, "unsolicited", reason), self._labeller.labels(event, leaves, secret)
            )
        if event.kind == "request" and subject.kind == "tool" and secret is None and not subject.asks and event.agent:
            plain = self._plain_decision(event, subject, event.agent)
            if plain:
                return plain
        inner = [(part, source.asked(part, self._paths)) for part in subject.asks for source in self._sources]
        refused = [ruling for part, ruling in inner if ruling.allows is False or part.kind not in _ASKED_KINDS]
        if refused:
            unknown = Ruling(False, DEFAULT_DENY, "input", "it asks for input that no policy allows")
            named = next((ruling for ruling in refused if ruling.allows is False), unknown)
            return self._refuse(event, named, self._labeller.labels(event, leaves, secret))
        if subject.kind in _JUDGED_KINDS:
            if not event.agent and event.kind == "request":
                reason = "the connection carries no agent's token"
                ruling = Ruling(False, UNKNOWN_AGENT, "agent", reason)
                return self._refuse(event, ruling, self._labeller.labels(event, leaves, secret))
            judge = self._judge_request if event.kind == "request" else self._judge_answer
            return judge(event, request, subject, leaves, secret)
        if subject.kind == "task" and not event.agent:
            ruling = Ruling(False, UNKNOWN_AGENT, "agent", "the connection carries no agent's token")
            return self._refuse(event, ruling, self._labeller.labels(event, leaves, secret))
        return self._protocol(event, subject, self._labeller.labels(event, leaves, secret))

    def _plain_decision(self, event: Event, subject: Subject, agent: str) -> Decision | None:
        """The one answer to a call whose arguments cannot change it."""
        key = (event.server, subject.names[0], agent)
        known = self._plain.get(key)
        if known is None:
            rules = [source.is_plain("tool", *key) for source in self._sources]
            if not all(rules):
                return None
            rule = rules[0]
            assert rule is not None
            access = Access(None, None, "unresolved", f"{key[0]}.{key[1]}", "argument")
            if len(self._plain) >= _CACHE_SIZE:
                self._plain.clear()
            known = self._plain[key] = Decision(
                "allow", rule.id, "allow", accesses=(access,), source=rule.source, controls=rule.controls
            )
        return known

    def _judge_request(
        self, event: Event, request: Event | None, subject: Subject, leaves: Leaves, secret: Touch | None
    ) -> Decision:
        rulings = [source.request(subject, event, leaves, self._paths, secret) for source in self._sources]
        self._permits[event.ref] = tuple(Permit.by(ruling) for ruling in rulings)
        return self._join(event, rulings)

    def _judge_answer(
        self, event: Event, request: Event | None, subject: Subject, leaves: Leaves, secret: Touch | None
    ) -> Decision:
        call = event.origin if request is None else call_behind(request)
        assert call is not None  # subject_of calls an answer to nothing unsolicited, and a task of nothing unknown
        permits = self._permits.pop(call.ref, None)
        if permits is None:  # plain, made before this judge, or answered before with a task
            asked = collect(_payload(call))
            made = [source.request(subject, call, asked, self._paths, None) for source in self._sources]
            permits = tuple(Permit.by(ruling) for ruling in made)
        result = brought(event, request)
        rulings = [
            source.answer(subject, result, leaves, self._paths, secret, permit)
            for source, permit in zip(self._sources, permits, strict=True)
        ]
        refused = _primary(rulings)
        if refused:
            return self._refuse(event, refused, self._labeller.of(rulings, blocked=self._mode == "enforce"))
        by = next((ruling for ruling in rulings if ruling.allows), Ruling(True, PROTOCOL, "result"))
        return self._allow(by, self._labeller.of(rulings, blocked=False))

    def _join(self, event: Event, rulings: list[Ruling]) -> Decision:
        refused = _primary(rulings)
        allowed = next((ruling for ruling in rulings if ruling.allows), None)
        if refused is None and allowed is None:
            refused = Ruling(False, DEFAULT_DENY, "no-rule", "constraint sources only limit; no source allows anything")
        if refused is None and allowed is not None:
            waived = dict.fromkeys(waiver for ruling in rulings for waiver in ruling.waived_by)
            if waived:
                allowed = replace(allowed, clause=f"waiver.{'+'.join(waived)}")
            return self._allow(allowed, self._labeller.of(rulings, blocked=False))
        assert refused is not None
        return self._refuse(event, refused, self._labeller.of(rulings, blocked=self._mode == "enforce"))

    def _protocol(self, event: Event, subject: Subject, accesses: tuple[Access, ...]) -> Decision:
        if subject.kind in _ASKED_KINDS and not (subject.kind == "roots" and event.kind == "request"):
            rulings = [source.asked(subject, self._paths) for source in self._sources]
            refused = _primary(rulings)
            if refused is None and not any(ruling.allows for ruling in rulings):
                refused = Ruling(False, DEFAULT_DENY, subject.kind, f"no source allows {subject.kind}")
            if refused:
                return self._refuse(event, refused, accesses)
            return self._allow(next(ruling for ruling in rulings if ruling.allows), accesses)
        answers = event.kind in ("result", "error")  # to a request that was flagged; once is enough
        if subject.kind == "unknown" and not answers:
            ruling = Ruling(False, DEFAULT_DENY, "unknown-method", "the policy does not know this method")
            return self._refuse(event, ruling, accesses)
        if subject.kind == "unknown-task" and not answers:
            reason = "no call that this agent made in this test has made the task"
            return self._refuse(event, Ruling(False, DEFAULT_DENY, "unknown-task", reason), accesses)
        if subject.kind == "unsolicited":
            ruling = Ruling(False, PROTOCOL, "unsolicited", "an answer that nothing asked for")
            return self._refuse(event, ruling, accesses)
        return self._allow(Ruling(True, PROTOCOL, "task" if subject.kind == "task" else "lifecycle"), accesses)

    def _allow(self, ruling: Ruling, accesses: tuple[Access, ...]) -> Decision:
        return Decision(
            "allow", ruling.rule, ruling.clause, accesses=accesses, source=ruling.source,
            resolved=dict(self._paths.resolved), controls=ruling.controls,
        )  # fmt: skip

    def _refuse(self, event: Event, ruling: Ruling, accesses: tuple[Access, ...]) -> Decision:
        detail = self._detail(event, ruling)
        reason = (
            seen_line(detail) if detail and "argument" in detail else self._masker.text(ruling.reason)[:_MAX_REASON]
        )
        enforced = self._mode == "enforce"
        return Decision(
            "deny" if enforced else "observe", ruling.rule, ruling.clause, reason,
            _effect(event, ruling) if enforced else "forward", accesses, ruling.source, dict(self._paths.resolved),
            ruling.controls, detail,
        )  # fmt: skip

    def _detail(self, event: Event, ruling: Ruling) -> dict[str, str] | None:
        detail: dict[str, str] = {}
        if ruling.failure:
            detail = failure_detail(ruling.failure, event.ref, self._masker)
        elif ruling.nearest:
            detail = {"nearest": ruling.nearest, "call_ref": event.ref}
        if ruling.hint:
            detail |= {"waiver": ruling.hint, "call_ref": event.ref}
        return detail or None

    def _failed(self, event: Event, error: Exception) -> Decision:
        reason = f"error while deciding: {type(error).__name__}"  # the text may hold what the message held
        if not self._sources:
            return Decision(
                "allow", NOT_JUDGED, "detector-size" if isinstance(error, TooMuch) else "detector-error", reason
            )
        clause = "shape" if isinstance(error, Shapeless) else "size" if isinstance(error, TooMuch) else "exception"
        if clause != "exception":
            reason = f"the message cannot be judged: {error}"
        ruling = Ruling(False, ERROR, clause, reason)
        try:
            return self._refuse(event, ruling, ())
        except Exception:
            effect: Effect = _effect(event, ruling) if self._mode == "enforce" else "forward"
            return Decision("deny" if self._mode == "enforce" else "observe", ERROR, clause, reason, effect)

    def _not_judged(self, secret: Touch | None) -> Decision:
        return Decision(
            "allow", NOT_JUDGED, "no-policy", accesses=self._labeller.labelled([secret] if secret else [], None)
        )


def _primary(rulings: Sequence[Ruling]) -> Ruling | None:
    """The refusal to name: a rule that was written down before the default."""
    refused = [ruling for ruling in rulings if ruling.allows is False]
    named = [ruling for ruling in refused if ruling.rule != DEFAULT_DENY]
    return next(iter(named or refused), None)


def _payload(event: Event) -> object:
    held = [part for part in (event.params, event.result, event.error) if part is not None]
    return held[0] if len(held) == 1 else held


def _effect(event: Event, ruling: Ruling) -> Effect:
    return "replace" if event.kind in ("result", "error") and ruling.clause != "unsolicited" else "block"
