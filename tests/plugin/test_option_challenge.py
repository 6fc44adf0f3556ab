"""`--mcp-governance-challenge`: a run answers a reader's nonce; and what else a reader can require, on real runs."""

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli.verify import command as verify
from tests.plugin.suites import READ_ONLY, SERIAL_AND_PARALLEL, Suite
from tests.plugin.test_option_floor import git

NONCE = "5f0c9a31d2e84b77"
GETS = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
"""


@SERIAL_AND_PARALLEL
@pytest.mark.parametrize("source", ["option", "environment"])
def test_the_run_answers_the_challenge_and_no_other(
    suite: Suite, workers: int, source: str, monkeypatch: pytest.MonkeyPatch
):
    suite.test(GETS)
    if source == "environment":
        monkeypatch.setenv("MCP_GOVERNANCE_CHALLENGE", NONCE)
    ended = suite.run(*([f"--mcp-governance-challenge={NONCE}"] if source == "option" else []), workers=workers)
    assert ended.status == 0
    assert ended.opened["challenge"] == NONCE
    assert f"challenge {NONCE}" in ended.text
    assert NONCE in ended.page
    assert ended.verified(f"challenge={NONCE}")[0] == 0
    code, report = ended.verified("challenge=another-nonce")
    assert code == 5
    assert report["outcome"] == "REQUIREMENT"
    assert f"the run answers {NONCE}" in report["problems"][0]["text"]


def test_a_run_without_a_challenge_answers_none(suite: Suite):
    suite.test(GETS)
    ended = suite.run()
    assert "challenge" not in ended.opened
    code, report = ended.verified(f"challenge={NONCE}")
    assert code == 5
    assert "the run answers none" in report["problems"][0]["text"]


def test_the_option_comes_before_the_environment(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    suite.test(GETS)
    monkeypatch.setenv("MCP_GOVERNANCE_CHALLENGE", "of-the-environment")
    assert suite.run(f"--mcp-governance-challenge={NONCE}").opened["challenge"] == NONCE


@pytest.mark.parametrize("nonce", ["", "short", "with a blank in it", "with,comma,in,it", "ünicode-nonce", "x" * 201])
@pytest.mark.parametrize("source", ["option", "environment"])
def test_a_challenge_that_no_reader_could_require_is_a_usage_error(
    suite: Suite, nonce: str, source: str, monkeypatch: pytest.MonkeyPatch
):
    suite.test(GETS)
    if source == "environment":
        monkeypatch.setenv("MCP_GOVERNANCE_CHALLENGE", nonce)
    ended = suite.run(*([f"--mcp-governance-challenge={nonce}"] if source == "option" else []))
    assert ended.status == 4
    assert "must be 8 to 200 letters, digits" in ended.text
    assert ended.runs == []


# -- every requirement on a real run -----------------------------------------------------------------------------------


@pytest.fixture
def committed(suite: Suite) -> Suite:
    """A suite whose working tree is clean at a commit."""
    suite.test(GETS)
    suite.write(".gitignore", "__pycache__/\n.pytest_cache/\ngovernance-report.html\nstdout\nstderr\nrunpytest-*\n")
    git(suite.folder, "init", "-q", "-b", "base")
    git(suite.folder, "add", "-A")
    git(suite.folder, "commit", "-q", "-m", "base")
    return suite


@SERIAL_AND_PARALLEL
def test_a_clean_run_meets_every_requirement_but_a_timestamp(committed: Suite, workers: int):
    ended = committed.run(f"--mcp-governance-challenge={NONCE}", workers=workers)
    _, report = ended.verified()
    (policy,) = ended.of_type("policy")
    requirements = (
        "passed",
        "no-withheld",
        f"commit={git(committed.folder, 'rev-parse', 'HEAD')}",
        f"policy=sha256:{policy['sha256']}",
        f"challenge={NONCE}",
        f"close={report['close_digest']}",
    )
    code, report = ended.verified(*requirements)
    assert (code, report["problems"]) == (0, [])
    code, report = ended.verified(*requirements, "timestamp")
    assert code == 5
    assert [p["text"] for p in report["problems"]] == [
        "required: timestamp; no timestamp authority confirmed the time, and this version cannot check one"
    ]


@pytest.mark.parametrize(
    ("requirement", "says"),
    [
        (f"commit={'0' * 40}", "the run names commit"),
        (f"policy={'0' * 64}", "the run was judged by"),
        (f"close={'0' * 64}", "the close digest is"),
    ],
)
def test_another_commit_policy_or_close_is_not_met(committed: Suite, requirement: str, says: str):
    code, report = committed.run().verified(requirement)
    assert code == 5
    assert says in report["problems"][0]["text"]


def test_a_working_tree_with_changes_is_not_its_commit(committed: Suite):
    committed.write("governance.policy.yaml", READ_ONLY + "# changed\n")
    code, report = committed.run().verified(f"commit={git(committed.folder, 'rev-parse', 'HEAD')}")
    assert code == 5
    assert "does not say that the working tree was clean" in report["problems"][0]["text"]


@pytest.mark.parametrize(
    "body",
    [
        GETS.replace("GET)", "PAY)"),
        GETS + "\n@pytest.mark.skip\ndef test_skipped(mcp_audit): pass\n",
        GETS + "\ndef test_fails(mcp_audit):\n    assert False\n",
        "\n@pytest.mark.xfail\n" + GETS.strip() + "\n    assert False\n",
    ],
    ids=["finding", "skipped", "failed", "xfailed"],
)
def test_passed_is_not_met_by_a_finding_or_by_a_test_that_did_not_pass(suite: Suite, body: str):
    suite.test(body)
    code, report = suite.run().verified("passed")
    assert code == 5
    assert report["outcome"] == "REQUIREMENT"


def test_passed_is_not_met_without_a_policy(suite: Suite):
    (suite.folder / "governance.policy.yaml").unlink()
    suite.test(GETS)
    code, report = suite.run().verified("passed")
    assert code == 5
    assert "not every test was judged by a policy" in report["problems"][0]["text"]


SECRET = READ_ONLY + 'data:\n  answers: {class: secret, results: {"plain.get_*": ["$"]}}\n'


@pytest.mark.parametrize(("profile", "code"), [("ticket", 5), ("full", 0)])
def test_no_withheld_is_met_by_a_full_report_only(suite: Suite, profile: str, code: int):
    suite.write("governance.policy.yaml", SECRET)
    suite.test(GETS)
    ended = suite.run(f"--mcp-governance-report={profile}")
    assert ended.status == 0
    assert ended.verified("no-withheld")[0] == code
    assert ended.verified("passed")[0] == 0


def test_an_unknown_signer_comes_before_a_requirement(suite: Suite):
    suite.test(GETS)
    ended = suite.run()
    said = CliRunner().invoke(verify, [str(ended.folder / "governance-report.html"), "--require=challenge=12345678"])
    assert said.exit_code == 4


def test_a_tree_that_git_cannot_look_at_is_not_a_clean_one(committed: Suite):
    commit = git(committed.folder, "rev-parse", "HEAD")
    (committed.folder / ".git" / "index").write_text("garbage")
    ended = committed.run(f"--mcp-governance-challenge={NONCE}")
    code, report = ended.verified(f"commit={commit}")
    assert (code, [p["outcome"] for p in report["problems"]]) == (5, ["REQUIREMENT"])


def test_untracked_files_count_whatever_the_repository_says_of_showing_them(committed: Suite):
    commit = git(committed.folder, "rev-parse", "HEAD")
    git(committed.folder, "config", "status.showUntrackedFiles", "no")
    committed.write("helper.py", "")
    code, _ = committed.run(f"--mcp-governance-challenge={NONCE}").verified(f"commit={commit}")
    assert code == 5
