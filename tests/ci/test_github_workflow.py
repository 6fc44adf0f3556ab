"""The example workflow does what it is for: its own steps, in four shards and a merge job, on this machine."""

import pytest

from tests.ci.conftest import POLICY, Project, shards
from tests.ci.workflow import Forge, Job

HIDDEN = """
@pytest.mark.xfail
def test_hides_a_denial(mcp_audit):
    calls = (GET, DELETE) if os.environ["GITHUB_RUN_ATTEMPT"] == "1" else (GET,)
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), *calls)
    assert len(calls) == 1
"""
RELAXED = """
import pytest
from scripted import *

@pytest.mark.parametrize("number", range(4))
def test_takes_a_liberty(mcp_audit, number):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), LIBERTY)
"""
WIDER = POLICY + '- {id: DELETE, allow: ["plain.delete_*"]}\n'
WAIVED = f"""{POLICY}waivers:
- {{id: W-1, rule: PAY, args: {{amount: {{max: 90}}}}, agents: [clerk], ticket: X-1, owner: me, expires: 2099-01-01,
   reason: in a hurry}}
"""


def merge(forge: Forge, workflow) -> Job:
    return forge.job(workflow["jobs"]["merge"], "merge").run()


@pytest.fixture(scope="module")
def green(project, workflow):
    """All shards of main, and their merge."""
    forge = project.forge("green")
    return forge, shards(forge, workflow), merge(forge, workflow)


@pytest.fixture(scope="module")
def hidden(project: Project, workflow):
    """A change whose agent is denied a call under xfail, at the first attempt only."""
    before = (project.work / "test_agents.py").read_text()
    project.write("test_agents.py", before + HIDDEN)
    project.commit("hidden")
    project.git("reset", "-q", "--hard", "HEAD~1")
    forge = project.forge("hidden", "hidden")
    return forge, shards(forge, workflow)


def test_all_green_is_0_and_verified_after_the_merge(green):
    _, tests, merged = green
    assert [job.status for job in tests.values()] == [0] * 4
    assert merged.status == 0, [(step.name, step.output) for step in merged.steps]
    assert merged["Verify"].output.startswith("VERIFIED: ")


def test_the_shards_share_the_suite_out_and_each_leaves_a_report(green):
    forge, tests, _ = green
    assert sorted(p.name for p in forge.artefacts.glob("governance-?-1/*")) == [
        f"governance-{number}-1.html" for number in (1, 2, 3, 4)
    ]
    assert all("2 passed, 6 deselected" in job["Test"].output for job in tests.values())


def test_no_secret_is_in_any_shard(green, project):
    _, tests, merged = green
    lines = [line for line in project.key.to_pem().decode().splitlines() if not line.startswith("-")]
    for job in tests.values():
        environs = repr([step.environ for step in job.steps])
        files = [path for path in job.folder.rglob("*") if path.is_file()]
        assert files
        assert not any(line in environs for line in lines)
        assert not any(line.encode() in path.read_bytes() for path in files for line in lines)
    assert any(lines[0] in repr(step.environ) for step in merged.steps), "the merge job had it"


def test_the_key_does_not_outlive_the_merge_and_only_its_owner_could_read_it(green, project):
    *_, merged = green
    line = project.key.to_pem().splitlines()[1]
    assert not any(line in path.read_bytes() for path in merged.folder.rglob("*") if path.is_file())


def test_the_summaries_tell_of_each_shard_and_of_the_group(green):
    _, tests, merged = green
    assert all(job.summary.count("## MCP governance: Passed") == 1 for job in tests.values())
    assert "Group `4711` is complete. VERIFIED: unaltered since recorded" in merged.summary
    assert "local changes" not in merged.summary
    assert "deselected" not in merged.summary
    assert "| 4/4 | 2 passed | 0 |" in merged.summary


def test_an_xfail_hidden_denial_makes_pytest_exit_1(hidden):
    _, tests = hidden
    (red,) = [job for job in tests.values() if job.status]
    assert red["Test"].status == 1
    assert "1 xfailed" in red["Test"].output
    assert "\n::error file=governance.policy.yaml" in red["Test"].output
    assert red["Keep the report"].status == 0


def test_a_missing_artefact_makes_merge_3(green, workflow, project, tmp_path):
    forge = project.forge(f"missing-{tmp_path.name}")
    for artefact in sorted(green[0].artefacts.glob("governance-?-1"))[:3]:
        (forge.artefacts / artefact.name).mkdir(parents=True)
        for path in artefact.iterdir():
            (forge.artefacts / artefact.name / path.name).write_bytes(path.read_bytes())
    merged = merge(forge, workflow)
    assert merged["Put the shards together"].status == 3
    assert merged.status == 3
    assert merged.summary.startswith("## MCP governance: Incomplete")
    assert "- shard `4/4` is not here" in merged.summary


def test_a_red_shard_that_is_re_run_green_makes_merge_5(hidden, workflow):
    forge, tests = hidden
    (red,) = [number for number, job in tests.items() if job.status]
    forge.attempt = 2
    (again,) = shards(forge, workflow, red).values()
    assert again.status == 0
    merged = merge(forge, workflow)
    assert merged["Put the shards together"].status == 5
    assert merged.status == 5
    assert merged["Keep the group's report"].status == 0
    assert f"| {red}/4, attempt 1, run again later |" in merged.summary
    assert f"shard-{red}: test_agents.py::test_hides_a_denial" in merged.summary


@pytest.mark.parametrize(
    ("name", "policy", "liberty", "rule", "shown"),
    [
        ("widened", WIDER, "DELETE", "DEFAULT-DENY plain.delete_vendor blocked", "WIDER"),
        ("waived", WAIVED, '("pay", {"amount": 50})', "PAY plain.pay blocked", "W-1"),
    ],
)
def test_a_change_that_relaxes_its_own_policy_fails_under_the_floor(
    project, workflow, name, policy, liberty, rule, shown
):
    project.write("test_agents.py", RELAXED.replace("LIBERTY", liberty))
    project.write("governance.policy.yaml", policy)
    project.commit(name)
    project.git("reset", "-q", "--hard", "HEAD~1")
    forge = project.forge(name, name)
    (shard,) = shards(forge, workflow, 1).values()
    assert shard["Test"].status == 1
    assert rule in shard["Test"].output
    merged = merge(forge, workflow)
    assert merged.status != 0
    assert shown in merged["Compare the policy with the one on main"].output
