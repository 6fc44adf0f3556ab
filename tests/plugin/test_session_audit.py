"""`mcp_audit_session`: what agents that outlive a test do belongs to the test that is running, and is judged by it."""

import mcp.server  # noqa: F401  # loaded before any inner run, which would unload it

from tests.plugin.suites import Ended, Suite

AGENT = """
import pytest

@pytest.fixture(scope="session")
def plain(mcp_audit_session):
    with mcp_audit_session.connect("plain", agent="resident") as plain:
        plain.call_tool("get_vendor", {"id": "before any test"})
        yield plain
"""
OWN = "mcp_audit_session@main"


def calls(ended: Ended) -> list[tuple[object, object, object]]:
    """(test, agent, tool) of every call, in order."""
    asked = [r for r in ended.of_type("msg") if r.get("method") == "tools/call" and r["kind"] == "request"]
    return [(r.get("test"), r["agent"], r["tool"]) for r in asked]


def test_one_connection_serves_all_tests_and_each_call_belongs_to_the_test_that_runs(suite: Suite):
    suite.declare("plain", PLAIN_LOG=str(suite.folder / "asked.jsonl"))
    suite.write("conftest.py", AGENT)
    suite.write("strict.yaml", "governance: 1\npolicy: strict\nrules:\n- {id: PAY, allow: ['plain.pay']}\n")
    suite.test("""
def test_a(plain):
    plain.call_tool("get_vendor", {"id": "v1"})

def test_b(plain, mcp_audit):
    plain.call_tool("get_vendor", {"id": "v2"})
    assert [call.tool for call in mcp_audit.calls] == ["get_vendor"]
    assert mcp_audit.calls.only("plain.get_*")

@pytest.mark.mcp_governance(policy="strict.yaml")
def test_its_own_policy_judges(plain, mcp_audit_session):
    with mcp_audit_session.expect_denied():
        plain.call_tool("get_vendor", {"id": "v3"})

def test_unaudited():
    pass
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 4}, "VERIFIED"), ended.text
    assert calls(ended) == [
        (OWN, "resident", "get_vendor"),
        ("test_inner.py::test_a", "resident", "get_vendor"),
        ("test_inner.py::test_b", "resident", "get_vendor"),
        ("test_inner.py::test_its_own_policy_judges", "resident", "get_vendor"),
    ]
    assert len({r["conn"] for r in ended.of_type("msg")}) == 1
    assert ended.ends()[OWN, 1] == "passed"
    assert (ended.folder / "asked.jsonl").read_text().count("\n") == 3
    said, report = ended.verified("passed")
    assert said == 0, report
    (selection,) = ended.of_type("selection")
    assert len(selection["selected"]) == 3 and selection["unaudited"] == 1


def test_a_denial_between_tests_fails_the_run_and_no_test(suite: Suite):
    suite.declare("plain")
    suite.write("conftest.py", AGENT.replace("get_vendor", "delete_vendor"))
    suite.test("""
def test_a(plain):
    plain.call_tool("get_vendor", {"id": "v1"})
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"passed": 1}), ended.text
    assert f"{OWN}: DEFAULT-DENY plain.delete_vendor blocked" in ended.text
    assert ended.ends() == {("test_inner.py::test_a", 1): "passed", (OWN, 1): "failed"}
    said, _ = ended.verified("passed")
    assert said == 5


