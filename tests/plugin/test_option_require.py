"""`--mcp-governance-require`: a selected test that asks for no audit fails the run, whatever else happened."""

import pytest

from tests.plugin.suites import SERIAL_AND_PARALLEL, Suite

AUDITED = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
"""
DENIED = """
def test_denied(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
"""
REQUIRE = "--mcp-governance-require"


@SERIAL_AND_PARALLEL
def test_tests_without_an_audit_fail_the_run_and_the_first_are_named(suite: Suite, workers: int):
    plain = "\n@pytest.mark.parametrize('n', range(4))\ndef test_plain(n): pass\n\ndef test_other(): pass\n"
    suite.test(AUDITED + plain)
    ended = suite.run(REQUIRE, workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"passed": 6}
    assert (
        "run fails: 5 of 6 selected tests ask for no audit, which --mcp-governance-require does not allow: "
        "test_inner.py::test_other, test_inner.py::test_plain#1, test_inner.py::test_plain#2 and 2 more"
    ) in ended.text


@pytest.mark.parametrize(
    "setting",
    [
        "addopts = --mcp-governance-gate=off",
        "mcp_governance_gate = off",
        "mcp_governance_gate = reached",
        "mcp_governance_baseline = governance.baseline.yaml",
    ],
)
def test_where_it_was_typed_the_changes_own_files_choose_no_weaker_gate_and_no_baseline(suite: Suite, setting: str):
    suite.write("pytest.ini", f"[pytest]\n{setting}\n")
    suite.test(DENIED)
    ended = suite.run(REQUIRE)
    assert ended.status == 4
    assert "but --mcp-governance-require was typed" in ended.text


def test_xfail_does_not_hide_that_a_setup_ended_before_the_audit_began(suite: Suite):
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test("""
@pytest.fixture
def early():
    raise RuntimeError("before the audit")

@pytest.mark.xfail
def test_agent(early, mcp_audit): pass
""")
    ended = suite.run(REQUIRE)
    assert ended.status == 1
    assert ended.outcomes == {"xfailed": 1}
    assert "pytest reports success, but 1 audited tests did not pass" in ended.text


@SERIAL_AND_PARALLEL
def test_it_is_a_fact_of_the_evidence(suite: Suite, workers: int):
    suite.test(AUDITED + "\ndef test_plain(): pass\n")
    ended = suite.run(REQUIRE, workers=workers)
    (selection,) = ended.of_type("selection")
    assert (selection["require"], selection["unaudited"]) == (True, 1)
    assert "1 audited of 2 selected, 0 deselected; each had to be audited" in ended.page
    assert ended.verified("passed")[0] == 0  # the report is about the audited tests; the run failed all the same
    assert ended.status == 1


@SERIAL_AND_PARALLEL
def test_a_suite_whose_tests_all_dropped_the_fixture_fails_although_nothing_is_recorded(suite: Suite, workers: int):
    suite.test("def test_one(): pass\n\ndef test_two(): pass\n")
    ended = suite.run(REQUIRE, workers=workers)
    assert ended.status == 1
    assert "2 of 2 selected tests ask for no audit" in ended.text
    assert ended.runs == []


@SERIAL_AND_PARALLEL
def test_a_skipped_test_has_to_ask_for_its_audit_too(suite: Suite, workers: int):
    suite.test(AUDITED + "\n@pytest.mark.skip\ndef test_skipped(): pass\n")
    ended = suite.run(REQUIRE, workers=workers)
    assert ended.status == 1
    assert "1 of 2 selected tests asks for no audit" in ended.text
    assert "test_inner.py::test_skipped" in ended.text


@SERIAL_AND_PARALLEL
def test_audited_tests_pass_even_where_skipped_or_audited_through_another_fixture(suite: Suite, workers: int):
    suite.test(
        AUDITED
        + """
@pytest.fixture
def agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="b") as gw:
        yield gw

def test_through_a_fixture(agent):
    run_agent(agent.command("plain"), GET)

@pytest.mark.skip
def test_skipped(mcp_audit): pass
"""
    )
    ended = suite.run(REQUIRE, workers=workers)
    assert ended.status == 0
    assert "every test audited" in ended.text


@SERIAL_AND_PARALLEL
def test_deselected_tests_need_no_audit(suite: Suite, workers: int):
    suite.test(AUDITED + "\ndef test_plain(): pass\n")
    assert suite.run(REQUIRE, "-k", "agent", workers=workers).status == 0


@SERIAL_AND_PARALLEL
def test_the_ini_setting_requires_it_too(suite: Suite, workers: int):
    suite.write("pytest.ini", "[pytest]\nmcp_governance_require = true\n")
    suite.test("def test_plain(): pass\n")
    assert suite.run(workers=workers).status == 1


def test_an_ini_value_that_is_no_truth_value_is_a_usage_error(suite: Suite):
    suite.write("pytest.ini", "[pytest]\nmcp_governance_require = sometimes\n")
    suite.test("def test_plain(): pass\n")
    ended = suite.run()
    assert ended.status == 4
    assert "mcp_governance_require must be true or false" in ended.text


def test_a_failing_status_stays_what_it_was(suite: Suite):
    suite.test("def test_plain(): pass\n")
    assert suite.run(REQUIRE, "-k", "nothing").status == 5


@SERIAL_AND_PARALLEL
def test_no_audit_is_required_unless_asked_for_and_a_denied_call_fails_beside_it(suite: Suite, workers: int):
    suite.test(AUDITED + "\ndef test_plain(): pass\n")
    assert suite.run(workers=workers).status == 0
    suite.test(DENIED + "\ndef test_plain(): pass\n")
    ended = suite.run(REQUIRE, "--mcp-governance-gate=off", workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"passed": 2}


@SERIAL_AND_PARALLEL
def test_a_fixture_that_takes_the_place_of_mcp_audit_is_no_audit(suite: Suite, workers: int):
    suite.test("@pytest.fixture\ndef mcp_audit():\n    return None\n\ndef test_agent(mcp_audit): pass\n")
    ended = suite.run(REQUIRE, workers=workers)
    assert ended.status == 1
    assert "run fails: test_inner.py::test_agent was not audited: the suite puts a fixture of its own" in ended.text


@SERIAL_AND_PARALLEL
def test_a_fixture_that_wraps_mcp_audit_is_one(suite: Suite, workers: int):
    suite.test("@pytest.fixture\ndef mcp_audit(mcp_audit):\n    yield mcp_audit\n" + AUDITED)
    assert suite.run(REQUIRE, workers=workers).status == 0
