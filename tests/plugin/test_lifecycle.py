"""An attempt is recorded with what became of it, and the run with what was selected: serially and in parallel."""

import json
import subprocess
import sys

import pytest

from pytest_mcp_governance.evidence.verify import verify
from tests.plugin.suites import Suite, without_others

TWO_OF_THREE = """
@pytest.mark.parametrize("who", ["a::[x]", "b"])
def test_agent(mcp_audit, who):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)

def test_other(mcp_audit):
    raise RuntimeError("deselected")

def test_unaudited():
    pass
"""


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_the_evidence_says_what_was_selected_and_names_tests_without_their_parameters(suite: Suite, workers: int):
    suite.test(TWO_OF_THREE)
    ended = suite.run("-k", "not other", workers=workers)
    assert ended.status == 0
    (selection,) = ended.of_type("selection")
    names = ["test_inner.py::test_agent#1", "test_inner.py::test_agent#2"]
    assert selection["selected"] == names
    assert (selection["unaudited"], selection["deselected"]) == (1, 1)
    assert ended.ends() == {(name, 1): "passed" for name in names}
    ledger = "".join(path.read_text() for path in (ended.runs[0] / "seg").glob("*[!d].jsonl"))
    assert "a::[x]" not in ledger


def test_segments_of_two_workers_are_announced_in_main_and_closed_with_the_run(suite: Suite):
    suite.test(TWO_OF_THREE)
    ended = suite.run("-k", "not other", "--dist=each", workers=2)
    assert ended.status == 0, ended.text
    assert {record["name"] for record in ended.of_type("segment")} == {"gw0", "gw1"}
    assert len(ended.of_type("close")) == 3
    assert ended.text.count("governance-report.html") == 1


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_a_skipped_test_is_recorded_as_skipped_and_fails_nothing(suite: Suite, workers: int):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)

@pytest.mark.skip
def test_marked(mcp_audit):
    pass

def test_inside(mcp_audit):
    with mcp_audit.gateway("plain", agent="a"):
        pytest.skip("no network here")
""")
    ended = suite.run(workers=workers)
    assert ended.status == 0, ended.text
    assert {str(name).partition("::")[2]: outcome for (name, _), outcome in ended.ends().items()} == {
        "test_agent": "passed",
        "test_marked": "skipped",
        "test_inside": "skipped",
    }
    assert "NOT JUDGED" not in ended.text


def test_a_test_that_was_never_reached_makes_the_run_partial(suite: Suite):
    suite.test("""
def test_first(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)

def test_second(mcp_audit):
    pass
""")
    ended = suite.run("-x")
    assert ended.status == 1
    assert "status: partial" in ended.text
    assert "stopping after 1 failures" in ended.text


def test_an_interrupt_after_a_denial_ends_in_order_and_tells_the_finding(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), DELETE)
    raise KeyboardInterrupt
""")
    command = [sys.executable, "-m", "pytest", *without_others()]
    done = subprocess.run(command, cwd=suite.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "DEFAULT-DENY" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr and "INTERNALERROR" not in done.stdout
    assert verify(suite.folder / "governance-report.html").outcome.name == "INCOMPLETE"


def test_leaving_by_sys_exit_under_xfail_does_not_hide_that_nothing_was_called(suite: Suite):
    suite.test("""
import sys

@pytest.mark.xfail
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a"):
        sys.exit(0)
""")
    ended = suite.run()
    assert ended.status == 1
    assert "NO-CALLS" in {record["rule"] for record in ended.of_type("finding")}


def test_an_interrupted_run_keeps_its_exit_status_and_closes_its_evidence(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
    raise KeyboardInterrupt
""")
    command = [sys.executable, "-m", "pytest", *without_others()]
    done = subprocess.run(command, cwd=suite.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "status: partial" in done.stdout
    assert (suite.folder / "governance-report.html").exists()


def test_a_failing_setup_elsewhere_is_recorded_as_an_error(suite: Suite):
    suite.test("""
@pytest.fixture
def broken():
    raise RuntimeError("no database")

def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)

def test_before(broken, mcp_audit):
    pass

def test_after(mcp_audit, broken):
    pass
""")
    ended = suite.run()
    assert ended.status == 1
    outcomes = {str(name).partition("::")[2]: outcome for (name, _), outcome in ended.ends().items()}
    assert outcomes == {"test_agent": "passed", "test_before": "error", "test_after": "error"}
    assert "NO-CALLS" not in ended.text


def test_collecting_alone_records_nothing(suite: Suite):
    suite.test(TWO_OF_THREE)
    ended = suite.run("--collect-only", "-q")
    assert ended.status == 0
    assert not (suite.folder / ".mcp-governance").exists()


def test_secrets_of_the_environment_are_in_no_file_and_in_no_server(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    planted = "planted-0123456789-abcdef"
    monkeypatch.setenv("DEPLOY_TOKEN", planted)
    suite.declare("plain", PLAIN_PRINT="DEPLOY_TOKEN")
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run()
    assert ended.status == 0
    written = [p for p in ended.folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert not [path for path in written if planted.encode() in path.read_bytes()]
    assert planted not in ended.text
    said = [json.loads(line)[1] for line in (ended.runs[0] / "seg" / "main.sd.jsonl").read_text().splitlines()]
    assert any("not set" in str(value) for value in said)


def test_a_worker_that_a_test_takes_down_fails_the_run_and_leaves_its_evidence(suite: Suite):
    suite.test("""
import os

def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        os._exit(7)
""")
    ended = suite.run(workers=1)
    assert ended.status == 1
    assert "worker gw0 ended before its tests did" in ended.text
    assert "status: partial" in ended.text
    assert [record["tool"] for record in ended.of_type("msg") if record.get("method") == "tools/call"]


def test_a_failing_test_that_xdist_loses_fails_the_run(suite: Suite):
    suite.test("""
def test_agent(mcp_audit, record_property):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
    record_property("lost", object())
    raise AssertionError("nobody hears this")
""")
    ended = suite.run(workers=1)
    assert ended.status == 1
    assert "1 of 1 selected tests did not finish" in ended.text


def test_names_do_not_depend_on_how_xdist_distributes(suite: Suite):
    suite.test("""
@pytest.mark.xdist_group("g")
@pytest.mark.parametrize("n", [1])
def test_agent(mcp_audit, n):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run("--dist=loadgroup", workers=1)
    assert ended.status == 0, ended.text
    assert list(ended.ends()) == [("test_inner.py::test_agent#1", 1)]
