"""The hooks of a run: when an attempt is judged and ended, when the run is closed, and what the exit status becomes.

Each hook reads, calls a plain function and keeps the result; rules, keys and records are other packages'. What
records is loaded when the first test asks for it: a run without audited tests loads none of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_mcp_governance.errors import GovernanceError, PolicyError

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.marker import Terms
    from pytest_mcp_governance.plugin.options import Settings
    from pytest_mcp_governance.plugin.workers import Recording, Running

MARKER = "mcp_governance"
MARKER_LINE = (
    f"{MARKER}(policy=None, agent=None, controls=(), mode=None): terms of an audited test: a policy file beside "
    "the test's, the default agent, the controls it gives evidence for, and enforce or observe; a mark can "
    "only tighten."
)
AUDIT_FIXTURES = frozenset({"mcp_audit", "mcp_audit_session"})
LIFECYCLE: pytest.StashKey[Lifecycle] = pytest.StashKey()
RUNNING: pytest.StashKey[Running] = pytest.StashKey()
_REPORTS: pytest.StashKey[list[pytest.TestReport]] = pytest.StashKey()
_TERMS: pytest.StashKey[Terms] = pytest.StashKey()


class Lifecycle:
    """The hooks, bound to one process's recording."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._recording: Recording | None = None
        self._collected: tuple[pytest.Item, ...] = ()
        self._selected: tuple[pytest.Item, ...] = ()
        self._ended_collection = False
        self._finished: set[str] = set()
        self._failing: tuple[str, ...] = ()
        self._summarised = False
        self._looped = False  # tests were to run, not only to be listed

    @property
    def tested(self) -> bool:
        """Whether any test came to its end."""
        return bool(self._finished)

    @property
    def recording(self) -> Recording:
        """What this process records; made, and its code loaded, when something has to be recorded or told."""
        if self._recording is None:
            from pytest_mcp_governance.plugin.workers import Recording

            self._recording = Recording(self._config, self.settings)
            self._recording.collected, self._recording.selected = self._collected, self._selected
        return self._recording

    # -- collection ------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        self._collected = tuple(items)  # a wrapper, so that no plugin has deselected anything yet
        for item in items:
            _audit_each_test_of_a_session(item)
        return (yield)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._selected = tuple(session.items)
        self._ended_collection = True
        recording = self.recording if self.settings.gating.watches_collection else self._recording
        if recording is not None:
            recording.collected, recording.selected = self._collected, self._selected
            if not session.testsfailed:  # what could not be collected comes first, and may be what gives a policy
                recording.check_policy()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        self._looped = not self._config.getoption("collectonly")

    # -- one test --------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker(MARKER) is not None:
            from pytest_mcp_governance.plugin.marker import read_terms

            try:
                item.stash[_TERMS] = read_terms(item)
            except GovernanceError as error:
                fail_for_error(self.recording, error)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            result = yield
        except (Exception, SystemExit, pytest.fail.Exception, pytest.skip.Exception) as raised:
            self._judge(item, raised)
            raise
        self._judge(item, None)
        return result

    def _judge(self, item: pytest.Item, raised: BaseException | None) -> None:
        running = item.stash.get(RUNNING, None)
        if running is None:
            return
        with self.recording.telling_mistakes():
            try:
                running.judgement.after_call(raised)
            except GovernanceError as error:
                if raised is None:
                    fail_for_error(self.recording, error)
                self.recording.add_problem(str(error))
                raised.add_note(str(error))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        raised = call.excinfo.value if call.excinfo is not None else None
        ours = raised if isinstance(raised, GovernanceError | pytest.fail.Exception) else None
        if ours is not None:
            from pytest_mcp_governance.plugin.failures import end_at_the_users_line, lead_with_the_finding

            if not self._config.getoption("fulltrace", False):
                end_at_the_users_line(ours)
        report = yield
        if ours is not None:
            lead_with_the_finding(report, ours)
        if report.when == "setup":
            item.stash[_REPORTS] = []
        reports = item.stash.setdefault(_REPORTS, [])
        reports.append(report)
        running = item.stash.get(RUNNING, None)
        if running is not None:
            running.reports = reports
            with self.recording.keeping_problems("what went wrong with the servers of a test could not be told"):
                failures = running.audit.server_failures()
                if report.failed and failures:
                    report.sections.append(("MCP servers", "\n".join(failures)))
            if report.when == "teardown":
                del item.stash[RUNNING]
        elif report.when == "teardown" and is_audited(item):
            self.recording.note_not_run(item, reports)
            if any(seen.when == "call" for seen in reports):
                self.recording.add_problem(
                    f"{item.nodeid} was not audited: the suite puts a fixture of its own in the place of mcp_audit"
                )
        return report

    @pytest.hookimpl(tryfirst=True)  # before whoever writes the report's properties into a file, or sends them
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in ("setup", "call"):  # teardown, or "???" of a test that took its worker down
            self._finished.add(report.nodeid)
        running = self._recording.running if self._recording is not None else None
        if running is None or not any(seen.when == "teardown" for seen in running.reports):
            return
        # Only here pytest-rerunfailures has said that a failure was not the last word.
        if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # its outcome, unknown to pytest
            self.recording.end("rerun")
        elif report.when == "teardown":
            report.user_properties = [*report.user_properties, *self.recording.end()]

    # -- pytest-xdist ----------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self.recording.tell_worker(node.workerinput)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        with self.recording.keeping_problems("a worker's end could not be read"):
            self.recording.hear_worker(node.gateway.id, getattr(node, "workeroutput", None), error)

    # -- the run ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        recording = self._recording
        if recording is not None:
            recording.ending = True
            if recording.has_evidence and not recording.is_worker:
                from pytest_mcp_governance.plugin.properties import name_the_run

                name_the_run(self._config, recording.run)
        try:
            return (yield)
        finally:  # another hook may raise, pytest.exit("…", returncode=0) among others: the run ends all the same
            # What pytest could not collect is no empty shard: it stays a missing one.
            broken = session.exitstatus in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR)
            if not broken and self._is_shard():
                self.recording.open_for_shard()
            if self._recording is not None or self._missed(session) or self._unrecorded():
                self._finish(session, self.recording)

    def _missed(self, session: pytest.Session) -> bool:
        """Whether audited tests were selected and pytest reports success, although not one of them ended."""
        if session.exitstatus != pytest.ExitCode.OK or not self._looped:
            return False
        return len(self._finished) < session.testscollected and any(map(is_audited, self._selected))

    def _unrecorded(self) -> list[str]:
        """Audited tests that ended, and of which nothing was recorded here: they ran in another process, or nowhere."""
        ended = [item for item in self._selected if item.nodeid in self._finished and is_audited(item)]
        if self._recording is None:
            return [item.nodeid for item in ended]
        return [item.nodeid for item in ended if not self._recording.accounts_for(item)]

    def gated(self, status: int | None) -> int | None:
        """The exit status to end with, whatever others made of it after the run was judged; says why if nobody did."""
        if status is None or not self._failing:
            return status
        from pytest_mcp_governance.plugin import gate
        from pytest_mcp_governance.plugin.terminal import printable

        if not self._summarised:  # no terminal plugin, --no-summary, or an error in another hook
            for reason in self._failing:
                print(printable(f"mcp-governance: run fails: {reason}"), file=sys.stderr)
        return gate.exit_status(status, self._failing)

    def _is_shard(self) -> bool:
        """Whether this run is to be accounted for as a shard even where no audited test ran in it.

        By its option always; by the CI's own numbers where there are audited tests, of which other shards ran some.
        """
        if not self._ended_collection or self._config.getoption("collectonly"):
            return False
        if self.settings.shard is not None:
            return True
        if not any(map(is_audited, self._collected)):
            return False
        from pytest_mcp_governance.plugin.shards import read_shard

        return read_shard(None, None, os.environ) is not None

    def _finish(self, session: pytest.Session, recording: Recording) -> None:
        from pytest_mcp_governance.plugin import gate

        why = gate.incomplete(session, len(self._finished))
        concerned = recording.has_evidence or (self._looped and any(map(is_audited, self._selected)))
        if why and session.exitstatus == pytest.ExitCode.OK and concerned and not recording.is_worker:
            recording.add_problem(f"pytest reports success, but {why}")
        unrecorded = self._unrecorded()
        if unrecorded:
            more = f" and {len(unrecorded) - 1} more" if len(unrecorded) > 1 else ""
            recording.add_problem(
                f"pytest tells how {unrecorded[0]}{more} ended, but nothing of it was recorded in this process: a "
                "plugin such as pytest-forked runs tests in processes of their own; leave it out for audited tests"
            )
        recording.finish(why)
        if not recording.is_worker:
            gating = recording.settings.gating
            unpassed = recording.never_passed if gating.bound and session.exitstatus == pytest.ExitCode.OK else 0
            if unpassed:
                recording.add_problem(f"pytest reports success, but {unpassed} audited tests did not pass")
            self._failing = gate.reasons(
                recording.result, recording.problems, recording.late_findings, gating.gate, recording.unaudited
            )
            session.exitstatus = gate.exit_status(session.exitstatus, self._failing)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        recording = self._recording
        if recording is None or recording.is_worker or (recording.result is None and not self._failing):
            return
        from pytest_mcp_governance.plugin import github, terminal
        from pytest_mcp_governance.plugin.options import DEFAULT_POLICY
        from pytest_mcp_governance.plugin.rootdir import hidden

        self._summarised = True
        terminalreporter.section("mcp governance")
        started = self._config.invocation_params.dir
        for line in terminal.summary(
            recording.result,
            self._failing,
            recording.late_findings,
            started,
            policy_unreadable=recording.policy_unreadable,
            which=recording.settings.gating.gate,
            no_policy=hidden(DEFAULT_POLICY, self._config.rootpath, started) or terminal.NO_POLICY,
        ):
            terminalreporter.write_line(line)
        if (
            recording.result is not None
            and recording.result.tests
            and github.is_asked_for(self.settings.github, os.environ)
        ):
            for line in github.tell(
                recording.result, self._failing, self._config.rootpath, os.environ, recording.approved
            ):
                terminalreporter.write_line(line)


def _audit_each_test_of_a_session(item: pytest.Item) -> None:
    """A test with an agent that outlives it is an attempt of its own all the same: its policy judges what happens."""
    names = getattr(item, "fixturenames", None)
    if isinstance(names, list) and "mcp_audit_session" in names and "mcp_audit" not in names:
        names.insert(names.index("mcp_audit_session") + 1, "mcp_audit")


def is_audited(item: pytest.Item) -> bool:
    """Whether a test asks for an audit, itself or through a fixture."""
    return not AUDIT_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def terms_of(item: pytest.Item) -> Terms:
    """The terms that the test's marks set, read before its fixtures were."""
    from pytest_mcp_governance.plugin.marker import Terms

    return item.stash.get(_TERMS, None) or Terms()


def fail_for_error(recording: Recording, error: GovernanceError) -> NoReturn:
    """Fail the test with the error's text alone, and the run as well: xfail must not hide a missing audit."""
    recording.add_problem(str(error))
    recording.policy_unreadable |= isinstance(error, PolicyError)
    raise pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False) from None
