"""What agents, servers, tools and data scopes many projects configure or declare, and which of them evidence ever saw.

The difference is the governance gap: what nobody has yet shown to have been audited. Reads files; starts, writes and
prints nothing. What evidence says counts only where it verifies.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.adopt import configurations
from pytest_mcp_governance.adopt.configurations import Configuration
from pytest_mcp_governance.adopt.rewiring import evidence_name
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.lockfile import LOCK_NAME, read_lock
from pytest_mcp_governance.policy.matching import parse_glob
from pytest_mcp_governance.report.model import Evidence, Text
from pytest_mcp_governance.run.find import find_reports
from pytest_mcp_governance.run.published import verified

Kind = Literal["agent", "server", "tool", "data scope"]
KINDS: tuple[Kind, ...] = ("agent", "server", "tool", "data scope")
MAX_FOLDERS = 100_000
MAX_BYTES = 4 * 1024 * 1024
_SKIPPED = frozenset(
    {".git", ".hg", "node_modules", "__pycache__", ".tox", ".nox", "site-packages", ".mcp-governance"}
    | {
        ".cursor",
        ".vscode",
        ".gemini",
        ".codex",
        ".windsurf",
    }  # found from the folder above
)
_CLIENTS: Mapping[str, str] = {
    "claude-code": "Claude Code",
    "claude-desktop": "Claude Desktop",
    "cursor": "Cursor",
    "vscode": "VS Code",
    "vscode-settings": "VS Code",
    "windsurf": "Windsurf",
    "gemini": "Gemini CLI",
    "codex": "Codex",
    "mcp.json": "the agent",
}
_NAMED_BY = ("gateway", "connect", "context", "watch", "mcp_governance")


@dataclass(frozen=True, slots=True)
class Thing:
    """One agent, server, tool or data scope of one project.

    Args:
        project: the project's folder, relative to the path that was searched, or "." for that itself.
        kind: what it is.
        name: as declared, a pattern for some agents; or as seen.
        declared: where, sorted; empty for what was only seen.
        seen: ids of the runs that saw it, sorted; empty for the gap.
    """

    project: str
    kind: Kind
    name: str
    declared: tuple[str, ...]
    seen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """A report or run folder: what it verifies as, and whether it counts."""

    path: str
    run: str
    outcome: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that was found; `problems` are files that cannot be used, in words."""

    configurations: tuple[str, ...]
    policies: tuple[str, ...]
    evidence: tuple[Examined, ...]
    things: tuple[Thing, ...]
    problems: tuple[str, ...]

    @property
    def gap(self) -> tuple[Thing, ...]:
        """What is configured or declared and was never seen in evidence."""
        return tuple(thing for thing in self.things if thing.declared and not thing.seen)

    @property
    def undeclared(self) -> tuple[Thing, ...]:
        """What evidence saw and nothing declares."""
        return tuple(thing for thing in self.things if thing.seen and not thing.declared)


def take_inventory(paths: Sequence[Path], evidence: Sequence[Path] = ()) -> Inventory:
    """Search folders.

    Args:
        paths: folders of one or many repositories; links in them are not followed.
        evidence: reports or run folders that lie elsewhere; they speak of every project.
    """
    search = _Search()
    for path in paths:
        search.folder(path)
    for named in evidence:
        search.evidence(named, None, str(named))
    return search.inventory()


@dataclass(slots=True)
class _Project:
    """What one project declares, and what its evidence saw: (kind, name) -> where."""

    declared: dict[tuple[Kind, str], set[str]] = field(default_factory=dict)
    seen: dict[tuple[Kind, str], set[str]] = field(default_factory=dict)
    # An agent that only a configuration implies counts as seen where one of its servers was called.
    implied: dict[str, frozenset[str]] = field(default_factory=dict)

    def declare(self, kind: Kind, name: str, where: str) -> None:
        self.declared.setdefault((kind, name), set()).add(where)


