"""One word for how an attempt ended, from what its phases reported."""

import pytest

from pytest_mcp_governance.plugin.attempts import outcome


def report(when: str, result: str) -> pytest.TestReport:
    return pytest.TestReport("t", ("t.py", 1, "t"), {}, result, None, when)  # type: ignore[arg-type]  # names as pytest has them


@pytest.mark.parametrize(
    ("phases", "word"),
    [
        ([("setup", "passed"), ("call", "passed"), ("teardown", "passed")], "passed"),
        ([("setup", "passed"), ("call", "failed"), ("teardown", "passed")], "failed"),
        ([("setup", "passed"), ("call", "passed"), ("teardown", "failed")], "error"),
        ([("setup", "failed"), ("teardown", "passed")], "error"),
        ([("setup", "skipped"), ("teardown", "passed")], "skipped"),
        ([], "error"),
    ],
)
def test_the_phases_decide_the_outcome(phases: list[tuple[str, str]], word: str) -> None:
    assert outcome([report(*phase) for phase in phases]) == word


def test_a_test_that_was_interrupted_before_its_call_reported_is_no_pass() -> None:
    assert outcome([report("setup", "passed"), report("teardown", "passed")]) == "error"