def test_a_test_in_which_its_agent_stays_idle_is_a_finding_and_so_is_a_session_without_a_call(suite: Suite):
    suite.declare("plain", "books")
    suite.write("conftest.py", AGENT.replace('        plain.call_tool("get_vendor", {"id": "before any test"})\n', ""))
    suite.test("""
def test_idle(plain):
    pass

def test_busy(plain):
    plain.call_tool("get_vendor", {"id": "v1"})

def test_another_way(plain, mcp_audit_session):
    plain.call_tool("get_vendor", {"id": "v1"})
    with mcp_audit_session.gateway("books", agent="nobody"):
        pass
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"failed": 1, "passed": 2}), ended.text
    idle = [(r.get("test"), r.get("agent")) for r in ended.of_type("finding")]
    assert idle == [("test_inner.py::test_idle", None), (OWN, "nobody")]


LATE = """
import threading
import pytest
from concurrent.futures import ThreadPoolExecutor

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:
    from mcp.server import MCPServer as FastMCP
import anyio.to_thread

released = threading.Event()
arrived = threading.Event()
server = FastMCP("slow")

@server.tool()
async def get_slow() -> str:
    arrived.set()
    await anyio.to_thread.run_sync(released.wait)
    return "the late answer to jane@example.com"

@server.tool()
async def get_quick() -> str:
    return "quick"

@pytest.fixture(scope="session")
def mcp_audit_servers():
    return {"slow": server}

@pytest.fixture(scope="session")
def slow(mcp_audit_session):
    with mcp_audit_session.connect("slow", agent="resident") as slow, ThreadPoolExecutor(1) as pool:
        slow.pool = pool
        yield slow
"""


def test_a_late_answer_belongs_to_the_call_and_to_the_test_that_made_it(suite: Suite):
    suite.write("conftest.py", LATE)
    suite.write(
        "governance.policy.yaml",
        """\
governance: 1
policy: scoped
data:
  people: {class: pii, results: {slow.get_slow: ["$"]}}
  vendors: {results: {slow.get_quick: ["$"]}}
rules:
- {id: READ, allow: ["slow.get_*"], data: [vendors]}
""",
    )
    suite.test("""
from conftest import arrived, released
waiting = []

def test_a(slow):
    waiting.append(slow.pool.submit(slow.call_tool, "get_slow"))
    assert arrived.wait(20)

def test_b(slow, mcp_audit):
    slow.call_tool("get_quick")
    released.set()
    assert "slow" in str(waiting[0].result(20))  # withheld, in the name of test_a's policy
    assert [call.tool for call in mcp_audit.calls] == ["get_quick"]
    assert mcp_audit.accesses.scopes == {"vendors"}
""")
    ended = suite.run("-Wignore:Field 'lifespan' has an incomplete definition")
    made = [r for r in ended.of_type("msg") if r.get("tool") == "get_slow" and r["origin"] == "received"]
    asked, answered = made
    assert asked["test"] == answered["test"] == "test_inner.py::test_a", ended.text
    assert answered["ref"] == f"main/{asked['seq']}"
    assert int(str(answered["seq"])) > next(
        int(str(r["seq"])) for r in ended.of_type("test") if r["test"] == asked["test"] and r["phase"] == "end"
    )
    # The data scope that the rule does not name is found in test_a, though test_a has ended: it fails the run.
    assert (ended.status, ended.outcomes) == (1, {"passed": 2}), ended.text
    assert {r["test"] for r in ended.of_type("finding")} == {"test_inner.py::test_a"}
    assert "test_inner.py::test_a: " in ended.text
    assert ended.outcome == "VERIFIED"


def test_an_agent_that_reconnects_and_a_server_that_is_started_again_keep_one_history(suite: Suite):
    suite.declare("plain")
    suite.write(
        "conftest.py",
        """
import pytest

@pytest.fixture(scope="session")
def gateway(mcp_audit_session):
    with mcp_audit_session.gateway("plain", agent="resident") as gateway:
        yield gateway
""",
    )
    suite.test("""
def test_a(gateway):
    run_agent(gateway.command("plain"), GET)
    run_agent(gateway.command("plain"), GET, GET)

def test_b(gateway):
    run_agent(gateway.command("plain"), GET)
    run_agent(gateway.command("plain"), GET, CRASH)
    run_agent(gateway.command("plain"), GET)
""")
    suite.policy("plain.get_*", "plain.crash")
    ended = suite.run()
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 2}, "VERIFIED"), ended.text
    opened = [r for r in ended.of_type("session") if r["state"] == "opened"]
    assert len({r["conn"] for r in opened}) == 5
    assert {(r["gateway"], r["agent"]) for r in opened} == {("g1", "resident")}
    assert [test for test, _, _ in calls(ended)] == ["test_inner.py::test_a"] * 3 + ["test_inner.py::test_b"] * 4


def test_each_worker_has_a_session_of_its_own(suite: Suite):
    suite.declare("plain")
    suite.write("conftest.py", AGENT)
    suite.test("""
@pytest.mark.parametrize("n", range(4))
def test_a(plain, n):
    plain.call_tool("get_vendor", {"id": f"v{n}"})
""")
    ended = suite.run(workers=2)
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 4}, "VERIFIED"), ended.text
    own = {name for name, _ in ended.ends() if str(name).startswith("mcp_audit_session@")}
    assert own == {"mcp_audit_session@gw0", "mcp_audit_session@gw1"}
