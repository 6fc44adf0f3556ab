"""Beside the plugins that agent suites use."""

import pytest

from tests.plugin.suites import Suite

ASYNC = """
async def test_agent(mcp_audit):
    async with mcp_audit.connect("plain", agent="a") as plain:
        await plain.call_tool("get_vendor", {"id": "v1"})
        await plain.call_tool("pay", {"amount": 5})
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_pytest_asyncio(suite: Suite, mode: str):
    suite.test(("pytestmark = pytest.mark.asyncio\n" if mode == "strict" else "") + ASYNC)
    ended = suite.run(f"--asyncio-mode={mode}", "-Wignore", with_plugins=("asyncio",))
    assert (ended.status, ended.outcomes) == (1, {"failed": 1})
    assert "DEFAULT-DENY" in ended.text


def test_pytest_randomly(suite: Suite):
    suite.test("""
@pytest.mark.parametrize("n", range(3))
def test_agent(mcp_audit, n):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run(with_plugins=("randomly",))
    assert ended.status == 0
    assert sorted(str(name) for name, _ in ended.ends()) == [f"test_inner.py::test_agent#{n}" for n in (1, 2, 3)]


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest has subtests of its own since 9.0")
def test_subtests(suite: Suite):
    suite.test("""
def test_agent(mcp_audit, subtests):
    with mcp_audit.gateway("plain", agent="a") as gw:
        for n in range(2):
            with subtests.test(n=n):
                run_agent(gw.command("plain"), GET)
                assert n == 0
""")
    ended = suite.run()
    assert ended.status == 1
    assert ended.ends() == {("test_inner.py::test_agent", 1): "failed"}


def test_unittest_classes(suite: Suite):
    suite.test("""
import unittest

class TestAgent(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def audit(self, mcp_audit):
        self.audit = mcp_audit

    def test_agent(self):
        with self.audit.gateway("plain", agent="a") as gw:
            run_agent(gw.command("plain"), PAY)
""")
    ended = suite.run()
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
