"""`--mcp-governance-max-message`: how long a message may be that is passed on."""

import pytest

from tests.plugin.suites import Suite

OPTION = "--mcp-governance-max-message"
READS = """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw, EXPECTED:
        answers = run_agent(gw.command("plain"), GET, ("get_vendor", {"id": "v" * 70_000}))
    assert "error" not in answers[0]
    assert ("longer than the limit" in answers[1].get("error", {}).get("message", "")) is LIMITED
"""


@pytest.mark.parametrize("by", ["option", "ini"])
def test_a_longer_message_is_an_error_to_the_agent_and_a_finding(suite: Suite, by: str):
    suite.test(READS.replace("LIMITED", "True").replace("EXPECTED", 'mcp_audit.expect_denied("MALFORMED")'))
    if by == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_max_message = 64KiB\n")
    ended = suite.run(*([f"{OPTION}=64KiB"] if by == "option" else []))
    assert (ended.status, dict(ended.outcomes)) == (0, {"passed": 1})
    found = [r for r in ended.records if r["type"] == "finding"]
    assert [(r["rule"], r["clause"], r["state"], r["expected"]) for r in found] == [
        ("MALFORMED", "too-long", "blocked", True)
    ]
    assert ended.verified()[0] == 0


def test_without_it_the_same_message_passes(suite: Suite):
    suite.test(READS.replace("LIMITED", "False").replace(", EXPECTED", ""))
    assert suite.run().status == 0


@pytest.mark.parametrize("value", ["0", "64", "63KiB", "2GiB", "64 MiB", "-1MiB", "64mib"])
def test_what_is_no_size_stops_pytest_before_any_test(suite: Suite, value: str):
    suite.test(READS)
    ended = suite.run(f"{OPTION}={value}")
    assert ended.status == 4
    assert "max_message" in ended.text
    assert not ended.runs
