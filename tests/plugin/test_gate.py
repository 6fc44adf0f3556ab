"""The gate raises a passing exit status and touches no other; what it says is safe to print."""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.plugin import gate, terminal
from pytest_mcp_governance.plugin.environment import secret_values
from pytest_mcp_governance.session.control import RunResult

NONE = {state: {"enforce": 0, "observe": 0, "expected": 0} for state in ("reached", "blocked", "unproven")}
CLEAN = RunResult(
    run="20261123t061500z-3f9a1c",
    run_dir=Path("/project/.mcp-governance/runs/20261123t061500z-3f9a1c"),
    report=Path("/project/governance-report.html"),
    report_bytes=1_234_567,
    status="complete",
    open_digest="aa11",
    close_digest="bb22",
    fingerprint="SHA256:abc",
    key_is_ephemeral=False,
    judged=True,
    verdict="",
    findings=NONE,
    unexpected=0,
    unexpected_reached=0,
    agents=(),
    tests={"passed": 1},
)


@pytest.mark.parametrize("status", list(pytest.ExitCode))
def test_only_a_passing_status_is_raised(status: pytest.ExitCode):
    assert gate.exit_status(status, ()) == status
    failing = gate.exit_status(status, ("a reason",))
    assert failing == (pytest.ExitCode.TESTS_FAILED if status == pytest.ExitCode.OK else status)


@pytest.mark.parametrize(
    ("result", "problems", "late"),
    [
        (replace(CLEAN, unexpected=1), (), ()),
        (replace(CLEAN, problems=("a gap",)), (), ()),
        (CLEAN, ("the recorder died",), ()),
        (None, ("the policy cannot be read",), ()),
        (CLEAN, (), ("a finding at the very end",)),
    ],
)
def test_a_finding_or_a_problem_is_a_reason_to_fail(
    result: RunResult | None, problems: tuple[str, ...], late: tuple[str, ...]
):
    assert gate.reasons(result, problems, late)


def test_a_clean_run_and_a_run_without_audited_tests_have_none():
    assert gate.reasons(CLEAN, (), ()) == gate.reasons(None, (), ()) == ()


def test_findings_that_are_expected_or_observed_are_no_reason():
    counted = {**NONE, "blocked": {"enforce": 0, "observe": 3, "expected": 2}}
    result = replace(CLEAN, findings=counted)
    assert gate.reasons(result, (), ()) == ()
    assert "verdict: no unexpected finding; besides 2 expected and 3 observed" in terminal.summary(
        result, (), (), Path("/project")
    )


def test_the_summary_names_the_report_its_size_the_digests_and_the_signer():
    assert terminal.summary(CLEAN, (), (), Path("/project"))[-4:] == [
        "report: governance-report.html (1.2 MB)",
        "open   aa11",
        "close  bb22",
        "signer SHA256:abc",
    ]


def test_an_ephemeral_signer_is_called_unknown():
    lines = terminal.summary(replace(CLEAN, key_is_ephemeral=True), (), (), Path("/project"))
    assert "key made for this run" in lines[-1]
    assert "mcp-governance keygen" in lines[-1]


HOSTILE = "\x1b[2Jé\n\u202e\x07"


def test_nothing_that_a_test_or_an_agent_chose_reaches_the_terminal_unescaped():
    agent = {"agent": HOSTILE, "calls": 1, "denied": 0, "findings": 0, "screens": 0}
    result = replace(CLEAN, agents=(agent,), problems=(HOSTILE,), report=Path(f"/project/{HOSTILE}"), notes=(HOSTILE,))
    lines = terminal.summary(result, (HOSTILE,), (HOSTILE,), Path("/project"))
    assert all(line.isprintable() for line in lines)


def test_values_of_variables_with_secret_names_are_found_and_paths_and_short_values_are_not(tmp_path: Path):
    environ = {
        "GITHUB_TOKEN": "ghp_0123456789",
        "PGPASSWORD": "correct horse",
        "OPENAI_API_KEY": "sk-0123456789",
        "BASIC_AUTH": "dXNlcjpwYXNz",
        "SHORT_SECRET": "hunt2",
        "GIT_AUTHOR_NAME": "Grace Hopper",
        "KEYBOARD_LAYOUT": "dvorak-intl",
        "AWS_CREDENTIALS_FILE": str(tmp_path),
        "MCP_GOVERNANCE_SIGNING_KEY": "keys/signing.pem",
        "HOME": "/home/grace",
    }
    assert set(secret_values(environ)) == {"ghp_0123456789", "correct horse", "sk-0123456789", "dXNlcjpwYXNz"}
