"""Ways of choosing and loading tests, and what tests leave behind: none of them loses a denial."""

import pytest

from tests.plugin.suites import Suite, what_happened
from tests.plugin.test_lifecycle_table import DENIED

# Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
HIDDEN = f"{DENIED}\n@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n"

ARGUMENTS = {
    "--ff": ("--ff",),
    "--sw": ("--sw",),
    "no cache": ("-p", "no:cacheprovider"),
    "--import-mode": ("--import-mode=importlib",),
    "--noconftest": ("--noconftest",),
    "no terminal summary": ("--no-summary",),
    "no capture": ("-s",),
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_no_way_of_choosing_or_loading_tests_hides_a_denial(suite: Suite, arguments: tuple[str, ...]):
    suite.test(HIDDEN)
    ended = suite.run(*arguments)
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text


LEFT_BEHIND = {
    "a thread that still runs": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "an environment without a variable": "monkeypatch.setattr(os, 'environ', {})",
    "another working directory": "monkeypatch.chdir('/')",
    "a unittest double in the place of time": "monkeypatch.setattr('time.time', lambda: 0.0)",
}


@pytest.mark.parametrize("left", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
def test_what_a_test_leaves_behind_or_replaces_hides_no_denial(suite: Suite, left: str):
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test(f"import os, threading\n{DENIED}\n@pytest.mark.xfail\ndef test_agent(mcp_audit, monkeypatch):\n"
               f"    {left}\n    denied(mcp_audit)\n")  # fmt: skip
    ended = suite.run(apart=True)
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text


@pytest.mark.parametrize("scope", ["module", "session"])
@pytest.mark.parametrize("when", ["setup", "teardown"])
def test_an_error_of_a_wider_fixture_hides_no_denial(suite: Suite, scope: str, when: str):
    raising = ["yield", "raise RuntimeError('no database')"][:: 1 if when == "teardown" else -1]
    body = "\n    ".join(raising)
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test(f"{HIDDEN}\n@pytest.fixture(scope='{scope}')\ndef wide():\n    {body}\n\n"
               "@pytest.mark.xfail\ndef test_wide(wide): pass\n")  # fmt: skip
    ended = suite.run()
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
    assert ended.ends() == {("test_inner.py::test_agent", 1): "xfailed"}


def test_a_module_that_skips_itself_a_doctest_and_a_denial_beside_them(suite: Suite):
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.write("test_absent.py", "import pytest\n\npytest.skip('not here', allow_module_level=True)\n")
    suite.test(f"{HIDDEN}\n\ndef documented():\n    '''\n    >>> 1 + 1\n    2\n    '''\n")
    ended = suite.run("--doctest-modules", "test_absent.py", "test_inner.py")
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
    assert (ended.outcomes["passed"], ended.outcomes["xfailed"]) == (1, 1)


def test_a_unittest_item_that_is_expected_to_fail_hides_no_denial(suite: Suite):
    suite.test(f"""import unittest
{DENIED}
class TestAgent(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def audit(self, mcp_audit):
        self.audit = mcp_audit

    @unittest.expectedFailure
    def test_agent(self):
        denied(self.audit)
        raise AssertionError
""")
    ended = suite.run()
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text


# The demo's suite needs real agents, servers and a browser; this is the same comparison for scripted ones.
def test_two_workers_record_the_same_calls_accesses_and_findings_as_one_process(suite: Suite):
    suite.write(
        "governance.policy.yaml",
        "governance: 1\npolicy: vendors\ndata:\n  vendor: {results: {plain.get_vendor: ['$']}}\n"
        "rules:\n- {id: READ, allow: ['plain.get_*'], data: [vendor]}\n",
    )
    # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
    suite.test(f"""{DENIED}
@pytest.mark.xfail
@pytest.mark.parametrize("n", range(4))
def test_agent(mcp_audit, n):
    denied(mcp_audit)
    if n % 2:
        denied(mcp_audit)
""")
    told = []
    for workers in (0, 2):
        ended = suite.run(workers=workers)
        assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
        told.append(what_happened(ended.runs[0]))
        (run,) = ended.runs
        run.rename(suite.folder / f"kept-{workers}")
    assert told[0] == told[1]
    assert {kind for kind, *_ in told[0]} == {"msg", "decision", "access", "finding", "test"}
