"""`mcp-governance report`: verified first, never more than the ticket shows, nothing from a file that lies."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.container import MARKER
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from tests.plugin.suites import AGENT, SERVERS, without_others

IBAN = "DE89370400440532013000"
POLICY = """\
governance: 1
policy: vendors
data:
  vendor.account: {class: pii, detect: [iban]}
rules:
- {id: READ, allow: ["plain.get_*"], data: [vendor.account], args: {id: {in: [v1]}}}
- {id: NO-DELETE, deny: ["plain.delete_*"], controls: [SOC2:CC8.1]}
"""
TEST = f"""\
import pytest
from scripted import *

@pytest.mark.xfail
def test_clerk(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET, DELETE, ("get_vendor", {{"id": "{IBAN}"}}), ("{IBAN}", {{}}))
"""


@dataclass(frozen=True)
class Told:
    """A run in which a call was denied, one of them with an account number, and a way to have it told."""

    folder: Path
    profile: str

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, ["report", *map(str, arguments)])

    @property
    def report(self) -> Path:
        return self.folder / f"{self.profile}.html"

    @property
    def run(self) -> Path:
        return next((self.folder / ".mcp-governance" / "runs").glob("*/"))


def recorded(folder: Path, profile: str, *options: str) -> Told:
    servers = {"plain": {"command": sys.executable, "args": [str(SERVERS / "plain.py")]}}
    written = {
        "scripted.py": AGENT,
        "governance.policy.yaml": POLICY,
        "mcp.json": json.dumps({"mcpServers": servers}),
        "test_vendors.py": TEST,
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *without_others(), "--rootdir=.", f"--mcp-governance-report={profile}",
         f"--mcp-governance-report-path={profile}.html", *options],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MCP_GOVERNANCE", "GITHUB", "PYTEST", "CI"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return Told(folder, profile)


@pytest.fixture(scope="module")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return recorded(tmp_path_factory.mktemp("ticket"), "ticket")


@pytest.fixture(scope="module")
def tell_full(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return recorded(tmp_path_factory.mktemp("full"), "full")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group of one shard, whose report withholds nothing."""
    options = ("--mcp-governance-shard=1/1", "--mcp-governance-group=g")
    shard = recorded(tmp_path_factory.mktemp("shard"), "full", *options)
    merged = CliRunner().invoke(main, ["merge", str(shard.report), "--out", str(shard.folder / "group.html")])
    assert merged.exit_code == 0, merged.output
    return shard.folder / "group.html"


@pytest.fixture(scope="module")
def approval(tell: Told) -> Path:
    """An approval of the ticket's run."""
    path = tell.folder / "governance.approved.json"
    done = CliRunner().invoke(main, ["approve", str(tell.report), "--untrusted-signer", "--out", str(path)])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(autouse=True)
def outside_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_markdown_names_the_finding_and_the_outcome_is_the_exit_code(tell):
    result = tell(tell.report)
    assert result.exit_code == 4
    assert result.stderr.startswith("UNTRUSTED: run ")
    assert "| **Blocked** | `NO-DELETE` | `plain.delete_vendor` | `clerk` |" in result.stdout
    assert "| `governance.policy.yaml:7` |" in result.stdout


def test_a_run_folder_tells_the_same_as_its_report(tell):
    of_report, of_folder = tell(tell.report).stdout, tell(tell.run).stdout
    assert of_folder.replace(tell.run.name, "RUN") == of_report.replace(tell.run.name, "RUN").replace(
        "verify ticket.html", "verify RUN"
    )


@pytest.mark.parametrize("form", ["markdown", "sarif", "github", "json"])
def test_labelled_values_are_told_nowhere_whatever_the_file_holds(tell, tell_full, form, tmp_path):
    whole = EvidenceReader(FolderSource(tell.run))
    tools = [whole.reveal(r["tool"]) for r in whole.records() if r["type"] == "finding"]
    assert IBAN in tools, "the run folder has it, where a list of findings would show it"
    for place in (tell.report, tell.run, tell_full.report, tell_full.run):
        result = tell(place, "--to", form, "--out", tmp_path / "out")
        text = result.output + (tmp_path / "out").read_text()
        assert "NO-DELETE" in text
        assert IBAN not in text


@pytest.mark.parametrize("form", ["markdown", "sarif", "github", "json"])
def test_labelled_values_of_a_groups_runs_are_told_nowhere(tell, group, form, tmp_path):
    result = tell(group, "--to", form, "--out", tmp_path / "out")
    assert result.stderr.startswith("UNTRUSTED: group g\n")
    text = result.output + (tmp_path / "out").read_text()
    assert "NO-DELETE" in text
    assert IBAN not in text


