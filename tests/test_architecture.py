"""The arrows between packages, read from the imports; and what may not be imported where, or not at load time."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "pytest_mcp_governance"
ROOT = Path(__file__).parents[1] / PACKAGE

# Each may import what stands before it, nothing after it.
ORDER = ("errors", "evidence", "policy", "session", "report", "run", "adopt", "plugin", "cli")
# Narrower than the order.
FORBIDDEN_PACKAGES = {"policy": {"evidence"}, "report": {"session", "policy"}}
FORBIDDEN_MODULES = {
    "errors": {"*"},
    "evidence": {"pytest", "mcp", "jinja2", "ruamel", "yaml", "playwright"},
    "policy": {"pytest", "mcp", "jinja2", "nacl", "playwright", "subprocess", "socket"},
    "report": {"mcp", "playwright"},
}
ONLY_IN = {"mcp": {"session/client.py", "session/memory.py"}, "ruamel": {"policy/loader.py"}}


@dataclass(frozen=True)
class Import:
    """One import: where it stands, what it names, whether it ever runs, and whether loading the module runs it."""

    file: str
    line: int
    target: str
    runs: bool
    at_load: bool

    @property
    def home(self) -> str:
        return self.file.split("/")[0].removesuffix(".py")

    @property
    def package(self) -> str | None:
        """Which of our packages is imported; None for anything else."""
        parts = self.target.split(".")
        return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def imports() -> Iterator[Import]:
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _walk(tree.body, path.relative_to(ROOT).as_posix(), runs=True, at_load=True)


def _walk(nodes: Iterable[ast.AST], file: str, *, runs: bool, at_load: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, runs, at_load)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, file)
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}", runs, at_load)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _walk(node.body, file, runs=False, at_load=False)
            yield from _walk(node.orelse, file, runs=runs, at_load=at_load)
        else:
            deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            children = ast.iter_child_nodes(node)
            yield from _walk(children, file, runs=runs, at_load=at_load and not deferred)


def _absolute(node: ast.ImportFrom, file: str) -> str:
    if not node.level:
        return node.module or ""
    folders = [PACKAGE, *file.split("/")[:-1]]
    return ".".join([*folders[: len(folders) - node.level + 1], *([node.module] if node.module else [])])


ALL = tuple(imports())


def rank(package: str) -> int:
    return ORDER.index(package)


def listed(found: list[Import]) -> str:
    return "\n".join(map(str, found))


def test_the_imports_of_every_package_that_exists_were_read():
    read = {found.home for found in ALL}
    there = {p.name for p in ROOT.iterdir() if p.is_dir() and any(p.rglob("*.py")) and p.name in ORDER}
    assert {"evidence", "policy", "session", "plugin"} <= there
    assert there <= read


def test_no_module_imports_a_package_further_down_the_list():
    wrong = [
        found
        for found in ALL
        if found.home in ORDER and found.package in ORDER and rank(found.package) > rank(found.home)
    ]
    assert not wrong, listed(wrong)


def test_every_imported_package_has_a_place_in_the_list():
    known = {*ORDER, "strategies", "testing"}
    wrong = [found for found in ALL if found.home in ORDER and found.package not in {None, *known}]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize(("home", "forbidden"), FORBIDDEN_PACKAGES.items())
def test_a_package_that_stays_apart_does_not_import_its_neighbour(home: str, forbidden: set[str]):
    wrong = [found for found in ALL if found.home == home and found.package in forbidden]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize(("home", "forbidden"), FORBIDDEN_MODULES.items())
def test_a_package_does_not_know_what_is_not_its_business(home: str, forbidden: set[str]):
    wrong = [
        found for found in ALL if found.home == home and ("*" in forbidden or found.target.split(".")[0] in forbidden)
    ]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize(("module", "homes"), ONLY_IN.items())
def test_a_library_is_imported_in_its_one_place_only(module: str, homes: set[str]):
    wrong = [found for found in ALL if found.runs and found.target.split(".")[0] == module and found.file not in homes]
    assert not wrong, listed(wrong)


def test_loading_the_plugin_imports_the_standard_library_and_pytest_only():
    allowed = {*sys.stdlib_module_names, "pytest"}
    loaded = {"__init__", "errors", "plugin"}
    wrong = [
        found
        for found in ALL
        if found.home in loaded
        and found.at_load
        and not (found.target.split(".")[0] in allowed or found.package in {"errors", "plugin"})
    ]
    assert not wrong, listed(wrong)


def test_loading_the_session_does_not_load_the_sdk():
    wrong = [f for f in ALL if f.home == "session" and f.at_load and f.target.split(".")[0] in {"mcp", "playwright"}]
    assert not wrong, listed(wrong)


def test_nothing_reaches_into_pytests_private_modules():
    wrong = [found for found in ALL if found.target.split(".")[0] == "_pytest"]
    assert not wrong, listed(wrong)
