"""The composite action: its own steps, on this machine."""

import re
from pathlib import Path

import pytest

from tests.ci.conftest import POLICY
from tests.ci.workflow import load

DELETES = """
from scripted import *

def test_deletes(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), DELETE)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def action():
    return load(ROOT / "action.yml")


def run(project, action, name, branch="main", **inputs):
    """A job that checks out and uses the action."""
    forge = project.forge(f"action-{name}", branch)
    given = {key.replace("_", "-"): str(value) for key, value in inputs.items()}
    values = {key: str(given.get(key, declared["default"])) for key, declared in action["inputs"].items()}
    assert given.keys() <= values.keys()
    checkout = {"uses": "actions/checkout@v4", "with": {"fetch-depth": 0}}
    return forge.job({"steps": [checkout, *action["runs"]["steps"]]}, "job", inputs=values).run()


def test_it_runs_the_suite_keeps_the_report_and_verifies_it(project, action):
    job = run(project, action, "whole")
    assert job.status == 0, job["Test"].output
    assert "8 passed" in job["Test"].output
    assert (job.forge.artefacts / "governance-1-1" / "governance-report.html").is_file()
    assert job["Verify"].output.startswith("UNTRUSTED: ")
    assert job["Install"].output == "pip install pytest-mcp-governance pytest-split\n"


def test_a_shard_runs_its_part_and_names_its_report_after_it(project, action):
    job = run(project, action, "shard", shard=2, shards=4, pytest_args="-v -rA", install="")
    assert job.status == 0
    assert "2 passed, 6 deselected" in job["Test"].output
    assert (job.forge.artefacts / "governance-2-1" / "governance-report.html").is_file()
    assert job["Install"].output == ""


def test_a_signature_that_is_asked_for_and_missing_fails_the_job(project, action):
    job = run(project, action, "trust", trust=project.key.public.fingerprint, pytest_args="-k reads_1")
    assert job["Test"].status == 0
    assert job["Verify"].status == job.status == 4


def test_an_argument_cannot_turn_the_gate_off(project, action):
    job = run(project, action, "gate", pytest_args="-v -k reads_1 --mcp-governance-gate=off")
    assert "gate any" in job["Test"].output


def test_the_floor_binds_a_change_that_widens_its_own_policy(project, action):
    project.write("test_agents.py", DELETES)
    project.write("governance.policy.yaml", POLICY + '- {id: DELETE, allow: ["plain.delete_*"]}\n')
    project.commit("wider")
    project.git("reset", "-q", "--hard", "HEAD~1")
    assert run(project, action, "no-floor", branch="wider").status == 0
    job = run(project, action, "floor", branch="wider", floor="git:origin/main:governance.policy.yaml")
    assert job["Test"].status == 1
    assert "DEFAULT-DENY plain.delete_vendor" in job["Test"].output


def test_an_input_is_never_run_by_the_shell(project, action):
    job = run(project, action, "shell", pytest_args="-k reads_1 $(touch${IFS}owned) ;touch owned", report="r.html")
    assert job["Test"].status != 0
    assert not list(job.folder.rglob("owned"))


def test_every_input_is_used_and_described(action):
    steps = (ROOT / "action.yml").read_text().partition("\nruns:")[2]
    used = set(re.findall(r"inputs\.([a-z-]+)", steps))
    assert used == set(action["inputs"])
    assert all(declared["description"] and "default" in declared for declared in action["inputs"].values())