def test_a_finding_of_a_shard_is_the_same_finding_as_in_a_single_run(tell, group):
    prints = [
        [
            result["partialFingerprints"]
            for result in json.loads(tell(target, "--to", "sarif").stdout)["runs"][0]["results"]
        ]
        for target in (tell.report, group)
    ]
    assert prints[0] == prints[1]


def test_a_group_lists_its_shards(tell, group):
    text = tell(group).stdout
    assert "Group `g` is complete." in text
    assert "| 1/1 | 1 xfailed | 3 |" in text
    assert "`shard-1: test_vendors.py::test_clerk` (xfailed)" in text


def test_it_says_what_is_new_since_the_approved_run(tell, approval):
    text = tell(tell.report, "--approved", approval).stdout
    assert "### Since the last approved run\n\nRun `" in text
    assert "Nothing changed: the same agents, tools" in text
    assert "Since the last approved run" not in tell(tell.report).stdout


def test_a_group_is_compared_as_the_whole_that_it_is(tell, group, approval):
    assert "Nothing changed: the same agents, tools" in tell(group, "--approved", approval).stdout


def test_an_approval_that_cannot_be_used_is_a_usage_error(tell, tmp_path):
    (tmp_path / "approval.json").write_text("{}")
    for spec in (tmp_path / "approval.json", "missing.json", "git:nowhere:x.json"):
        result = tell(tell.report, "--approved", spec)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("Usage error: --approved: ")


@pytest.mark.parametrize("form", ["markdown", "sarif", "github", "json"])
def test_nothing_is_told_of_an_altered_report(tell, form, tmp_path):
    altered = tmp_path / "altered.html"
    altered.write_bytes(tell.report.read_bytes().replace(b"broke the policy", b"kept the policy_", 1))
    result = tell(altered, "--to", form, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("TAMPERED")
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_nothing_is_told_of_what_is_no_evidence(tmp_path):
    path = tmp_path / "x.html"
    path.write_bytes(b"<html>" + MARKER)
    result = CliRunner().invoke(main, ["report", str(path), "--to", "sarif"])
    assert (result.exit_code, result.stdout) == (2, "")


def test_sarif_and_json_are_one_document_each(tell):
    log = json.loads(tell(tell.report, "--to", "sarif").stdout)
    assert [r["ruleId"] for r in log["runs"][0]["results"]] == ["NO-DELETE", "READ", "DEFAULT-DENY"]
    document = json.loads(tell(tell.report, "--to", "json").stdout)
    assert document["findings"]["blocked"] == {"enforce": 3, "observe": 0, "expected": 0}
    assert document["unexpected"][0]["place"] == {"file": "governance.policy.yaml", "line": 7}
    assert {"agent": "clerk", "scope": "vendor.account", "class": "pii", "calls": 2} in document["accesses"]


def test_github_prints_annotations_and_appends_to_the_jobs_summary(tell, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = tell(tell.report, "--to", "github", "--root-folder", "sub")
    assert result.stdout.startswith("::error file=sub/governance.policy.yaml,line=7,title=NO-DELETE%3A Blocked::")
    assert summary.read_text().startswith("# Before\n## MCP governance: Failed")


def test_a_full_summary_is_left_as_it_is_and_that_is_said(tell, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("x" * 1_047_900)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert "no room left" in tell(tell.report, "--to", "github").stderr
    assert len(summary.read_text()) == 1_047_900


def test_without_a_summary_file_the_annotations_are_printed_and_the_lack_is_said(tell):
    result = tell(tell.report, "--to", "github")
    assert result.stdout.startswith("::error ")
    assert "GITHUB_STEP_SUMMARY is not set" in result.stderr


def test_requirements_are_part_of_what_is_said(tell):
    fingerprint = json.loads(tell(tell.report, "--to", "json").stdout)["file"]["signer"]
    result = tell(tell.report, "--trust", fingerprint, "--require", "passed")
    assert result.exit_code == 5
    assert "REQUIREMENT: unaltered since recorded, but a requirement is not met." in result.stdout
    assert "- required: passed; 1 of 1 tests did not pass" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--root-folder", "../x"], "--root-folder: ../x must lie in the repository"),
        (["--root-folder", "/x"], "--root-folder"),
        (["--to", "pdf"], "markdown"),
        (["--trust", "missing.pem"], "--trust"),
        (["--require", "perfect"], "--require"),
        (["--out", "missing/x.md"], "cannot be written"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(tell, arguments, says):
    result = tell(tell.report, *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
