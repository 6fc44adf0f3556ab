"""The GitLab example: its own script lines, in shards and a merge job, on this machine."""

from pathlib import Path

import pytest

from tests.ci.conftest import Project
from tests.ci.workflow import Job, load


@pytest.fixture(scope="module")
def pipeline():
    return load(Path(__file__).parents[2] / "examples" / "ci" / "gitlab.yml")


def run(project: Project, pipeline, name: str, before: dict[str, object] | None = None, **variables: str) -> Job:
    """A job as GitLab runs it: a clone, its artefacts' predecessors, its script in one shell, its artefacts."""
    definition = pipeline[name]
    forge = project.forge("gitlab")
    forge.environ = {"GITLAB_CI": "true", "CI_PIPELINE_ID": "88", "CI_PROJECT_PATH": "acme/agents", **variables}
    index = variables.get("CI_NODE_INDEX", "merge")
    steps = [
        {"uses": "actions/checkout@v4", "with": {"fetch-depth": pipeline[".governance"]["variables"]["GIT_DEPTH"]}},
        *([before] if before else []),
        {"name": "script", "shell": "bash", "run": "\n".join(definition["script"])},
        {
            "if": "always()",
            "uses": "actions/upload-artifact@v4",
            "with": {"name": f"governance-{index}", "path": definition["artifacts"]["paths"][0]},
        },
    ]
    return forge.job({"steps": steps}, f"{name}-{index}").run()


def test_the_shards_say_themselves_which_they_are_and_the_merge_is_verified(project, pipeline):
    total = pipeline["governance-test"]["parallel"]
    for index in range(1, total + 1):
        job = run(project, pipeline, "governance-test", CI_NODE_INDEX=str(index), CI_NODE_TOTAL=str(total))
        assert job.status == 0, job["script"].output
        assert (job.workspace / "junit.xml").is_file()
    key = project.folder / "file-variable.pem"
    key.touch(mode=0o600)
    key.write_bytes(project.key.to_pem())
    needs = {
        "uses": "actions/download-artifact@v4",
        "with": {"pattern": "governance-*", "path": ".", "merge-multiple": True},
    }
    merged = run(
        project,
        pipeline,
        "governance-merge",
        needs,
        GOVERNANCE_SIGNING_KEY=str(key),
        GOVERNANCE_FINGERPRINT=project.key.public.fingerprint,
    )
    assert merged.status == 0, merged["script"].output
    assert "VERIFIED: " in (merged.workspace / "governance.md").read_text()
