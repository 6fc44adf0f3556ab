"""When something of ours or a server dies: one screen that says what to do, a failed run, and evidence that stays."""

import sys
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.verify import verify
from tests.plugin.suites import Suite

KILLS_THE_RECORDER = """
import os, signal

{mark}
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        os.kill(mcp_audit._recorder.pid, signal.SIGKILL)
        try:
            mcp_audit.check()
        except Exception:
            pass
"""


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_a_recorder_killed_mid_test_fails_the_run_on_one_screen_and_leaves_its_evidence(suite: Suite, workers: int):
    suite.test(KILLS_THE_RECORDER.format(mark=""))
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert "the recorder process ended with SIGKILL before the run was closed" in ended.text
    assert "mcp-governance verify" in ended.text
    assert "INTERNALERROR" not in ended.text
    assert "control.py" not in ended.text
    (run,) = ended.runs
    report = verify(run)
    assert report.outcome.name == "INCOMPLETE"
    assert report.sealed > 0


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_evidence_that_a_test_removes_is_missed(suite: Suite, workers: int):
    suite.test("""
import shutil

@pytest.mark.xfail
def test_agent(mcp_audit, pytestconfig):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), DELETE)
    shutil.rmtree(pytestconfig.rootpath / ".mcp-governance")
    assert False
""")
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert "run fails: " in ended.text
    assert "INTERNALERROR" not in ended.text


def test_xfail_does_not_hide_that_the_recorder_died(suite: Suite):
    suite.test(KILLS_THE_RECORDER.format(mark="@pytest.mark.xfail"))
    assert suite.run().status == 1


def test_a_server_that_dies_at_its_start_is_named_with_what_it_said(suite: Suite):
    suite.declare("plain", PLAIN_DIE="start")
    suite.test("""
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_agent(mcp_audit):
    async with mcp_audit.connect("plain", agent="a"):
        raise RuntimeError("not reached")
""")
    ended = suite.run()
    assert ended.status == 1
    assert "ServerError" in ended.text
    assert "plain: the ledger is locked" in ended.text
    assert "client.py" not in ended.text
    assert len(ended.text.splitlines()) <= 45  # a screen, with pytest's own lines


def test_a_server_that_dies_in_a_call_is_named_beside_the_agents_failure(suite: Suite):
    suite.write("governance.policy.yaml", 'governance: 1\npolicy: all\nrules:\n- {id: ALL, allow: ["plain.*"]}\n')
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        (answer,) = run_agent(gw.command("plain"), CRASH)
        assert answer["result"]["isError"] is False, "the agent gave up"
""")
    ended = suite.run()
    assert ended.status == 1
    assert "plain" in ended.text and "status 3" in ended.text


def test_a_command_that_is_missing_says_which_and_what_to_do(suite: Suite):
    suite.write("mcp.json", '{"mcpServers": {"plain": {"command": "no-such-server"}}}')
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a"):
        pass
""")
    ended = suite.run()
    assert ended.status == 1
    assert "'no-such-server' was not found" in ended.text
    assert "control.py" not in ended.text


@pytest.mark.skipif(sys.platform == "win32", reason="no permissions")
def test_a_rootdir_that_cannot_be_written_is_one_clear_error(suite: Suite):
    (suite.folder / ".mcp-governance").write_text("in the way")
    suite.test("def test_agent(mcp_audit): pass\n")
    ended = suite.run()
    assert ended.status == 1
    assert "RecorderError: the evidence folder" in ended.text
    assert "Traceback" not in ended.text
    assert Path(suite.folder / ".mcp-governance").read_text() == "in the way"
