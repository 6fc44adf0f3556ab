"""The marker sets a test's own terms, refuses what it does not know, and can only tighten."""

import pytest

from tests.plugin.suites import READ_ONLY, Suite


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ('agnt="x"', "no keyword 'agnt'; it knows policy, agent, controls, mode; did you mean 'agent'?"),
        ('"x.yaml"', "takes keywords only"),
        ("policy=3", "policy must be a path, got int"),
        ('controls="SOC2"', "controls must be a list of texts, got str"),
        ('mode="off"', "mode must be 'enforce' or 'observe', got 'off'"),
        ('agent=" "', "agent must be a text that is not empty"),
    ],
)
def test_a_mark_that_cannot_be_used_is_an_error_that_says_why(suite: Suite, mark: str, message: str):
    suite.test(f"@pytest.mark.mcp_governance({mark})\ndef test_plain(): pass\n")
    ended = suite.run()
    assert ended.status == 1
    assert ended.outcomes == {"errors": 1}
    assert message in ended.text


def test_xfail_does_not_hide_a_mark_that_cannot_be_used(suite: Suite):
    suite.test('@pytest.mark.xfail\n@pytest.mark.mcp_governance(agnt="x")\ndef test_plain(): pass\n')
    assert suite.run().status == 1


def test_the_marker_is_registered(suite: Suite):
    suite.test("@pytest.mark.mcp_governance(agent='a')\ndef test_plain(): pass\n")
    assert suite.run("--strict-markers").status == 0
    assert "@pytest.mark.mcp_governance(policy=None" in suite.run("--markers").text


def test_the_marks_policy_lies_beside_the_test_and_tightens_the_suites(suite: Suite):
    suite.write("sub/narrow.yaml", "governance: 1\npolicy: narrow\nrules:\n- {id: NARROW, allow: ['plain.pay']}\n")
    suite.test(
        """
@pytest.mark.mcp_governance(policy="narrow.yaml", agent="a")
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain") as gw:
        get, pay = run_agent(gw.command("plain"), GET, PAY)
    assert get["result"]["isError"] and pay["result"]["isError"]
""",
        name="sub/test_inner.py",
    )
    ended = suite.run("sub")
    assert ended.status == 1
    (policy,) = ended.of_type("policy")
    assert [(source["name"], source["kind"]) for source in policy["sources"]] == [
        ("governance.policy.yaml", "file"),
        ("sub/narrow.yaml", "marker"),
    ]
    assert len(ended.of_type("finding")) == 2


def test_agent_and_controls_of_the_mark_are_in_the_evidence(suite: Suite):
    suite.test("""
pytestmark = pytest.mark.mcp_governance(controls=["SOC2:CC6.1"])

@pytest.mark.mcp_governance(agent="payables-3", controls=["SOC2:CC6.3"])
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain") as gw:
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run()
    assert ended.status == 0
    start = next(record for record in ended.of_type("test") if record["phase"] == "start")
    assert start["agent"] == "payables-3"
    assert start["controls"] == ["SOC2:CC6.3", "SOC2:CC6.1"]
    assert "agent payables-3: 1 call, 0 denied, 0 findings, 0 screens" in ended.text


AGENT_PAYS = """
@pytest.mark.mcp_governance(mode="{mode}")
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
"""


def test_a_mark_tightens_observe_to_enforce(suite: Suite):
    suite.write("governance.policy.yaml", READ_ONLY + "mode: observe\n")
    suite.test(AGENT_PAYS.format(mode="enforce"))
    assert suite.run("--mcp-governance-mode=observe").outcomes == {"failed": 1}


def test_a_mark_may_repeat_that_the_policy_observes(suite: Suite):
    suite.write("governance.policy.yaml", READ_ONLY + "mode: observe\n")
    suite.test(AGENT_PAYS.format(mode="observe"))
    assert suite.run().status == 0


@pytest.mark.parametrize("enforcing", ["policy", "option"])
def test_a_mark_cannot_relax_enforce_to_observe(suite: Suite, enforcing: str):
    if enforcing == "option":
        suite.write("governance.policy.yaml", READ_ONLY + "mode: observe\n")
    suite.test(AGENT_PAYS.format(mode="observe"))
    ended = suite.run(*(["--mcp-governance-mode=enforce"] if enforcing == "option" else []))
    assert ended.status == 1
    assert "the marker's mode is observe, but" in ended.text
    assert "can only be tightened" in ended.text
