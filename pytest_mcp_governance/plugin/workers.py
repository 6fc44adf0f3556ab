"""The run as one pytest process sees it: at most one recorder, started at the first audited test, and its end.

Serially the recorder is `main`. Under pytest-xdist each worker's recorder writes a segment of its own; the
controller starts none, passes the run's place to the workers and at the end asks `main` to close the run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_mcp_governance.errors import ConfigurationError, GovernanceError
from pytest_mcp_governance.plugin import attempts, recorders
from pytest_mcp_governance.plugin.approved import Approved, find_default
from pytest_mcp_governance.plugin.attempts import Attempt
from pytest_mcp_governance.plugin.gate import Unaudited
from pytest_mcp_governance.plugin.gating import SHARED
from pytest_mcp_governance.plugin.options import Settings
from pytest_mcp_governance.plugin.properties import Properties, of_attempt
from pytest_mcp_governance.plugin.recorders import Place

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.audit import Audit
    from pytest_mcp_governance.plugin.failures import Judgement
    from pytest_mcp_governance.plugin.marker import Terms
    from pytest_mcp_governance.plugin.shards import Shard
    from pytest_mcp_governance.plugin.sources import PolicySource
    from pytest_mcp_governance.session.control import Recorder, RunResult

_NAMED = 3  # unaudited tests that a worker names to the controller


NO_POLICY = (
    "a gate was asked for (mcp_governance_gate), but there is no policy to judge by: write governance.policy.yaml at "
    "rootdir, name one with --mcp-governance-policy, or leave the gate out"
)


@dataclass(slots=True)
class Running:
    """The attempt that is being recorded, and what pytest has reported about it so far."""

    attempt: Attempt
    audit: Audit
    judgement: Judgement
    policy_sha256: str
    reports: list[pytest.TestReport] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Session:
    """The session's own attempt, where a suite has agents that outlive a test."""

    name: str
    audit: Audit
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class NotRun:
    """A selected test whose audit never began: skipped, or stopped by an error in its setup."""

    name: str
    nodeid: str
    outcome: str
    failure: str | None


