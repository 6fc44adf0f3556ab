"""The hooks for pre-commit, run by pre-commit itself, offline.

pre-commit would install `language: python` from an index, so each hook runs here as `repo: local`, `language: system`:
everything else about it is what .pre-commit-hooks.yaml says.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.conftest import Project
from tests.ci.workflow import load
from tests.plugin.suites import SERVERS

MANIFEST = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
HOOKS = {hook["id"]: hook for hook in load(MANIFEST)}
SOUND = """\
governance: 1
policy: vendors
owner: {team: finance-risk, contact: risk@acme.example}
rules:
- {id: READ, allow: ["plain.get_*"]}
"""
LINT, LOCK = "mcp-governance-policy-lint", "mcp-governance-lock-check"


def pre_commit(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MCP_GOVERNANCE", "PRE_COMMIT"))}
    environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(at.parent / "pre-commit"),
        "HOME": str(at.parent),
    }
    command = [sys.executable, "-m", "pre_commit", *arguments, "--color=never"]
    return subprocess.run(command, cwd=at, env=environ, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def committed(tmp_path: Path):
    """Commit with one hook in place: what pre-commit said, and whether it let the files through."""
    project = Project(tmp_path).make()

    def commit(hook: str, **files: str) -> subprocess.CompletedProcess[str]:
        local = {"repo": "local", "hooks": [HOOKS[hook] | {"language": "system"}]}
        project.write(".pre-commit-config.yaml", json.dumps({"repos": [local]}))
        for name, text in files.items():
            project.write(name.replace("__", "."), text)
        project.git("add", "-A")
        return pre_commit("run", hook, at=project.work)

    return commit


def test_pre_commit_reads_the_manifest(tmp_path):
    done = pre_commit("validate-manifest", str(MANIFEST), at=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_commands_are_ours():
    assert {hook["entry"] for hook in HOOKS.values()} == {"mcp-governance policy lint", "mcp-governance lock --check"}


def test_the_lint_hook_lets_a_sound_policy_through_and_stops_one_with_a_mistake(committed):
    good = committed(LINT, vendors__policy__yaml=SOUND)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "Passed" in good.stdout
    bad = committed(LINT, payables__policy__yaml=SOUND.replace("allow", "alow"))
    assert bad.returncode == 1
    assert "payables.policy.yaml:5" in bad.stdout
    assert "alow" in bad.stdout


def test_the_lock_hook_says_when_a_servers_tools_are_not_those_of_the_lock_file(committed, tmp_path):
    work = tmp_path / "author"
    lock = [Path(sys.executable).with_name("mcp-governance"), "lock"]
    subprocess.run(lock, cwd=work, check=True, capture_output=True, timeout=60)
    good = committed(LOCK)
    assert good.returncode == 0, good.stdout + good.stderr
    server = work / "server.py"
    server.write_text((SERVERS / "plain.py").read_text().replace('"crash")', '"crash", "wipe")'))
    servers = {"plain": {"command": sys.executable, "args": [str(server)]}}
    bad = committed(LOCK, mcp__json=json.dumps({"mcpServers": servers}))
    assert bad.returncode == 1
    assert "wipe" in bad.stdout
