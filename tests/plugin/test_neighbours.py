"""Beside the plugins that agent suites use: they do what they do, a denial fails the run, the evidence is whole."""

import pytest

from pytest_mcp_governance.session.browser import find_browser
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


DENIED = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET, DELETE)
"""


def test_anyio(suite: Suite):
    suite.write("conftest.py", "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    suite.test("pytestmark = [pytest.mark.anyio, pytest.mark.xfail]\n" + ASYNC)
    ended = suite.run(apart=True)
    assert (ended.status, ended.outcome, ended.outcomes) == (1, "VERIFIED", {"xfailed": 1})
    assert "DEFAULT-DENY  plain.pay by a (blocked)" in ended.text


def test_pytest_cov(suite: Suite):
    suite.test("@pytest.mark.xfail" + DENIED)
    for workers in (0, 2):
        ended = suite.run("--cov=scripted", "--cov-report=term", workers=workers, with_plugins=("pytest_cov",))
        assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
        assert "scripted.py" in ended.text
        for run in ended.runs:
            run.rename(suite.folder / run.name)


@pytest.mark.parametrize(("method", "status"), [("signal", 1), ("thread", 1)])
def test_pytest_timeout(suite: Suite, method: str, status: int):
    """With the method `thread` the process ends on the spot; its recorder closes the run all the same."""
    suite.test(f"import time\n{DENIED}        time.sleep(60)\n")
    ended = suite.run("--timeout=5", f"--timeout-method={method}", with_plugins=("timeout",))
    ended.settle()
    assert ended.status == status, ended.text
    assert "Timeout" in ended.text
    assert ended.outcome == ("VERIFIED" if method == "signal" else "INCOMPLETE")
    assert [record for record in ended.of_type("decision") if record["verdict"] == "deny"]


def test_pytest_playwright(suite: Suite):
    """Its page, in a real browser, in a test whose agent is audited."""
    browser = find_browser()
    suite.write(
        "conftest.py",
        f"""
import pytest

@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return browser_type_launch_args | {{"executable_path": {str(browser)!r}, "args": ["--no-sandbox"]}}
""",
    )
    suite.test(DENIED.replace("(mcp_audit)", "(mcp_audit, page)", 1) + "    page.set_content('<h1>paid</h1>')\n"
               "    assert page.inner_text('h1') == 'paid'\n")  # fmt: skip
    ended = suite.run("-Wignore", with_plugins=("playwright", "base_url"))
    assert (ended.status, ended.outcome, ended.outcomes) == (1, "VERIFIED", {"failed": 1}), ended.text
    assert "DEFAULT-DENY plain.delete_vendor" in ended.text
    assert list(ended.ends().values()) == ["failed"]


@pytest.mark.parametrize("name", ["mcp_governance", "pytest_mcp_governance.plugin"])
def test_with_autoload_disabled_the_plugin_is_named_either_way(
    suite: Suite, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.test("@pytest.mark.xfail" + DENIED)
    ended = suite.run("-p", name, apart=True)
    assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text


def test_turned_off_the_fixture_is_not_there_and_nothing_is_recorded(suite: Suite):
    suite.test(DENIED)
    ended = suite.run("-p", "no:mcp_governance", apart=True)
    assert (ended.status, ended.outcomes) == (1, {"errors": 1})
    assert "fixture 'mcp_audit' not found" in ended.text
    assert not (suite.folder / ".mcp-governance").exists()