class _Search:
    """One search, over all its folders."""

    def __init__(self) -> None:
        self._projects: dict[str, _Project] = {}
        self._everywhere: dict[tuple[Kind, str], set[str]] = {}
        self._configurations: list[str] = []
        self._policies: list[str] = []
        self._evidence: dict[str, Examined] = {}
        self._problems: list[str] = []
        self._folders = 0

    def folder(self, top: Path) -> None:
        """Search one folder and those in it."""
        project_of: dict[Path, str] = {}
        for current, folders, files in os.walk(
            top, onerror=lambda error: self._problem(str(error.filename), "no access")
        ):
            here = Path(current)
            self._folders += 1
            if self._folders > MAX_FOLDERS:
                self._problem(str(top), f"more than {MAX_FOLDERS} folders; the rest was not searched")
                return
            inherited = project_of.get(here.parent, ".")
            project = _relative(here, top) if ".git" in folders or ".git" in files else inherited
            project_of[here] = project if here != top else "."
            self._look(here, files, project_of[here], top)
            if ".mcp-governance" in folders:
                self.evidence(here / ".mcp-governance" / "runs", project_of[here], _relative(here, top))
            folders[:] = sorted(name for name in folders if name not in _SKIPPED and not _is_environment(here / name))

    def _look(self, here: Path, files: list[str], project: str, top: Path) -> None:
        for configuration in configurations.find(here):
            self._configuration(configuration, project, top)
        for name in sorted(files):
            path, where = here / name, _relative(here / name, top)
            if name.endswith((".policy.yaml", ".policy.yml")):
                self._policy(path, project, where)
            elif name == LOCK_NAME:
                self._lock(path, project, where)
            elif name.endswith(".py") and (
                name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
            ):
                self._tests(path, project, where)
            elif name.endswith(".html") and name.startswith("governance-"):
                self.evidence(path, project, where)

    def _configuration(self, configuration: Configuration, project: str, top: Path) -> None:
        where = _relative(configuration.path, top)
        self._configurations.append(where)
        for problem in configuration.problems:
            self._problem(f"{where}:{problem.line}" if problem.line else where, problem.text)
        servers = [server for server in configuration.servers if not server.disabled]
        for server in servers:
            note = "" if server.transport == "stdio" else f" ({server.transport}: not audited yet)"
            self._project(project).declare("server", server.name, where + note)
        if servers:
            agent = f"{_CLIENTS[configuration.kind]} behind {where}"
            self._project(project).declare("agent", agent, where)
            self._project(project).implied[agent] = frozenset(server.name for server in servers)

    def _policy(self, path: Path, project: str, where: str) -> None:
        text = self._text(path, where)
        if text is None:
            return
        try:
            policy = load_policy(text, name=where)
        except GovernanceError as error:
            self._problem(where, str(error).removeprefix(f"{where}:"))
            return
        self._policies.append(where)
        names = {glob.text for globs in policy.agents.values() for glob in globs}
        names |= {name for rule in policy.rules for name in rule.to_names if name not in policy.agents}
        for name in names:
            self._project(project).declare("agent", name, where)
        for scope in policy.data:
            self._project(project).declare("data scope", scope, where)

    def _lock(self, path: Path, project: str, where: str) -> None:
        text = self._text(path, where)
        if text is None:
            return
        try:
            lock = read_lock(text, where)
        except GovernanceError as error:
            self._problem(where, str(error))
            return
        for tool in lock.tools:
            self._project(project).declare("tool", f"{tool.server}.{tool.name}", where)

    def _tests(self, path: Path, project: str, where: str) -> None:
        text = self._text(path, where)
        if text is None:
            return
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # not ours to complain about: pytest does
        for name in _agents_in(tree):
            self._project(project).declare("agent", name, where)

    def evidence(self, path: Path, project: str | None, where: str) -> None:
        """Verify reports and run folders; what verifies is counted for `project`, or for all where it is None."""
        found = find_reports([path])
        for report in found.reports:
            checked, told = verified(report)
            shown = (
                where
                if report == path
                else f"{where}/{report.name}"
                if project is None
                else _under(report, path, where)
            )
            counts = told is not None
            self._evidence.setdefault(f"{shown}", Examined(shown, checked.run, checked.outcome.name, counts))
            if told is not None:
                target = self._everywhere if project is None else self._project(project).seen
                for thing in _seen(told.evidence):
                    target.setdefault(thing, set()).add(checked.run)
        if project is None:
            for text in found.absent:
                self._problem(str(path), text)

    def inventory(self) -> Inventory:
        things = [thing for name in sorted(self._projects) for thing in self._things(name, self._projects[name])]
        evidence = tuple(self._evidence[key] for key in sorted(self._evidence))
        return Inventory(
            tuple(sorted(self._configurations)),
            tuple(sorted(self._policies)),
            evidence,
            tuple(things),
            tuple(sorted(self._problems)),
        )

    def _things(self, name: str, project: _Project) -> Iterator[Thing]:
        seen = {thing: set(runs) for thing, runs in project.seen.items()}
        for thing, elsewhere in self._everywhere.items():
            if thing in project.declared or _covers(project, thing):
                seen.setdefault(thing, set()).update(elsewhere)
        matched: set[tuple[Kind, str]] = set()
        for kind, declared in sorted(project.declared, key=lambda thing: (KINDS.index(thing[0]), thing[1])):
            runs: set[str] = set()
            for (seen_kind, seen_name), found in seen.items():
                if seen_kind == kind and _matches(kind, declared, seen_name):
                    matched.add((seen_kind, seen_name))
                    runs |= found
            for server in project.implied.get(declared, ()) if kind == "agent" else ():
                runs |= seen.get(("server", server), set()) | seen.get(("server", evidence_name(server)), set())
            yield Thing(name, kind, declared, tuple(sorted(project.declared[kind, declared])), tuple(sorted(runs)))
        for kind, undeclared in sorted(seen.keys() - matched, key=lambda thing: (KINDS.index(thing[0]), thing[1])):
            yield Thing(name, kind, undeclared, (), tuple(sorted(seen[kind, undeclared])))

    def _project(self, name: str) -> _Project:
        return self._projects.setdefault(name, _Project())

    def _text(self, path: Path, where: str) -> str | None:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                self._problem(where, f"larger than {MAX_BYTES >> 20} MiB; it is not read")
                return None
            return data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self._problem(where, f"cannot be read ({type(error).__name__})")
            return None

    def _problem(self, where: str, text: str) -> None:
        self._problems.append(f"{where}: {text.strip().splitlines()[0] if text.strip() else 'unusable'}")


