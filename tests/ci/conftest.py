"""A repository with a small audited suite on a bare remote, as a forge has it, and a key that only a secret holds."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.keys import SigningKey
from tests.ci.workflow import Forge, Job, load
from tests.plugin.suites import AGENT, SERVERS

POLICY = """\
governance: 1
policy: vendors
rules:
- {id: READ, allow: ["plain.get_*"]}
- {id: PAY, allow: [plain.pay], args: {amount: {max: 10}}}
"""
GREEN = "".join(
    f"""
def test_reads_{number}(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET)
"""
    for number in range(8)
)
INI = """\
[pytest]
addopts =
    -q -p no:cacheprovider -p no:randomly -p no:playwright -p no:base_url -p no:asyncio -p no:anyio -p no:platformdirs
    -p no:pytest_cov -p no:timeout -p no:hypothesispytest
"""
IDENTITY = ("-c", "user.name=ci", "-c", "user.email=ci@acme.example", "-c", "init.defaultBranch=main")


@dataclass
class Project:
    """A work tree that pushes to a bare remote, and the forge around it."""

    folder: Path
    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def work(self) -> Path:
        return self.folder / "author"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    def git(self, *arguments: str, at: Path | None = None) -> None:
        subprocess.run(["git", *IDENTITY, *arguments], cwd=at or self.work, check=True, capture_output=True)

    def make(self) -> "Project":
        self.work.mkdir(parents=True)
        self.git("init", "-q")
        servers = {"plain": {"command": sys.executable, "args": [str(SERVERS / "plain.py")]}}
        self.write("mcp.json", json.dumps({"mcpServers": servers}))
        self.write("governance.policy.yaml", POLICY)
        self.write("pytest.ini", INI)
        self.write("requirements.txt", "")
        self.write(".gitignore", "__pycache__/\n")
        self.write("scripted.py", AGENT)
        self.write("test_agents.py", "import os, pytest\nfrom scripted import *\n" + GREEN)
        self.commit("main")
        return self

    def write(self, name: str, text: str) -> None:
        (self.work / name).write_text(text, encoding="utf-8")

    def commit(self, branch: str) -> None:
        """Commit everything and push it as a branch."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", branch)
        if not self.remote.exists():
            self.git("clone", "-q", "--bare", str(self.work), str(self.remote), at=self.folder)
        self.git("push", "-q", str(self.remote), f"HEAD:refs/heads/{branch}")

    def forge(self, name: str, branch: str = "main") -> Forge:
        return Forge(
            self.folder / name,
            self.remote,
            branch,
            secrets={"GOVERNANCE_SIGNING_KEY": self.key.to_pem().decode()},
            variables={"GOVERNANCE_FINGERPRINT": self.key.public.fingerprint},
        )


@pytest.fixture(scope="session")
def workflow():
    return load(Path(__file__).parents[2] / "examples" / "ci" / "github.yml")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project")).make()


def shards(forge: Forge, workflow, *numbers: int) -> dict[int, Job]:
    """Run the test job for each of the matrix's shards, or for those named."""
    test = workflow["jobs"]["test"]
    wanted = numbers or test["strategy"]["matrix"]["shard"]
    with ThreadPoolExecutor(2) as machines:
        jobs = machines.map(lambda number: forge.job(test, f"test-{number}", {"shard": number}).run(), wanted)
        return dict(zip(wanted, jobs, strict=True))
