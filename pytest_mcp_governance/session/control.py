"""The pytest process's handle on its recorder: starts the process, calls it, says clearly when it is gone.

Blocking and thread-safe, standard library only, so that a test run pays nothing for it before the first audited test.
"""

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from pytest_mcp_governance.errors import RecorderError
from pytest_mcp_governance.session.rpc import BlockingLink, decode_reply, encode_call
from pytest_mcp_governance.session.settings import RecorderConfig
from pytest_mcp_governance.session.spawning import spawn

_CALL_TIMEOUT_S = 60.0
_FINISH_TIMEOUT_S = 600.0
LONG_S = 86_400.0  # runs of millions of messages take their time to close
FindingFields = dict[str, object]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run, for the gate and the terminal.

    `findings` is state -> {"enforce": n, "observe": n, "expected": n}; `unexpected` counts unexpected findings in
    enforce mode; `finding_lines` are the findings one by one: test, attempt, outcome, rule, clause, agent, server,
    tool, state, mode, expected, known; `problems` are failures of the evidence itself, `notes` are worth a line and
    fail nothing; `since` is what changed since the approved run, a few lines.
    """

    run: str
    run_dir: Path
    report: Path | None
    report_bytes: int
    status: str
    open_digest: str
    close_digest: str
    fingerprint: str
    key_is_ephemeral: bool
    judged: bool
    verdict: str
    findings: Mapping[str, Mapping[str, int]]
    unexpected: int
    unexpected_reached: int
    agents: Sequence[Mapping[str, object]]
    tests: Mapping[str, int]
    problems: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())
    finding_lines: Sequence[Mapping[str, object]] = field(default=())
    since: Sequence[str] = field(default=())

    @classmethod
    def from_fields(cls, data: Mapping[str, object]) -> "RunResult":
        """Read the reply of `finish_run`."""
        values = {f.name: data[f.name] for f in fields(cls)}
        values["run_dir"] = Path(str(values["run_dir"]))
        values["report"] = Path(str(values["report"])) if values["report"] else None
        return cls(**values)  # type: ignore[arg-type]  # written by run.close from the same names


@dataclass(frozen=True, slots=True)
class EndedTest:
    """What a test attempt came to: its findings, its tool calls and how many of them were denied."""

    findings: Sequence[FindingFields]
    calls: int
    denied: int


class Recorder:
    """One recorder, seen from the process whose tests it records.

    Each thread that calls at the same time has a connection of its own: a gateway that waits for its server's end
    keeps no other agent waiting.
    """

    def __init__(self, address: Mapping[str, object], process: "subprocess.Popen[bytes] | None", run_dir: Path) -> None:
        self.run_dir = run_dir
        self._process = process
        self._address = address
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._idle = [BlockingLink(address)]
        except OSError as error:
            raise RecorderError(f"the recorder of {run_dir.name} cannot be reached: {error.strerror}") from None

    @classmethod
    def start(cls, config: RecorderConfig) -> "Recorder":
        """Start a recorder process and wait until it records.

        Raises:
            GovernanceError: it could not start; the message says why (an unusable key, an unwritable folder, …).
        """
        process, address = spawn(config)
        return cls(address, process, config.run_dir)

    @classmethod
    def attach_main(cls, config_or_run_dir: "RecorderConfig | Path") -> "Recorder":
        """Reach the main recorder of a run that workers record.

        Raises:
            RecorderError: there is none.
        """
        run_dir = config_or_run_dir if isinstance(config_or_run_dir, Path) else config_or_run_dir.run_dir
        path = run_dir.with_name(run_dir.name + ".control")
        try:
            address = cast(dict[str, object], decode_reply(path.read_bytes()))
        except OSError:
            raise RecorderError(
                f"run {run_dir.name} has no main recorder any more; what is recorded stays in {run_dir} "
                f"and can be checked with: mcp-governance verify {run_dir}"
            ) from None
        return cls(address, None, run_dir)

    def call(self, operation: str, timeout_s: float = _CALL_TIMEOUT_S, **arguments: object) -> object:
        """Call one operation and wait for its result.

        Raises:
            GovernanceError: what the recorder raised, or RecorderError when it is gone or does not answer.
        """
        line = self._take()
        reply = b""
        try:
            if line is not None:
                reply = line.ask(encode_call(operation, arguments), timeout_s)
        except TimeoutError:
            raise RecorderError(f"the recorder did not answer {operation!r} within {timeout_s:.0f} s") from None
        finally:
            if line is not None:
                self._give_back(line, usable=bool(reply))
        if not reply:
            self.close()
            raise self._gone()
        return decode_reply(reply)

    def _take(self) -> BlockingLink | None:
        with self._lock:
            if self._closed:
                return None
            if self._idle:
                return self._idle.pop()
        try:
            return BlockingLink(self._address)
        except OSError:
            return None

    def _give_back(self, line: BlockingLink, *, usable: bool) -> None:
        with self._lock:
            if usable and not self._closed:
                self._idle.append(line)
                return
        line.close()

    def _gone(self) -> RecorderError:
        status = ""
        if self._process is not None:
            try:
                code = self._process.wait(1.0)
                status = f" with {signal.Signals(-code).name}" if code < 0 else f" with exit status {code}"
            except subprocess.TimeoutExpired:
                pass
        return RecorderError(
            f"the recorder process ended{status} before the run was closed.\n"
            f"  What it had recorded is kept in {self.run_dir}\n"
            f"  and can be checked with: mcp-governance verify {self.run_dir}\n"
            "  Nothing after that moment was recorded, and no agent could reach a server through it."
        )

    # -- what the plugin asks ---------------------------------------------------------------------------------------

    def selection(
        self,
        *,
        selected: Sequence[str],
        unaudited: int,
        deselected: int,
        collection: str,
        shard: Mapping[str, object] | None = None,
        require: bool = False,
    ) -> None:
        """Say which tests this run set out to do; `shard` as the open statement has it."""
        self.call(
            "selection",
            selected=list(selected),
            unaudited=unaudited,
            deselected=deselected,
            collection=collection,
            shard=dict(shard) if shard is not None else None,
            require=require or None,
        )

    def start_test(
        self,
        *,
        name: str,
        nodeid: str,
        attempt: int,
        agent: str | None,
        controls: Sequence[str],
        policies: Sequence[Mapping[str, str]],
        mode: str | None,
    ) -> dict[str, object]:
        """Begin a test attempt under the given policy sources (`name`, `kind`, `text`)."""
        result = self.call(
            "start_test",
            name=name,
            nodeid=nodeid,
            attempt=attempt,
            agent=agent,
            controls=list(controls),
            policies=[dict(p) for p in policies],
            mode=mode,
        )
        return cast(dict[str, object], result)

    def start_session(
        self, *, name: str, attempt: int, policies: Sequence[Mapping[str, str]], mode: str | None
    ) -> dict[str, object]:
        """Begin the session's own attempt: for what happens on its gateways while no test runs."""
        result = self.call("start_session", name=name, attempt=attempt, policies=[dict(p) for p in policies], mode=mode)
        return cast(dict[str, object], result)

    def conclude_session(self) -> list[FindingFields]:
        """Close the session's gateways and judge its own attempt as a whole."""
        return cast(list[FindingFields], self.call("conclude_session"))

    def end_session(self, *, outcome: str) -> list[tuple[str, FindingFields]]:
        """End the session's attempt; return what late answers showed of tests that had ended: name and finding."""
        return cast(list[tuple[str, FindingFields]], self.call("end_session", outcome=outcome))

    def open_gateway(
        self,
        *,
        servers: Mapping[str, Mapping[str, object]],
        agent: str,
        request: str | None,
        idle_ok: bool,
        session: bool = False,
    ) -> dict[str, object]:
        """Open a gateway; return its id (`gateway`) and for each server its command (`commands`) or URL (`urls`).

        `session`: it stays open beyond the test that is running, until the session's attempt ends.
        """
        result = self.call(
            "open_gateway", servers=dict(servers), agent=agent, request=request, idle_ok=idle_ok, session=session
        )
        return cast(dict[str, object], result)

    def close_gateway(self, gateway: str) -> list[str]:
        """Close a gateway; return what went wrong on its connections, in words."""
        return cast(list[str], self.call("close_gateway", gateway=gateway))

    def failures(self, gateway: str) -> list[str]:
        """What went wrong on a gateway's connections so far, in words."""
        return cast(list[str], self.call("failures", gateway=gateway))

    def progress(self) -> dict[str, object]:
        """How a long session stands: open connections, bytes of the run, what went wrong since this was asked last."""
        return cast(dict[str, object], self.call("progress"))

    def rotate(self, run: str) -> None:
        """Go on in a new run, over the same connections; the one before is closed meanwhile."""
        self.call("rotate", run=run)
        self.run_dir = self.run_dir.with_name(run)

    def closed_runs(self, *, wait: bool) -> list["RunResult | str"]:
        """What became of earlier runs since this was asked last; where one could not be closed, why.

        Args:
            wait: until all of them are closed, for as long as it takes.
        """
        found = self.call("closed_runs", timeout_s=LONG_S, wait=wait)
        return [
            str(fields["error"]) if "error" in fields else RunResult.from_fields(fields)
            for fields in cast("list[dict[str, object]]", found)
        ]

    def context(self, *, kind: str, text: str, agent: str) -> None:
        """Record what led to the calls that follow: a request, a prompt or a model's message."""
        self.call("context", kind=kind, text=text, agent=agent)

    def expect_denied(self, rule: str | None) -> int:
        """Begin to expect a denial; return the expectation's token."""
        return cast(int, self.call("expect_denied", rule=rule))

    def end_expectation(self, token: int) -> list[FindingFields]:
        """End an expectation; return a finding where it was not met."""
        return cast(list[FindingFields], self.call("end_expectation", token=token))

    def require(self, requirement: Mapping[str, object]) -> list[FindingFields]:
        """Register an inline assertion; return what already breaks it."""
        return cast(list[FindingFields], self.call("require", requirement=dict(requirement)))

    def standing(self) -> list[FindingFields]:
        """What the policy has found so far in this test attempt."""
        return cast(list[FindingFields], self.call("standing"))

    def conclude(self) -> list[FindingFields]:
        """Judge the test attempt as a whole and record the findings."""
        return cast(list[FindingFields], self.call("conclude"))

    def calls(self) -> list[dict[str, object]]:
        """The tool calls of this test attempt, in order."""
        return cast(list[dict[str, object]], self.call("calls"))

    def accesses(self) -> list[dict[str, object]]:
        """The data accesses of this test attempt, in order."""
        return cast(list[dict[str, object]], self.call("accesses"))

    def end_test(self, *, outcome: str, failure: str | None) -> EndedTest:
        """End the test attempt; connections still open are closed first."""
        told = cast(dict[str, object], self.call("end_test", outcome=outcome, failure=failure))
        return EndedTest(**told)  # type: ignore[arg-type]  # written by the recorder from the same names

    def not_run(self, *, name: str, nodeid: str, outcome: str, failure: str | None) -> None:
        """Record a selected test whose audit never began: skipped, or stopped by an error in its setup."""
        self.call("not_run", name=name, nodeid=nodeid, outcome=outcome, failure=failure)

    def close_segment(self) -> None:
        """A worker's recorder: close the segment and end."""
        self.call("close_segment")
        self._reap()

    def finish_run(self, *, complete: bool, reason: str = "", patience_s: float = _FINISH_TIMEOUT_S) -> RunResult:
        """Main's recorder: conclude, render and sign the run, and end."""
        try:
            result = self.call("finish_run", timeout_s=patience_s, complete=complete, reason=reason)
        finally:
            self._reap()
        return RunResult.from_fields(cast(dict[str, object], result))

    def close(self) -> None:
        """Hang up; a recorder whose test process is still there goes on."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for line in idle:
            line.close()

    def _reap(self) -> None:
        self.close()
        if self._process is not None:
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def end(self) -> None:
        """Hang up and end a recorder that this process started, without closing its run."""
        self.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Process id of a recorder that this process started."""
        return self._process.pid if self._process else None
