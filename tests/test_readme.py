"""The README's quickstart does what the README says, taken from its own code blocks."""

import os
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
FILES = ("books_server.py", "mcp.json", "governance.policy.yaml", "test_books.py")


def quickstart() -> dict[str, str]:
    """Each file that the quickstart names, with the code block that follows the name."""
    text = README.read_text(encoding="utf-8")
    text = text[text.index("## Quickstart") :]
    files = {}
    for name in FILES:
        block = re.compile(rf"`{re.escape(name)}`.*?```\w+\n(.*?)```", re.DOTALL).search(text)
        assert block is not None, f"the quickstart has no block for {name}"
        files[name] = block[1]
    if metadata.version("mcp").startswith("1."):
        files["books_server.py"] = files["books_server.py"].replace(
            "from mcp.server import MCPServer", "from mcp.server.fastmcp import FastMCP as MCPServer"
        )
    return files


@pytest.fixture(autouse=True)
def _environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python` and `mcp-governance` are those of the environment that the tests run in, as in an activated one."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


def test_the_quickstart_runs_and_its_report_is_consistent(pytester: pytest.Pytester) -> None:
    for name, text in quickstart().items():
        (pytester.path / name).write_text(text, encoding="utf-8")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    verified = pytester.run("mcp-governance", "verify", "governance-report.html")
    assert verified.ret == 4
    verified.stdout.fnmatch_lines(["*UNTRUSTED*"])


def test_what_the_quickstart_says_of_a_denied_call_is_true(pytester: pytest.Pytester) -> None:
    for name, text in quickstart().items():
        (pytester.path / name).write_text(text.replace('{"id": "v1"}', '{"id": "../v1"}'), encoding="utf-8")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*READ*"])


@pytest.mark.parametrize("name", FILES)
def test_each_file_of_the_quickstart_fits_on_a_third_of_a_screen(name: str) -> None:
    assert len(quickstart()[name].splitlines()) <= 14
