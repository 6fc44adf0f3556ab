"""Whatever a test or its agent does with an exception, a finding fails the run: serially and with two workers."""

import pytest

from tests.plugin.suites import READ_ONLY, Ended, Suite

SERIAL_AND_PARALLEL = pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])


def finding_rules(ended: Ended) -> set[object]:
    return {record["rule"] for record in ended.of_type("finding") if not record["expected"]}


@SERIAL_AND_PARALLEL
def test_an_agent_that_swallows_every_exception_does_not_hide_a_finding(suite: Suite, workers: int):
    suite.test("""
def test_agent(mcp_audit):
    try:
        with mcp_audit.gateway("plain", agent="a") as gw:
            run_agent(gw.command("plain"), GET, PAY)
            mcp_audit.check()
    except Exception:
        pass
""")
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
    assert "DEFAULT-DENY" in ended.text
    assert finding_rules(ended) == {"DEFAULT-DENY"}


@SERIAL_AND_PARALLEL
def test_xfail_does_not_hide_a_finding(suite: Suite, workers: int):
    suite.test("""
@pytest.mark.xfail
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
""")
    ended = suite.run(workers=workers)
    assert ended.outcomes == {"xfailed": 1}
    assert ended.status == 1
    assert "run fails: 1 unexpected finding in enforce mode" in ended.text
    assert ended.ends() == {("test_inner.py::test_agent", 1): "xfailed"}


@SERIAL_AND_PARALLEL
def test_a_test_that_never_calls_check_fails_on_a_finding(suite: Suite, workers: int):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), DELETE)
""")
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}


@SERIAL_AND_PARALLEL
def test_an_agent_that_makes_no_call_at_all_is_a_finding(suite: Suite, workers: int):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a"):
        pass
""")
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
    assert finding_rules(ended) == {"NO-CALLS"}


@SERIAL_AND_PARALLEL
def test_an_assertion_made_too_early_is_judged_again_at_the_end(suite: Suite, workers: int):
    suite.write("governance.policy.yaml", 'governance: 1\npolicy: all\nrules:\n- {id: ALL, allow: ["plain.*"]}\n')
    suite.test("""
def test_agent(mcp_audit):
    assert mcp_audit.calls.only("plain.get_*")
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET, PAY)
""")
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
    assert "test_inner.py:6" in ended.text


def test_a_test_without_a_finding_passes(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        (answer,) = run_agent(gw.command("plain"), GET)
    assert answer["result"]["content"][0]["text"] == "get_vendor done"
    assert mcp_audit.calls.only("plain.get_*")
    mcp_audit.check()
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1})
    assert "verdict: no unexpected finding" in ended.text


def test_skipping_itself_does_not_save_a_test_with_a_finding(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
    pytest.skip("never mind")
""")
    assert suite.run().outcomes == {"failed": 1}


def test_a_rerun_that_passes_does_not_hide_the_finding_of_the_first_attempt(suite: Suite):
    suite.test("""
tries = []

def test_agent(mcp_audit):
    tries.append(1)
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY if len(tries) == 1 else GET)
""")
    ended = suite.run("--reruns=1")
    assert ended.outcomes == {"passed": 1, "rerun": 1}
    assert ended.status == 1
    assert ended.ends() == {
        ("test_inner.py::test_agent", 1): "rerun",
        ("test_inner.py::test_agent", 2): "passed",
    }


def test_a_finding_in_a_fixtures_teardown_is_an_error_of_the_test(suite: Suite):
    suite.test("""
@pytest.fixture
def agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        yield
        run_agent(gw.command("plain"), PAY)

def test_agent(agent):
    pass
""")
    ended = suite.run()
    assert ended.outcomes == {"passed": 1, "errors": 1}
    assert ended.status == 1
    assert ended.ends() == {("test_inner.py::test_agent", 1): "error"}


def test_a_failure_of_the_tests_own_keeps_its_message_and_names_the_finding(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
    assert 1 == 2, "the agent did not answer"
""")
    ended = suite.run()
    assert "the agent did not answer" in ended.text
    assert "DEFAULT-DENY" in ended.text


def test_observe_records_the_finding_and_fails_nothing(suite: Suite):
    suite.write("governance.policy.yaml", READ_ONLY + "mode: observe\n")
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        (answer,) = run_agent(gw.command("plain"), PAY)
    assert answer["result"]["isError"] is False
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1})
    assert [record["mode"] for record in ended.of_type("finding")] == ["observe"]


def test_a_suite_without_a_policy_is_not_judged_and_says_so(suite: Suite):
    (suite.folder / "governance.policy.yaml").unlink()
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1})
    assert "NOT JUDGED: no policy" in ended.text


def test_the_servers_that_a_finding_stopped_were_never_asked(suite: Suite):
    log = suite.folder / "asked.jsonl"
    suite.declare("plain", PLAIN_LOG=str(log))
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        get, pay = run_agent(gw.command("plain"), GET, PAY)
    assert pay["result"]["isError"] is True
""")
    suite.run()
    asked = log.read_text()
    assert "get_vendor" in asked
    assert "pay" not in asked


def test_the_first_line_of_a_failure_names_the_rule_and_the_call(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), DELETE, PAY)

def test_checked(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
    mcp_audit.check()
""")
    text = suite.run("-rf").text
    assert "DEFAULT-DENY plain.delete_vendor blocked, and 1 more\n2 findings, policy" in text
    assert "FAILED test_inner.py::test_agent - DEFAULT-DENY plain.delete_vendor blocked" in text
    assert "FAILED test_inner.py::test_checked - DEFAULT-DENY plain.pay blocked" in text
    assert text.count('if this test is about the denial: with mcp_audit.expect_denied("DEFAULT-DENY"):') == 3


def test_a_gateway_without_a_call_is_told_by_agent_and_server(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", "books", agent="payables-3"):
        pass
""")
    text = suite.run("-rf").text
    assert "NO-CALLS agent payables-3 made no call through its connection to plain, books" in text
    assert "If that is meant: gateway(…, idle_ok=True)." in text


@SERIAL_AND_PARALLEL
def test_findings_that_no_failing_test_shows_are_listed_at_the_end(suite: Suite, workers: int):
    suite.test("""
@pytest.mark.xfail
def test_hidden(mcp_audit):
    with mcp_audit.gateway("plain", agent="payables-3") as gw:
        run_agent(gw.command("plain"), PAY, PAY)

def test_shown(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), DELETE)
""")
    lines = suite.run(workers=workers).text.splitlines()
    listed = [line for line in lines if line.startswith("test_inner.py::test_") and "DEFAULT-DENY" in line]
    assert listed == ["test_inner.py::test_hidden (xfailed)  DEFAULT-DENY  plain.pay by payables-3 (blocked), 2 times"]
