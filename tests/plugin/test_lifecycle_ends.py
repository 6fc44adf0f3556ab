"""How a run can end before its time: Ctrl-C, os._exit, lost workers, faults of ours. Nothing recorded is lost, no
denial ends in success, and what is left verifies as what it is."""

import subprocess
import sys

import pytest

from tests.plugin.suites import Ended, Suite, without_others
from tests.plugin.test_lifecycle_table import DENIED

# A process that was started in the background inherits an ignored SIGINT; a person's terminal does not.
SIGINT = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"
NEVER = "\ndef test_never(mcp_audit): pass\n"


def pytest_alone(suite: Suite, *args: str) -> Ended:
    """Run the suite as a person does: no pytester around it, because some of these end the process."""
    command = [sys.executable, "-m", "pytest", *without_others(), *args]
    done = subprocess.run(command, cwd=suite.folder, capture_output=True, text=True, check=False)
    ended = Ended(done.returncode, done.stdout + done.stderr, suite.folder, {})
    ended.settle()
    return ended


INTERRUPTED = {
    "in the call": f"def test_agent(mcp_audit):\n    denied(mcp_audit)\n    {INTERRUPT}\n{NEVER}",
    "in setup": f"@pytest.fixture\ndef slow(mcp_audit):\n    denied(mcp_audit)\n    {INTERRUPT}\n\n"
    f"def test_agent(slow): pass\n{NEVER}",
    "in teardown": f"@pytest.fixture\ndef slow():\n    yield\n    {INTERRUPT}\n\n"
    f"@pytest.mark.xfail\ndef test_agent(slow, mcp_audit):\n    denied(mcp_audit)\n{NEVER}",
    "between tests": "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n"
    f"\ndef test_between():\n    {INTERRUPT}\n{NEVER}",
}


@pytest.mark.parametrize("body", INTERRUPTED.values(), ids=INTERRUPTED.keys())
def test_ctrl_c_ends_with_2_and_evidence_that_says_where_it_stopped(suite: Suite, body: str):
    suite.test(SIGINT + DENIED + body)
    ended = pytest_alone(suite)
    assert (ended.status, ended.outcome) == (2, "INCOMPLETE"), ended.text
    assert "run fails: 1 unexpected finding in enforce mode" in ended.text
    assert "status: partial" in ended.text
    assert "INTERNALERROR" not in ended.text
    assert [record["rule"] for record in ended.of_type("finding")] == ["DEFAULT-DENY"]


@pytest.mark.parametrize("status", [0, 7])
def test_os_exit_in_a_serial_run_leaves_a_report_that_verifies_as_incomplete(suite: Suite, status: int):
    """The process itself is gone, with the status that it chose: that is why a gate runs `verify` as well."""
    stale = suite.write("governance-report.html", "a report of an earlier run")
    suite.test(f"import os\n{DENIED}\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n    os._exit({status})\n")
    ended = pytest_alone(suite)
    assert (ended.status, ended.outcome) == (status, "INCOMPLETE")
    assert "earlier run" not in stale.read_text(encoding="utf-8")
    exit_code, report = ended.verified()
    assert exit_code == 3
    assert report["findings"]["blocked"]["enforce"] == 1
    assert [record for record in ended.of_type("decision") if record["verdict"] == "deny"]


def test_a_child_that_a_test_forks_neither_ends_nor_disturbs_the_recording(suite: Suite):
    suite.test(f"""import os, warnings
{DENIED}
@pytest.mark.xfail
def test_agent(mcp_audit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    denied(mcp_audit)
""")
    ended = suite.run(apart=True)
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text


