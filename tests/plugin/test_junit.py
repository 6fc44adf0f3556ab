"""Audited tests in a JUnit file: what each says of itself, and where its evidence is."""

import xml.etree.ElementTree as ET

import pytest

TWO_TESTS = """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET, GET)

@pytest.mark.xfail
def test_hides_a_denial(mcp_audit):
    with mcp_audit.gateway("plain", agent="payer") as gw:
        run_agent(gw.command("plain"), GET, PAY)
"""
AFTER_A_RERUN = """
tries = []

def test_settles(mcp_audit):
    tries.append(1)
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), *[GET] * len(tries))
    assert len(tries) == 2
"""


def properties(element):
    return {p.get("name"): p.get("value") for p in element.findall("./properties/property")}


def cases(suite):
    root = ET.parse(suite.folder / "junit.xml").getroot()
    return {case.get("name"): properties(case) for case in root.iter("testcase")}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_audited_test_says_what_was_found_and_where_its_evidence_is(suite, workers):
    suite.test(TWO_TESTS + "\ndef test_plain(): pass\n")
    ended = suite.run("--junitxml=junit.xml", workers=workers)
    (run,) = ended.runs
    told = cases(suite)
    segments = {test: told[test].pop("mcp_governance.evidence").removeprefix(f"{run.name}/") for test in list(told)[:2]}
    assert set(segments.values()) <= ({"gw0", "gw1"} if workers else {"main"})
    digest = told["test_reads"]["mcp_governance.policy"]
    assert digest in {f"sha256:{record['sha256']}" for record in ended.of_type("policy")}
    assert told["test_reads"] == {
        "mcp_governance.findings": "0",
        "mcp_governance.calls": "2",
        "mcp_governance.denied": "0",
        "mcp_governance.agents": "clerk",
        "mcp_governance.policy": digest,
        "mcp_governance.attempt": "1",
    }
    assert told["test_hides_a_denial"] == {
        "mcp_governance.findings": "1",
        "mcp_governance.rules": "DEFAULT-DENY blocked",
        "mcp_governance.calls": "2",
        "mcp_governance.denied": "1",
        "mcp_governance.agents": "payer",
        "mcp_governance.policy": digest,
        "mcp_governance.attempt": "1",
    }
    assert told["test_plain"] == {}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_suite_names_the_run(suite, workers):
    suite.test(TWO_TESTS)
    ended = suite.run("--junitxml=junit.xml", workers=workers)
    (testsuite,) = ET.parse(suite.folder / "junit.xml").getroot().iter("testsuite")
    assert properties(testsuite) == {"mcp_governance.run": ended.runs[0].name}


def test_a_suite_without_an_audited_test_says_nothing(suite):
    suite.test("def test_plain(): pass")
    suite.run("--junitxml=junit.xml")
    assert "mcp_governance" not in (suite.folder / "junit.xml").read_text()


@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_rerun_the_last_attempt_speaks_for_the_test(suite, workers):
    suite.test(AFTER_A_RERUN)
    ended = suite.run("--junitxml=junit.xml", "--reruns=2", "-p", "rerunfailures", workers=workers,
                      with_plugins=("rerunfailures",))  # fmt: skip
    assert ended.status == 0
    told = cases(suite)["test_settles"]
    assert (told["mcp_governance.attempt"], told["mcp_governance.calls"]) == ("2", "2")


def test_properties_hold_no_value_that_a_call_carried(suite):
    suite.test(
        """
def test_pays(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), ("pay", {"to": "hunter2-hunter2"}))
"""
    )
    suite.run("--junitxml=junit.xml")
    assert all("hunter2" not in str(value) for value in cases(suite)["test_pays"].values())


def test_a_hostile_agent_name_keeps_the_file_readable(suite):
    suite.test(
        """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="a\\u202e<b>&\\x1b") as gw:
        run_agent(gw.command("plain"), GET)
"""
    )
    suite.run("--junitxml=junit.xml")
    assert cases(suite)["test_reads"]["mcp_governance.agents"] == "a\\u202e<b>&\\x1b"