def _seen(evidence: Evidence) -> Iterator[tuple[Kind, str]]:
    """What a run saw: whoever called, what was called, and the data that was really accessed."""
    for call in evidence.calls:
        request = call.request
        yield "agent", request.agent
        yield "server", request.server
        tool = _plain(request.tool)
        if tool:
            yield "tool", f"{request.server}.{tool}"
    for access in evidence.accesses:
        if access.scope and access.status == "in" and not access.scope.startswith("builtin."):
            yield "data scope", access.scope


def _plain(text: Text | None) -> str:
    return text if isinstance(text, str) else ""


def _covers(project: _Project, thing: tuple[Kind, str]) -> bool:
    return any(kind == thing[0] and _matches(kind, name, thing[1]) for kind, name in project.declared)


def _matches(kind: Kind, declared: str, seen: str) -> bool:
    if declared == seen or (kind == "server" and evidence_name(declared) == seen):
        return True
    if kind != "agent":
        return False
    try:
        return parse_glob(declared).matches(seen)
    except ValueError:
        return False


def _agents_in(tree: ast.AST) -> Iterator[str]:
    """Agents that tests name: `agent="…"` of a gateway, a connection, a context or the marker."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in _NAMED_BY:
            continue
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "agent" and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def _is_environment(path: Path) -> bool:
    return os.path.islink(path) or (path / "pyvenv.cfg").exists()


def _relative(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)


def _under(report: Path, path: Path, where: str) -> str:
    return f"{where}/{report.relative_to(path).as_posix()}" if report.is_relative_to(path) else str(report)