HIDDEN = f"""{DENIED}
@pytest.mark.parametrize("n", range(4))
def test_quiet(mcp_audit, n):
    with mcp_audit.gateway("plain", agent="b") as gw:
        run_agent(gw.command("plain"), GET)

@pytest.mark.xfail
def test_agent(mcp_audit):
    denied(mcp_audit)
"""


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "worksteal", "each"])
def test_however_xdist_distributes_a_hidden_denial_fails_the_run_and_the_evidence_is_whole(suite: Suite, dist: str):
    suite.test(HIDDEN)
    ended = suite.run(f"--dist={dist}", workers=2)
    times = 2 if dist == "each" else 1
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
    assert [record["rule"] for record in ended.of_type("finding")] == ["DEFAULT-DENY"] * times
    assert len([record for record in ended.of_type("test") if record["phase"] == "end"]) == 5 * times


# With loadscope xdist notices by itself, and ends with an internal error; with the others it reports success.
@pytest.mark.parametrize(("dist", "status"), [("load", 1), ("loadscope", 3), ("worksteal", 1)])
def test_a_failing_test_that_xdist_loses_does_not_end_in_success(suite: Suite, dist: str, status: int):
    suite.test(f"""{DENIED}
def test_agent(mcp_audit, record_property):
    denied(mcp_audit)
    record_property("lost", object())

def test_other(): pass
""")
    ended = suite.run(f"--dist={dist}", workers=2)
    assert (ended.status, ended.outcome) == (status, "INCOMPLETE"), ended.text
    assert "selected tests did not finish" in ended.text


@pytest.mark.parametrize("restart", [0, 4])
@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "kill"])
def test_a_worker_that_dies_fails_the_run_and_its_records_stay(suite: Suite, end: str, restart: int):
    suite.test(f"import os, signal\n{DENIED}\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n    {end}\n\n"
               "def test_other(mcp_audit):\n    with mcp_audit.gateway('plain', agent='b') as gw:\n"
               "        run_agent(gw.command('plain'), GET)\n")  # fmt: skip
    ended = suite.run(f"--max-worker-restart={restart}", workers=1)
    assert (ended.status, ended.outcome) == (1, "INCOMPLETE"), ended.text
    assert "worker gw0 ended before its tests did" in ended.text
    assert [record for record in ended.of_type("decision") if record["verdict"] == "deny"]
    if restart:  # whoever replaces a worker records a segment of its own
        assert {record["name"] for record in ended.of_type("segment")} == {"gw0", "gw1"}


