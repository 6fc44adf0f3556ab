"""In a GitHub job a run annotates its findings and appends itself to the job's summary; elsewhere it does not."""

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import main

HIDDEN = """
@pytest.mark.xfail
def test_pays(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET, PAY)
"""


@pytest.fixture
def job(suite, monkeypatch, tmp_path_factory):
    """The variables of a GitHub job whose checkout holds the suite; gives the job's summary."""
    summary = tmp_path_factory.mktemp("job") / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.folder.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def commands(ended):
    return [line for line in ended.text.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_hidden_finding_is_annotated_and_the_summary_tells_of_the_run(suite, job, workers):
    suite.test(HIDDEN)
    ended = suite.run(workers=workers)
    assert ended.status == 1
    (line,) = commands(ended)
    assert line.startswith(
        f"::error file={suite.folder.name}/governance.policy.yaml,title=DEFAULT-DENY%3A Blocked::clerk"
    )
    text = job.read_text()
    assert text.startswith("## MCP governance: Failed")
    assert text.count("## MCP governance") == 1
    assert "| **Blocked** | `DEFAULT-DENY` | `plain.pay` | `clerk` |" in text
    assert "Nobody has verified its report yet." in text


def test_where_the_checkout_is_pytests_root_paths_are_as_the_suite_names_them(suite, job, monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.folder))
    suite.test(HIDDEN)
    assert commands(suite.run())[0].startswith("::error file=governance.policy.yaml,")


def test_a_finding_that_the_gate_lets_pass_is_a_warning_of_a_job_that_passes(suite, job):
    suite.test(HIDDEN)
    ended = suite.run("--mcp-governance-gate=off")
    assert ended.status == 0
    assert [line.partition(" ")[0] for line in commands(ended)] == ["::warning"]


def test_off_does_neither(suite, job):
    suite.test(HIDDEN)
    assert commands(suite.run("--mcp-governance-github=off")) == []
    assert not job.exists()


def test_nothing_is_told_outside_a_github_job(suite, job, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS")
    suite.test(HIDDEN)
    assert commands(suite.run()) == []
    assert not job.exists()


def test_nothing_is_told_of_a_run_without_audited_tests(suite, job):
    suite.test("def test_plain(): assert False")
    assert commands(suite.run()) == []
    assert not job.exists()


def test_a_run_that_fails_without_a_finding_says_why(suite, job):
    suite.test(
        """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET)

def test_plain(): pass
"""
    )
    ended = suite.run("--mcp-governance-require")
    assert ended.status == 1
    (line,) = commands(ended)
    assert line.startswith("::error title=mcp governance::")
    assert "test_plain" in line


def test_a_summary_that_cannot_be_written_fails_nothing_and_is_said(suite, job, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.folder / "missing" / "summary.md"))
    suite.test(HIDDEN.replace(", PAY", "").replace("@pytest.mark.xfail", ""))
    ended = suite.run()
    assert ended.status == 0
    assert "note: this run could not be told to GitHub: " in ended.text


def test_secrets_of_the_jobs_environment_are_told_nowhere(suite, job, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "hunter2, hunter2, hunter2")
    suite.test(HIDDEN.replace("PAY", '("hunter2, hunter2, hunter2", {})'))
    ended = suite.run("--mcp-governance-report=full")
    told = "\n".join(commands(ended)) + job.read_text()
    assert "plain.(withheld tool)" in told
    assert "hunter2" not in told


def test_the_summary_says_what_is_new_since_the_approved_run(suite, job):
    suite.test(HIDDEN)
    suite.run("--mcp-governance-github=off")
    approve = ["approve", str(suite.folder / "governance-report.html"), "--untrusted-signer"]
    done = CliRunner().invoke(main, [*approve, "--out", str(suite.folder / "governance.approved.json")])
    assert done.exit_code == 0, done.output
    suite.test(HIDDEN.replace('agent="clerk"', 'agent="payer"'))
    suite.run()
    assert "### Since the last approved run" in job.read_text()
    assert "- **New agents**\n  - `payer`" in job.read_text()


def test_another_word_is_a_usage_error_before_any_test(suite):
    suite.write("pytest.ini", "[pytest]\nmcp_governance_github = always\n")
    suite.test(HIDDEN)
    ended = suite.run()
    assert ended.status == 4
    assert "mcp_governance_github is 'always'; it must be one of auto, off" in ended.text
