"""A project that does not use the plugin pays nothing for it: no heavy import, no process, no file, no output."""

import json
import subprocess
import sys

import pytest

from tests.plugin.suites import Suite

HEAVY = {"mcp", "playwright", "jinja2", "nacl", "yaml", "ruamel", "hypothesis"}
# Each process writes what it had imported and which processes it had started when it ends.
_WITNESS = """
import atexit, json, os, sys

started = []
sys.addaudithook(lambda event, args: started.append(str(args[0])) if event in SPAWNING else None)
SPAWNING = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system")

def pytest_configure(config):
    who = getattr(config, "workerinput", {}).get("workerid", "main")
    def leave():
        with open(os.path.join(FOLDER, f"witness-{who}.json"), "w") as file:
            json.dump({"modules": sorted(sys.modules), "started": started}, file)
    atexit.register(leave)
"""


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_a_project_without_audited_tests_imports_nothing_heavy_and_starts_nothing(suite: Suite, workers: int):
    for name in ("governance.policy.yaml", "mcp.json"):
        (suite.folder / name).unlink()
    suite.write("conftest.py", f"FOLDER = {str(suite.folder)!r}\n{_WITNESS}")
    suite.write("test_plain.py", "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_plain(n): pass\n")
    plugins = [f"-pno:{name}" for name in ("playwright", "base_url", "asyncio", "hypothesispytest", "randomly")]
    command = [sys.executable, "-m", "pytest", *plugins, *([f"-n{workers}"] if workers else [])]
    done = subprocess.run(command, cwd=suite.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    witnesses = {path.stem: json.loads(path.read_text()) for path in suite.folder.glob("witness-*.json")}
    expected = {"witness-main"} | {f"witness-gw{n}" for n in range(workers)}
    assert set(witnesses) == expected
    for witness in witnesses.values():
        assert "pytest_mcp_governance.plugin" in witness["modules"]
        assert not HEAVY & {name.partition(".")[0] for name in witness["modules"]}
        # What pytest-xdist starts: its workers, and `uname` to describe them.
        assert set(witness["started"]) <= ({sys.executable, "uname"} if workers else set())
    assert len(witnesses["witness-main"]["started"]) == workers
    assert not (suite.folder / ".mcp-governance").exists()
    assert "governance" not in done.stdout.replace("plugins: mcp-governance", "").replace("mcp-governance-0", "")


def test_the_package_itself_imports_nothing_of_ours_until_a_name_is_used():
    code = (
        "import sys, pytest_mcp_governance as p; before = set(sys.modules); p.GovernanceError; p.Audit; p.Gateway;"
        "print([n for n in before if n.startswith('pytest_mcp_governance.')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_can_be_imported():
    import pytest_mcp_governance

    for name in pytest_mcp_governance.__all__:
        assert getattr(pytest_mcp_governance, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pytest_mcp_governance.nothing