FORKED = """import json, os
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    here, there = os.pipe()
    hook = item.config.hook
    if not os.fork():
        ran = runtestprotocol(item, nextitem=nextitem, log=False)
        told = [hook.pytest_report_to_serializable(config=item.config, report=report) for report in ran]
        os.write(there, json.dumps(told).encode())
        os._exit(0)
    os.close(there)
    with open(here) as file:
        for data in json.load(file):
            report = hook.pytest_report_from_serializable(config=item.config, data=data)
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


@pytest.mark.parametrize("workers", [0, 1], ids=["serial", "n1"])
def test_a_plugin_that_runs_each_test_in_a_process_of_its_own_hides_no_denial(suite: Suite, workers: int):
    suite.write("conftest.py", FORKED)
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test(f"{DENIED}\n@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n")
    ended = suite.run(workers=workers, apart=True)
    ended.settle()
    assert ended.status == 1, ended.text
    assert "pytest tells how test_inner.py::test_agent ended, but nothing of it was recorded" in ended.text


def test_the_last_failed_test_alone_is_a_whole_run_of_what_was_selected(suite: Suite):
    suite.test(f"{DENIED}\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\ndef test_plain(): pass\n")
    assert suite.run("-p", "cacheprovider").status == 1
    first = suite.folder / ".mcp-governance" / "runs"
    for run in list(first.iterdir()):
        run.rename(suite.folder / run.name)
    ended = suite.run("--lf")
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
    (selection,) = ended.of_type("selection")
    assert selection["selected"] == ["test_inner.py::test_agent"]


FAULTS = {
    "the recorder is killed in the test": "recorder = mcp_audit._recorder.pid\n    os.kill(recorder, signal.SIGKILL)",
    "the evidence cannot be written any more": "denied(mcp_audit)\n    "
    "next(pathlib.Path('.mcp-governance/runs').glob('2*/seg')).rename('elsewhere')",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_the_recorder_is_a_failure_of_the_run_and_no_crash_of_pytest(suite: Suite, fault: str):
    suite.test(f"import os, pathlib, signal\n{DENIED}\n@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    {fault}\n")
    ended = suite.run(apart=True)
    ended.settle()
    assert ended.status == 1, ended.text
    assert "run fails: " in ended.text
    assert "INTERNALERROR" not in ended.text
    assert ended.outcome in ("", "INCOMPLETE", "TAMPERED")


HOOKS = {
    "a conftest sets the exit status back": "import pytest\n\n@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
    "def pytest_sessionfinish(session):\n    result = yield\n    session.exitstatus = 0\n    return result\n",
    "a conftest leaves with status 0 at the end": "import pytest\n\n"
    "def pytest_sessionfinish():\n    pytest.exit('done', returncode=0)\n",
    "a conftest calls every outcome passed": "import pytest\n\n@pytest.hookimpl(wrapper=True)\n"
    "def pytest_runtest_makereport():\n    report = yield\n    report.outcome = 'passed'\n    return report\n",
    "a conftest keeps tests from being reported": "def pytest_runtest_protocol(item, nextitem):\n    return True\n",
}


@pytest.mark.parametrize("conftest", HOOKS.values(), ids=HOOKS.keys())
def test_a_hook_that_turns_red_into_green_is_overruled(suite: Suite, conftest: str):
    suite.write("conftest.py", conftest)
    suite.test(f"{DENIED}\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n")
    ended = suite.run(apart=True)
    assert ended.status == 1, ended.text
    assert "run fails: " in ended.text


def test_a_conftest_that_drops_tests_before_other_plugins_see_them_is_counted_as_deselecting(suite: Suite):
    suite.write(
        "conftest.py",
        "import pytest\n\n@pytest.hookimpl(tryfirst=True)\ndef pytest_collection_modifyitems(items):\n"
        "    items[:] = [item for item in items if 'agent' not in item.name]\n",
    )
    suite.test(f"{DENIED}\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\n"
               "def test_other(mcp_audit):\n    with mcp_audit.gateway('plain', agent='b') as gw:\n"
               "        run_agent(gw.command('plain'), GET)\n")  # fmt: skip
    ended = suite.run()
    assert ended.status == 0, ended.text
    (selection,) = ended.of_type("selection")
    assert selection["deselected"] == 1


def test_without_a_terminal_plugin_a_denial_still_fails_the_run(suite: Suite):
    suite.test(f"{DENIED}\n@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n")
    ended = suite.run("-p", "no:terminal", apart=True)
    assert (ended.status, ended.outcome) == (1, "VERIFIED")


OURS = {
    "as it begins": "pytest_mcp_governance.plugin.workers.Recording.begin",
    "as it judges the call": "pytest_mcp_governance.plugin.failures.Judgement.after_call",
    "as it judges at teardown": "pytest_mcp_governance.plugin.failures.Judgement.at_teardown",
    "as it ends": "pytest_mcp_governance.plugin.audit.Audit.end",
    "as it asks what servers did": "pytest_mcp_governance.plugin.audit.Audit.server_failures",
}


@pytest.mark.parametrize("broken", OURS.values(), ids=OURS.keys())
def test_xfail_does_not_hide_a_mistake_in_this_plugin_itself(suite: Suite, broken: str):
    suite.write(
        "conftest.py",
        f"""import pytest

def mistake(*args, **kwargs):
    raise TypeError("a mistake of ours")

@pytest.fixture(scope="session", autouse=True)
def broken():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr({broken!r}, mistake)
        yield
""",
    )
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test(f"{DENIED.replace('DELETE', 'GET')}\n@pytest.mark.xfail\ndef test_agent(mcp_audit):\n"
               "    denied(mcp_audit)\n    assert False\n")  # fmt: skip
    ended = suite.run(apart=True)
    assert ended.status == 1, ended.text
    assert "TypeError: a mistake of ours" in ended.text
    assert "INTERNALERROR" not in ended.text
