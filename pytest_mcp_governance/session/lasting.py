"""What a connection that outlives a test belongs to: the test that is running, else an attempt of the session's own.

An answer belongs where its request does, also when that test has ended. Routes by ref; judges nothing itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Set

from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.policy.engine import Decision, Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.known import Baseline
from pytest_mcp_governance.session.definitions import Definitions
from pytest_mcp_governance.session.trial import Call, Trial
from pytest_mcp_governance.session.turnstile import Turnstile

_RECENT = 1024  # messages that are being dealt with; each is dealt with before its connection's next
_WAITING = 10_000  # requests without an answer: a session of days must not keep every test that a lost one was made in


class SessionTrial(Trial):
    """The session's own attempt, which hands over to the test that is running.

    Args:
        segment: the ledger segment of this recorder.
        judge: the policy's state for what happens while no test runs.
        test: clear name of the session's attempt, and its number.
        running: gives the test that is running, None between tests.
        baseline: the findings that the suite knows of.
        turnstile: what every message goes through; the same for all attempts of a recorder.
        secrets: values that are shown nowhere.
        definitions: the tool definitions that this recorder has seen.
    """

    def __init__(
        self,
        segment: Segment,
        judge: Judge,
        test: tuple[str, int],
        running: Callable[[], Trial | None],
        baseline: Baseline | None = None,
        turnstile: Turnstile | None = None,
        *,
        secrets: Set[str] = frozenset(),
        definitions: Definitions | None = None,
    ) -> None:
        super().__init__(segment, judge, test, baseline, turnstile, secrets=secrets, definitions=definitions)
        self.late: list[tuple[str, dict[str, object]]] = []
        self._running = running
        self._asked: OrderedDict[str, Trial] = OrderedDict()  # by the ref of a request that waits for its answer
        self._recent: OrderedDict[str, Trial] = OrderedDict()

    def record(self, type_: str, fields: Mapping[str, object]) -> str:
        """Append a record to the attempt that it belongs to."""
        trial = self._home(fields.get("ref"))
        ref = self.record_own(type_, fields) if trial is self else trial.record(type_, fields)
        if type_ == "msg":
            self._note(ref, trial, fields)
        return ref

    def record_own(self, type_: str, fields: Mapping[str, object]) -> str:
        """Append a record to the session's own attempt, whatever test is running."""
        return super().record(type_, fields)

    def decide(self, event: Event, request: Event | None) -> Decision:
        """Judge a message by the policy of the attempt that it belongs to."""
        trial = self._home(event.ref)
        if trial is self:
            return super().decide(event, request)
        decision = trial.decide(event, request)
        if trial.ended:  # nobody will conclude it again: what this showed is recorded and told now
            known = list(trial.findings)
            self.late += [(trial.test[0], trial.told(found)) for found in trial.conclude() if found not in known]
        return decision

    def called(self, gateway: str, call: Call | None) -> None:
        """Note that something was asked through `gateway`, for the test and for the session whose gateway it is."""
        trial = self._home(call.ref if call is not None else None)
        if trial is not self:
            trial.called(gateway, call)
            call = None
        super().called(gateway, call)

    def _home(self, ref: object) -> Trial:
        known = self._asked.get(str(ref)) or self._recent.get(str(ref)) if ref is not None else None
        return known or self._running() or self

    def _note(self, ref: str, trial: Trial, fields: Mapping[str, object]) -> None:
        _keep(self._recent, ref, trial, _RECENT)
        if fields.get("kind") == "request" and fields.get("origin") == "received":
            _keep(self._asked, ref, trial, _WAITING)
        elif fields.get("kind") != "notification":  # an answer, by the other side or by the recorder
            self._asked.pop(str(fields.get("ref")), None)


def _keep(kept: OrderedDict[str, Trial], ref: str, trial: Trial, most: int) -> None:
    kept[ref] = trial
    if len(kept) > most:
        kept.popitem(last=False)
