"""Server objects beside the entries of mcp.json: run inside the test's process, recorded like any other server."""

import mcp.server  # noqa: F401  # loaded before any inner run, which would unload it
import pytest

from tests.plugin.suites import Suite

OLDER_SDK = "-Wignore:Field 'lifespan' has an incomplete definition"  # its FastMCP under newer pydantic-settings
SERVER = """
import threading
import pytest

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:  # SDK 2.x
    from mcp.server import MCPServer as FastMCP

asked = []

def make(name="books", **settings):
    server = FastMCP(name, **settings)

    @server.tool()
    def get_vendor(id: str) -> str:
        asked.append((name, "get_vendor", threading.current_thread().name))
        return f"{name}: vendor {id}"

    @server.tool()
    async def delete_vendor(id: str) -> str:
        asked.append((name, "delete_vendor", ""))
        return "gone"

    @server.tool()
    def get_trouble() -> str:
        raise LookupError("no such ledger")

    return server

def low_level(server):
    return getattr(server, "_mcp_server", None) or server._lowlevel_server
"""
DECLARES = """
from served import *

@pytest.fixture(scope="session")
def mcp_audit_servers(mcp_audit_servers):
    return {**mcp_audit_servers, "books": make(), "low": low_level(make("low"))}
"""


@pytest.fixture
def served(suite: Suite) -> Suite:
    suite.declare("plain")
    suite.policy("books.get_*", "low.get_*", "plain.get_*")
    suite.write("served.py", SERVER)
    suite.write("conftest.py", DECLARES)
    return suite


USED = """
from served import asked

def test_a_session_of_the_tests_own(mcp_audit):
    with mcp_audit.connect("books", agent="a") as books:
        assert "books: vendor v1" in books.call_tool("get_vendor", {"id": "v1"}).content[0].text
        with mcp_audit.expect_denied("DEFAULT-DENY"):
            assert "DEFAULT-DENY" in books.call_tool("delete_vendor", {"id": "v1"}).content[0].text
        trouble = books.call_tool("get_trouble")
        assert "get_trouble" in trouble.content[0].text  # how much of the error it tells is the SDK's

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_an_async_session(mcp_audit):
    async with mcp_audit.connect("low", agent="a") as low:
        assert "low: vendor v2" in (await low.call_tool("get_vendor", {"id": "v2"})).content[0].text

def test_an_agent_in_another_process(mcp_audit):
    with mcp_audit.gateway(agent="b") as gw:
        for name in ("books", "low", "plain"):
            (answer,) = run_agent(gw.command(name), GET)
            assert answer["result"]["isError"] is False

def test_nothing_outlived_the_tests():
    import threading
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("MCP server")]
    assert {(name, tool) for name, tool, _ in asked} == {("books", "get_vendor"), ("low", "get_vendor")}
    assert len(asked) == 4
    assert "MainThread" not in {thread for _, _, thread in asked}
"""


def test_server_objects_are_recorded_for_sessions_and_for_agents_in_other_processes(served: Suite):
    served.test(USED)
    ended = served.run(OLDER_SDK)
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 4}, "VERIFIED"), ended.text
    transports = {(record["server"], record["transport"]) for record in ended.of_type("session")}
    assert transports == {("books", "memory"), ("low", "memory"), ("plain", "stdio")}
    sources = {(record["server"], record["source"]) for record in ended.of_type("msg")}
    assert sources == transports
    denied = [r for r in ended.of_type("decision") if r["verdict"] == "deny"]
    assert len(denied) == 1


def test_each_worker_serves_its_own(served: Suite):
    served.test("""
@pytest.mark.parametrize("n", range(4))
def test_agent(mcp_audit, n):
    with mcp_audit.connect("books", agent="a") as books:
        assert f"vendor v{n}" in books.call_tool("get_vendor", {"id": f"v{n}"}).content[0].text
""")
    ended = served.run(OLDER_SDK, workers=2)
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 4}, "VERIFIED"), ended.text
    assert {record["source"] for record in ended.of_type("msg")} == {"memory"}
    assert len({record["seg"] for record in ended.of_type("msg")}) == 2


TROUBLE = """
from contextlib import asynccontextmanager
from served import *

@asynccontextmanager
async def locked(server):
    raise RuntimeError("the ledger is locked")
    yield

@asynccontextmanager
async def breaks(server):
    async with create_task_group() as tasks:
        async def fail():
            await ringing.wait()
            raise RuntimeError("the ledger broke")
        ringing = Event()
        rings.append(ringing)
        tasks.start_soon(fail)
        yield

from anyio import Event, create_task_group
rings = []

@pytest.fixture
def mcp_audit_servers():
    ringing = make("ringing", lifespan=breaks)

    @ringing.tool()
    async def get_broken() -> str:
        for ring in rings:
            ring.set()
        await Event().wait()

    return {"locked": make("locked", lifespan=locked), "ringing": ringing, "number": 7}
"""


def test_what_a_server_object_raises_is_told_and_ends_its_connection(served: Suite):
    served.policy("*.get_*")
    served.write("conftest.py", TROUBLE)
    served.test("""
def test_at_its_start(mcp_audit):
    with mcp_audit.connect("locked", agent="a"):
        pass

def test_in_the_middle(mcp_audit):
    with mcp_audit.connect("ringing", agent="a") as ringing:
        ringing.call_tool("get_broken")

def test_of_something_else(mcp_audit):
    with mcp_audit.connect("number", agent="a"):
        pass
""")
    ended = served.run(OLDER_SDK)
    assert (ended.status, ended.outcomes) == (1, {"failed": 3}), ended.text
    assert "ServerError: the MCP server could not be initialised: server 'locked' ended with status 1" in ended.text
    assert "RuntimeError: the ledger is locked" in ended.text
    assert "RuntimeError: the ledger broke" in ended.text
    assert "server 'number' must be an object or an MCP server, got int" in ended.text
    assert "mcp_audit_servers gave it as 'locked'" in ended.text
    assert sorted(r["code"] for r in ended.of_type("io") if r["stream"] == "exit") == [1, 1]
