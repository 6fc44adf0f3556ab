"""What the README tells a newcomer to type works as written."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def blocks(section: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block under a heading."""
    text = README.read_text(encoding="utf-8")
    body = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_quickstart_ends_with_a_report_that_is_consistent_and_signed_by_nobody_known(tmp_path: Path) -> None:
    server, servers, policy, test, _ = (text for _, text in blocks("Quickstart"))
    if version("mcp").startswith("1."):
        server = server.replace("from mcp.server import MCPServer", "from mcp.server.fastmcp import FastMCP as MCPServer")
    for name, text in {
        "books_server.py": server,
        "mcp.json": servers,
        "governance.policy.yaml": policy,
        "test_books.py": test,
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    tested = run(tmp_path, sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout and "governance-report.html" in tested.stdout
    verified = run(tmp_path, "mcp-governance", "verify", "governance-report.html")
    assert verified.returncode == 4, verified.stdout + verified.stderr
    assert "Signer unknown" in verified.stdout


def test_the_quickstarts_languages_are_the_files_it_names() -> None:
    assert [language for language, _ in blocks("Quickstart")] == ["python", "json", "yaml", "python", "console"]
