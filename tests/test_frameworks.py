"""The page on agent frameworks shows lines that tests run; the one without a framework runs here, others in tox."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_mcp_governance.plugin.shards import VARIABLES

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "frameworks"
PAGE = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
# What a CI says of the job that these tests run in is not said of the example.
ELSEWHERE = {*VARIABLES, "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"}
SECTION = re.compile(r"^\[test_(\w+)\.py\]\(\S+\)(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SHOWN = {name: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for name, text in SECTION.findall(PAGE)}


def shown_in(text: str) -> set[str]:
    """Every run of a file's lines as a page shows it, without the indentation of its first line."""
    lines = text.splitlines()
    runs = (lines[start : start + length] for start in range(len(lines)) for length in range(1, 12))
    return {dedent("\n".join(run)) for run in runs}


def test_the_page_has_a_section_for_every_framework_that_is_tested():
    assert set(SHOWN) == {path.stem.removeprefix("test_") for path in EXAMPLES.glob("test_*.py")}
    assert all(SHOWN.values())


@pytest.mark.parametrize("name", SHOWN)
def test_every_line_on_the_page_is_one_that_a_test_runs(name: str):
    run = shown_in((EXAMPLES / f"test_{name}.py").read_text(encoding="utf-8"))
    assert [block for block in SHOWN[name] if block.rstrip("\n") not in run] == []


def test_every_framework_has_pins_of_its_own():
    environments = re.search(r"\[testenv:\{([\w,]+)\}\]\s.*agent", (ROOT / "tox.ini").read_text(encoding="utf-8"))
    assert environments is not None
    assert set(environments[1].split(",")) == set(SHOWN)
    for name in SHOWN:
        pins = (EXAMPLES / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        assert all(re.match(r"#|[\w.-]+==[\w.]+( ;|$)", line) for line in pins), name


def test_an_agent_in_a_process_reads_instead_and_the_server_log_agrees_with_the_signed_report():
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "check.py", "subprocess", "-p", "no:randomly", "-p", "no:asyncio"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={name: value for name, value in os.environ.items() if name not in ELSEWHERE},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
    assert "evidence   VERIFIED" in ran.stdout
    assert "matched    2 by tool and arguments" in ran.stdout