class Recording:
    """What the hooks share about the run; one in each pytest process.

    `problems` are failures of the evidence itself, or of a setting; any of them fails the run.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self.collected: tuple[pytest.Item, ...] = ()
        self.selected: tuple[pytest.Item, ...] = ()
        self.running: Running | None = None
        self.session: Session | None = None
        self.problems: list[str] = []
        self.late_findings: list[str] = []
        self.policy_unreadable = False
        self.ending = False  # an interrupted test's fixtures are torn down when the session already ends
        self.result: RunResult | None = None
        self._config = config
        self._rootdir = config.rootpath
        self._place: Place | None = None
        self._recorder: Recorder | None = None
        self._start_error: GovernanceError | None = None
        self._names: dict[str, str] | None = None
        self._not_run: dict[str, NotRun] = {}
        self._attempts: Counter[str] = Counter()
        self._sessions = 0
        self._shard: Shard | None = None
        self._is_controller = False
        self._worker_recorded = False
        self._workers_unaudited: Unaudited | None = None

    @property
    def run(self) -> str:
        return self._where().run

    @property
    def is_worker(self) -> bool:
        return SHARED in getattr(self._config, "workerinput", {})

    # -- a test attempt ------------------------------------------------------------------------------------------

    def begin(self, item: pytest.Item, terms: Terms, servers: object, policy: object) -> Running:
        """Start to record an attempt at a test, and the recorder with the first one.

        Raises:
            GovernanceError: terms, policy or recorder cannot be used.
        """
        # Only where a test is recorded: an xdist controller gets by without.
        from pytest_mcp_governance.plugin.audit import Audit
        from pytest_mcp_governance.plugin.failures import Judgement
        from pytest_mcp_governance.plugin.sources import policy_sources, tighter_mode

        self.end()
        sources = policy_sources(policy, terms, self.settings, self._rootdir)
        if not sources and self.settings.gating.needs_policy:
            raise ConfigurationError(NO_POLICY)
        mode = tighter_mode(terms, self.settings, sources)
        recorder = self._started()
        nodeid = attempts.full_node_id(item)
        # Another worker may have run earlier attempts; pytest-rerunfailures counts them on the item.
        number = max(self._attempts[nodeid] + 1, int(getattr(item, "execution_count", 1)))
        attempt = Attempt(self._name_of(nodeid), nodeid, number)
        reply = recorder.start_test(
            name=attempt.name,
            nodeid=attempt.nodeid,
            attempt=attempt.number,
            agent=terms.agent,
            controls=terms.controls,
            policies=[{"name": s.name, "kind": s.kind, "text": s.text} for s in sources],
            mode=mode,
        )
        self._attempts[nodeid] += 1  # an attempt that could not begin is noted as one that did not run
        judgement = Judgement(recorder, _heading(sources, reply), self.settings.gating.gate)
        audit = Audit(recorder, judgement, agent=terms.agent, servers=servers, rootdir=self._rootdir)
        self.running = Running(attempt, audit, judgement, str(reply["policy_sha256"] or ""))
        return self.running

    def begin_session(self, servers: object, policy: object) -> Audit:
        """Start the attempt of the session's own, for what its agents do while no test runs.

        Raises:
            GovernanceError: policy or recorder cannot be used.
        """
        from pytest_mcp_governance.plugin.audit import Audit
        from pytest_mcp_governance.plugin.failures import Judgement
        from pytest_mcp_governance.plugin.marker import Terms
        from pytest_mcp_governance.plugin.sources import policy_sources, tighter_mode

        self.end_session()
        sources = policy_sources(policy, Terms(), self.settings, self._rootdir)
        if not sources and self.settings.gating.needs_policy:
            raise ConfigurationError(NO_POLICY)
        mode = tighter_mode(Terms(), self.settings, sources)
        recorder = self._started()
        self._sessions += 1
        name = f"mcp_audit_session@{self._where().segment}"  # every worker has one, and no two are the same attempt
        policies = [{"name": s.name, "kind": s.kind, "text": s.text} for s in sources]
        reply = recorder.start_session(name=name, attempt=self._sessions, policies=policies, mode=mode)
        judgement = Judgement(recorder, _heading(sources, reply), self.settings.gating.gate)
        audit = Audit(recorder, judgement, agent=None, servers=servers, rootdir=self._rootdir, session=True)
        self.session = Session(name, audit, judgement)
        return audit

    def end_session(self) -> None:
        """Judge and end the session's attempt, once; what it found fails the run and no test."""
        session, self.session = self.session, None
        if session is None or self._recorder is None:
            return
        with self.keeping_problems(f"{session.name} could not be ended in the evidence"):
            findings = self._recorder.conclude_session()
            for problem in session.audit.end():
                self.add_problem(problem)
            text = session.judgement.late(findings)
            late = self._recorder.end_session(outcome="failed" if text else "passed")
            self.late_findings += [f"{session.name}: {text}"] if text else []
            for name, finding in late:
                told = session.judgement.late([finding])
                self.late_findings += [f"{name}: {told}"] if told else []

    def check_policy(self) -> None:
        """After collection: a gate that was asked for needs a policy, from a setting, a mark or a fixture.

        Raises:
            pytest.UsageError: no selected test can have one. In xdist's workers each test says so instead, because
                an error there would only read as a crash.
        """
        if not self.settings.gating.needs_policy or self.is_worker or self._is_controller:
            return
        from pytest_mcp_governance.plugin.sources import default_policy

        found = default_policy(self.settings, self._rootdir) is not None or self.settings.gating.floor is not None
        if not found and not any(attempts.may_bring_a_policy(item) for item in self.selected):
            raise pytest.UsageError(f"mcp-governance: {NO_POLICY}")

    def note_not_run(self, item: pytest.Item, reports: Sequence[pytest.TestReport]) -> None:
        """Remember how a test ended whose audit never began, so that the evidence does not miss it."""
        nodeid = attempts.full_node_id(item)
        ended = attempts.outcome(reports), attempts.failure_text(reports)
        self._not_run[nodeid] = NotRun(self._name_of(nodeid), nodeid, *ended)

    def accounts_for(self, item: pytest.Item) -> bool:
        """Whether an attempt at this test was recorded here, or noted as one whose audit never began."""
        nodeid = attempts.full_node_id(item)
        return nodeid in self._attempts or nodeid in self._not_run

    def end(self, outcome: str | None = None) -> Properties:
        """Record how the running attempt ended, once; with no outcome, what its reports so far come to.

        Returns what the attempt says of itself in files of other tools.
        """
        running, self.running = self.running, None
        if running is None or self._recorder is None:
            return []
        with self.keeping_problems(f"{running.attempt.name} could not be ended in the evidence"):
            ended = self._recorder.end_test(
                outcome=outcome or attempts.outcome(running.reports),
                failure=attempts.failure_text(running.reports),
            )
            text = running.judgement.late(ended.findings)
            if text is not None:
                self.late_findings.append(f"{running.attempt.name}: {text}")
            place = self._where()
            return of_attempt(
                ended,
                run=place.run,
                segment=place.segment,
                attempt=running.attempt.number,
                policy=running.policy_sha256,
                agents=running.audit.agents,
            )
        return []

    def _name_of(self, nodeid: str) -> str:
        if self._names is None:
            self._names = attempts.test_names(self.collected)
        return self._names.get(nodeid, nodeid)

    @contextmanager
    def keeping_problems(self, what: str) -> Iterator[None]:
        """Our own failures never crash pytest: they fail the run instead."""
        try:
            yield
        except Exception as error:  # whatever it is, evidence that is not written must fail the run
            self.add_problem(f"{what}: {_told(error)}")

    @contextmanager
    def telling_mistakes(self) -> Iterator[None]:
        """A mistake of this plugin's own goes on as the test's error and fails the run too: xfail must not hide it."""
        try:
            yield
        except Exception as error:  # pytest's failures are no Exception
            self.add_problem(f"a test was not judged, by a mistake in pytest-mcp-governance: {_told(error)}")
            raise

    def add_problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    # -- the recorder --------------------------------------------------------------------------------------------

    def _started(self) -> Recorder:
        if self._start_error is not None:
            raise self._start_error
        if self._recorder is None:
            try:
                self._recorder = self._start()
                self._select(self._recorder)
            except GovernanceError as error:
                self._start_error = error
                raise
        return self._recorder

    def _start(self) -> Recorder:
        from pytest_mcp_governance.plugin.shards import read_shard

        self._shard = read_shard(self.settings.shard, self.settings.group, os.environ)
        return recorders.start(
            self.settings,
            self._where(),
            rootdir=self._rootdir,
            main=not self.is_worker,
            shard=self._shard,
            approved=self.approved,
        )

    @property
    def approved(self) -> Approved:
        """The approved run that this one is compared with; without a text where there is none."""
        found = self.settings.approved or find_default(self._rootdir) or Approved("")
        if found.problem:
            self.add_problem(found.problem)
        return found

    def _select(self, recorder: Recorder) -> None:
        chosen = attempts.selection(self.collected, self.selected)
        recorder.selection(
            selected=chosen.selected,
            unaudited=len(chosen.unaudited),
            deselected=chosen.deselected,
            collection=chosen.collection,
            require=self.settings.gating.require,
            shard=self._shard.fields() if self._shard is not None else None,
        )

    @property
    def unaudited(self) -> Unaudited | None:
        """The selected tests that ask for no audit, where that is not allowed; from workers where they collect."""
        if not self.settings.gating.require:
            return None
        if self._is_controller:
            return self._workers_unaudited
        chosen = attempts.selection(self.collected, self.selected)
        return Unaudited(len(chosen.unaudited), len(self.selected), chosen.unaudited[:_NAMED])

    def _where(self) -> Place:
        if self._place is None:
            worker = getattr(self._config, "workerinput", {})
            self._place = recorders.told_place(worker) if self.is_worker else recorders.new_place(self._rootdir)
        return self._place

    # -- pytest-xdist --------------------------------------------------------------------------------------------

    def tell_worker(self, workerinput: dict[str, object]) -> None:
        """Controller: pass the run's place to a worker that is about to start."""
        self._is_controller = True
        workerinput[SHARED] = {
            **self._where().for_workers(),
            "gating": self.settings.gating.for_workers(),
            "approved": self.settings.approved.for_workers() if self.settings.approved is not None else None,
        }

    def tell_controller(self) -> None:
        """Worker: hand over what only this process knows."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            unaudited = self.unaudited
            output[SHARED] = {
                "problems": list(self.problems),
                "late": list(self.late_findings),
                "policy_unreadable": self.policy_unreadable,
                "recorded": self._recorder is not None,
                "unaudited": [unaudited.count, unaudited.selected, list(unaudited.first)] if unaudited else None,
                "not_run": [[test.name, test.nodeid, test.outcome, test.failure] for test in self._never_begun()],
            }

    def hear_worker(self, name: str, output: Mapping[str, object] | None, error: object) -> None:
        """Controller: a worker has ended."""
        told = cast(Mapping[str, Any], (output or {}).get(SHARED, {}))
        for problem in told.get("problems", ()):
            self.add_problem(problem)
        self.late_findings += told.get("late", ())
        self.policy_unreadable |= bool(told.get("policy_unreadable"))
        self._worker_recorded |= bool(told.get("recorded"))
        if told.get("unaudited"):  # every worker collects the same tests
            count, selected, first = told["unaudited"]
            self._workers_unaudited = Unaudited(count, selected, tuple(first))
        for name, nodeid, outcome, failure in told.get("not_run", ()):
            self._not_run[nodeid] = NotRun(name, nodeid, outcome, failure)
        if error and self._where().run_dir.exists():
            self.add_problem(f"worker {name} ended before its tests did")

    # -- the end of the run --------------------------------------------------------------------------------------

    def open_for_shard(self) -> None:
        """Open the run though no audited test ran here: a shard without any must not look like one that is missing."""
        if self._recorder is not None or self._is_controller or (self.is_worker and self._where().run_dir.exists()):
            return
        with self.keeping_problems("this shard could not be recorded"):
            self._started()

    def finish(self, incomplete: str) -> None:
        """Close what this process opened; serially and in the controller that is the run.

        Args:
            incomplete: why not every selected test ran to its end; empty where all did.
        """
        self.end("error" if self.running is not None and not self.running.reports else None)
        self.end_session()
        if self.is_worker:
            if self._recorder is not None:
                with self.keeping_problems("this worker's evidence could not be closed"):
                    self._recorder.close_segment()
            self.tell_controller()
            return
        with self.keeping_problems("the evidence could not be closed"):
            recorder = self._main()
            if recorder is not None:
                with self.keeping_problems("tests that did not run could not be recorded"):
                    self._record_not_run(recorder)
                self.result = recorder.finish_run(complete=not incomplete, reason=incomplete)

    def _never_begun(self) -> list[NotRun]:
        return [test for nodeid, test in sorted(self._not_run.items()) if nodeid not in self._attempts]

    @property
    def never_passed(self) -> int:
        """Audited tests that failed, or whose call never came: no run in which pytest reports success has any.

        One whose setup raised under xfail before its audit began is one of them: what it did is not recorded.
        """
        recorded = self.result.tests if self.result is not None else {}
        begun = sum(recorded.get(outcome, 0) for outcome in ("failed", "error"))
        return begun or sum(test.outcome != "skipped" for test in self._never_begun())

    def _record_not_run(self, recorder: Recorder) -> None:
        for test in self._never_begun():
            recorder.not_run(name=test.name, nodeid=test.nodeid, outcome=test.outcome, failure=test.failure)

    def _main(self) -> Recorder | None:
        if not self._is_controller:
            return self._recorder
        run_dir = self._where().run_dir
        if not run_dir.exists() and not self._worker_recorded:  # no worker has run an audited test
            return None
        from pytest_mcp_governance.session.control import Recorder

        return Recorder.attach_main(run_dir)

    @property
    def has_evidence(self) -> bool:
        """Whether an audited test has run, here or in a worker."""
        return self._recorder is not None or (
            self._is_controller and (self._worker_recorded or self._where().run_dir.exists())
        )


def _heading(sources: Sequence[PolicySource], reply: Mapping[str, object]) -> str:
    if not sources:
        return "NOT JUDGED: no policy"
    names = " and ".join(source.name for source in sources)
    return f"policy {names} sha256:{str(reply['policy_sha256'])[:6]} ({reply['mode']})"


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, GovernanceError) else f"{type(error).__name__}: {error}"
