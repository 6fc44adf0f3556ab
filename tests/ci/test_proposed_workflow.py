"""The workflow that `init` proposes does what it says: its own steps, on this machine, in the project as it left it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import init
from pytest_mcp_governance.evidence.verify import Outcome, verify
from tests.adopt.offers import READ, entry, project, tool
from tests.ci.conftest import INI, Project
from tests.ci.workflow import Job, load

WORKFLOW = ".github/workflows/mcp-governance.yml"


class Proposed(Project):
    """A project that had an mcp.json, and took all that `init` proposes."""

    def make(self) -> "Proposed":
        self.work.mkdir(parents=True)
        self.git("init", "-q")
        project(self.work, {"books": entry(self.work, "books", tools=[tool("get_vendor", READ)])})
        done = CliRunner().invoke(init.command, ["--dir", str(self.work), "--yes"])
        assert done.exit_code == 0, done.output
        self.write("pytest.ini", f"{INI}testpaths = tests\n")
        self.write(".gitignore", "__pycache__/\n.mcp-governance/\n")
        self.commit("main")
        return self

    def job(self, name: str, branch: str = "main") -> Job:
        return self.forge(name, branch).job(load(self.work / WORKFLOW)["jobs"]["audit"], "audit").run()


@pytest.fixture(scope="module")
def proposed(tmp_path_factory: pytest.TempPathFactory) -> Proposed:
    return Proposed(tmp_path_factory.mktemp("proposed")).make()


def test_its_steps_pass_in_the_project_as_it_is_and_keep_a_report_that_verifies(proposed):
    job = proposed.job("green")
    assert job.status == 0, [(step.name, step.output) for step in job.steps]
    (report,) = (job.forge.artefacts / "governance-report").iterdir()
    assert verify(report, trust=[verify(report).signer]).outcome is Outcome.VERIFIED


def test_a_server_whose_tools_changed_fails_the_job_before_any_test(proposed: Proposed):
    offer: Path = proposed.work / "books.offer.json"
    offer.write_text(offer.read_text().replace("get_vendor", "get_vendors"))
    proposed.commit("changed")
    proposed.git("reset", "-q", "--hard", "HEAD~1")
    job = proposed.job("changed", "changed")
    assert job.status == 1
    assert "get_vendors" in "".join(step.output for step in job.steps)
    assert not (job.workspace / "governance-report.html").exists()
