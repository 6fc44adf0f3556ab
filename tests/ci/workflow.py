"""Runs the jobs of a GitHub workflow, or of a composite action, on this machine and offline.

Their `run:` steps go to bash as they stand; the few actions that they use are made of folders and a bare git
repository. Leaves out everything that these files do not use: an expression or an action that is not known is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_PIP = """\
#!/bin/sh
# Everything is installed already: says what would have been, and does nothing.
echo "pip $*"
"""


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@dataclass
class Forge:
    """What a forge keeps between jobs: the repository, artefacts, secrets and variables.

    `branch` is what a checkout gives: the change under test.
    """

    folder: Path
    remote: Path
    branch: str = "main"
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    run_id: str = "4711"
    attempt: int = 1
    environ: Mapping[str, str] | None = None  # of its jobs, in place of GitHub's

    @property
    def artefacts(self) -> Path:
        return self.folder / "artefacts"

    def job(
        self,
        definition: Mapping[str, Any],
        name: str,
        matrix: Mapping[str, object] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Job:
        """A fresh machine for one job."""
        names = {f"matrix.{key}": str(value) for key, value in (matrix or {}).items()}
        names |= {f"inputs.{key}": value for key, value in (inputs or {}).items()}
        return Job(self, definition, self.folder / f"{name}-{self.attempt}", names)


@dataclass
class Step:
    """What became of one step; `status` is None where it was skipped."""

    name: str
    status: int | None
    output: str
    environ: Mapping[str, str] = field(repr=False)


class Job:
    """One job: its checkout, its variables, and the steps that were run."""

    def __init__(self, forge: Forge, definition: Mapping[str, Any], folder: Path, names: Mapping[str, str]) -> None:
        self.forge, self.folder, self.steps = forge, folder, list[Step]()
        self.workspace, self._temp, self._bin = (folder / name for name in ("work", "temp", "bin"))
        for made in (self.workspace, self._temp, self._bin):
            made.mkdir(parents=True)
        (self._bin / "pip").write_text(_PIP)
        (self._bin / "pip").chmod(0o755)
        self._names = {
            **names,
            **{f"vars.{key}": value for key, value in forge.variables.items()},
            **{f"secrets.{key}": value for key, value in forge.secrets.items()},
            "github.run_attempt": str(forge.attempt),
        }
        self._definition = definition
        self._failed = False

    def run(self) -> Job:
        for step in self._definition["steps"]:
            self._step(step)
        return self

    @property
    def status(self) -> int:
        """Of the first step that failed; 0 where none did."""
        return next((step.status for step in self.steps if step.status), 0)

    @property
    def summary(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self._temp.glob("summary-*.md")))

    def __getitem__(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _step(self, step: Mapping[str, Any]) -> None:
        name = self._filled(step.get("name") or step.get("uses") or "run")
        environ = self._environ(step)
        if not self._is_due(str(step.get("if", "success()"))):
            self.steps.append(Step(name, None, "", environ))
            return
        if "uses" in step:
            given = {key: self._filled(value) for key, value in step.get("with", {}).items()}
            status, output = self._use(str(step["uses"]), given)
        else:
            status, output = self._bash(step, environ)
        self.steps.append(Step(name, status, output, environ))
        self._failed |= status != 0

    def _environ(self, step: Mapping[str, Any]) -> dict[str, str]:
        given = {**self._definition.get("env", {}), **step.get("env", {})}
        return {
            "PATH": os.pathsep.join((str(self._bin), str(Path(sys.executable).parent), os.environ["PATH"])),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "CI": "true",
            **(self._github() if self.forge.environ is None else self.forge.environ),
            **{key: self._filled(value) for key, value in given.items()},
        }

    def _github(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REF": f"refs/heads/{self.forge.branch}",
            "GITHUB_REPOSITORY": "acme/agents",
            "GITHUB_RUN_ATTEMPT": str(self.forge.attempt),
            "GITHUB_RUN_ID": self.forge.run_id,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_STEP_SUMMARY": str(self._temp / f"summary-{len(self.steps):02}.md"),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self._temp),
        }

    def _bash(self, step: Mapping[str, Any], environ: dict[str, str]) -> tuple[int, str]:
        script = str(step["run"])
        if _EXPRESSION.search(script):
            raise AssertionError(f"text of the workflow is pasted into a script: {script}")
        flags = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        done = subprocess.run(
            ["bash", *flags, "-c", script],
            cwd=self.workspace / self._filled(step.get("working-directory", ".")),
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def _is_due(self, condition: str) -> bool:
        match _EXPRESSION.sub(r"\1", condition):
            case "success()":
                return not self._failed
            case "always()" | "!cancelled()":
                return True
        raise AssertionError(f"unknown condition: {condition}")

    def _filled(self, value: object) -> str:
        text = "true" if value is True else "false" if value is False else str(value)
        return _EXPRESSION.sub(lambda match: self._value(match[1]), text)

    def _value(self, expression: str) -> str:
        """`name`, or `name || 'otherwise'`; a secret that is not set is empty."""
        name, _, otherwise = expression.partition(" || ")
        if name not in self._names and not name.startswith(("secrets.", "vars.")):
            raise AssertionError(f"unknown expression: {expression}")
        return self._names.get(name, "") or otherwise.strip("'")

    # -- the actions -----------------------------------------------------------------------------------------------

    def _use(self, action: str, given: Mapping[str, str]) -> tuple[int, str]:
        match action.partition("@")[0]:
            case "actions/setup-python":
                return 0, ""
            case "actions/checkout":
                return self._checkout(given)
            case "actions/upload-artifact":
                return self._upload(given)
            case "actions/download-artifact":
                return self._download(given)
        raise AssertionError(f"unknown action: {action}")

    def _checkout(self, given: Mapping[str, str]) -> tuple[int, str]:
        depth = [] if given.get("fetch-depth") == "0" else ["--depth", "1"]
        place = self.workspace / given.get("path", ".")
        command = ["git", "clone", "-q", *depth, "--branch", self.forge.branch, self.forge.remote.as_uri(), str(place)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    def _upload(self, given: Mapping[str, str]) -> tuple[int, str]:
        found = sorted(self.workspace.glob(given["path"]))
        place = self.forge.artefacts / given["name"]
        if place.exists():
            return 1, f"an artefact of the name {given['name']} exists already"
        if not found:
            return int(given.get("if-no-files-found") == "error"), f"no files at {given['path']}"
        place.mkdir(parents=True)
        for path in found:
            shutil.copy2(path, place)
        return 0, "\n".join(path.name for path in found)

    def _download(self, given: Mapping[str, str]) -> tuple[int, str]:
        place = self.workspace / given["path"]
        place.mkdir(parents=True, exist_ok=True)
        found = sorted(self.forge.artefacts.glob(given["pattern"]))
        assert given["merge-multiple"] == "true"
        for artefact in found:
            for path in artefact.iterdir():
                shutil.copy2(path, place)
        return 0, "\n".join(artefact.name for artefact in found)
