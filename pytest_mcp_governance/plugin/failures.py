"""How findings reach a test: which of them fail it, when, and with what text. Judges nothing itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mcp_governance.errors import FindingsError, GovernanceError
from pytest_mcp_governance.plugin import gate

if TYPE_CHECKING:
    from pytest_mcp_governance.session.control import Recorder

Finding = Mapping[str, object]
Identity = tuple[str, ...]


class Found(pytest.fail.Exception):  # type: ignore[name-defined,misc]  # pytest declares the class as a variable
    """pytest's failure, raised for findings."""


class Judgement:
    """What one attempt's findings do to its test.

    A finding is raised where it is found, after the test function, and again at teardown, but is told only once
    to pytest: what an agent swallowed inside the test comes back, what pytest has seen does not.
    """

    def __init__(self, recorder: Recorder, heading: str, which: gate.Gate = "any") -> None:
        self._recorder = recorder
        self._heading = heading
        self._gate = which
        self._told: set[Identity] = set()
        self._exercised = False

    def raise_now(self, findings: Iterable[Finding]) -> None:
        """Raise FindingsError where one of these fails the test."""
        broken = self._failing(findings)
        if broken:
            raise self._failure(broken)

    def after_call(self, raised: BaseException | None) -> None:
        """Judge when the test function has ended, with what it raised.

        Fails a test that passed or skipped itself; adds a note to any other error, which stays the test's own.
        """
        skipped = isinstance(raised, pytest.skip.Exception)
        self._exercised = not skipped
        broken = self._untold()
        if raised is not None and not skipped:
            said = str(raised)
            broken = tuple(finding for finding in broken if _text(finding) not in said)
            if broken:
                raised.add_note(str(self._failure(broken)))
        elif broken:
            raise Found(str(self._failure(broken)), pytrace=False) from None

    def at_teardown(self) -> None:
        """Judge once more, for what happened since; fails the teardown."""
        broken = self._untold()
        if broken:
            raise Found(str(self._failure(broken)), pytrace=False) from None

    def late(self, findings: Iterable[Finding]) -> str | None:
        """The text of what was found only when the attempt was closed, too late to fail the test itself."""
        broken = self._tell(findings)
        return str(self._failure(broken)) if broken else None

    def _untold(self) -> tuple[Finding, ...]:
        # A skipped test is not exercised: it is asked what stands, not whether something is missing.
        return self._tell(self._recorder.conclude() if self._exercised else self._recorder.standing())

    def _tell(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        new = tuple(finding for finding in self._failing(findings) if _identity(finding) not in self._told)
        self._told.update(map(_identity, new))
        return new

    def _failing(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        return tuple(finding for finding in findings if gate.fails(finding, self._gate))

    def _failure(self, findings: tuple[Finding, ...]) -> FindingsError:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        # pytest's short summary shows the first line only.
        headline = f"{_headline(findings[0])}{more}"
        return FindingsError("\n".join([headline, f"{count}, {self._heading}", *map(_text, findings)]))


def end_at_the_users_line(error: BaseException) -> None:
    """Cut an error of ours where the test called this package: what is below that line is not the reader's."""
    if not isinstance(error, GovernanceError):
        return
    error.__cause__, error.__suppress_context__ = None, True
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        if _is_ours(entry.tb_next.tb_frame):
            entry.tb_next = None
        entry = entry.tb_next


def lead_with_the_finding(report: pytest.TestReport, error: BaseException) -> None:
    """Let pytest's short summary, which is one line and often cut, begin with the rule and the call."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and isinstance(error, Found | FindingsError):
        crash.message = str(error)


def _is_ours(frame: FrameType) -> bool:
    # The hooks are ours too, but stand between pytest and the test, not below it.
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("pytest_mcp_governance.") and not name.endswith(".lifecycle")


def _identity(finding: Finding) -> Identity:
    return tuple(str(finding.get(key)) for key in ("rule", "clause", "refs", "reason", "source", "agent"))


def _text(finding: Finding) -> str:
    return str(finding["text"])


def _headline(finding: Finding) -> str:
    from pytest_mcp_governance.policy import verdicts

    names = [field.name for field in dataclasses.fields(verdicts.Finding)]
    values: dict[str, Any] = {name: finding[name] for name in names}
    return verdicts.Finding(**values).headline
