"""`mcp_audit.connect()`: the SDK's session with `async with`, its sync façade with plain `with`, under every runner."""

import json
import sys

import mcp  # noqa: F401  # loaded before any inner run, which would unload it
import pytest

from pytest_mcp_governance.session.browser import find_browser
from tests.plugin.suites import Suite
from tests.session.conftest import SERVERS as REAL_SERVERS

LOOK_UP = """
def look_up(mcp_audit):
    with mcp_audit.connect("plain", agent="a", request="who is v1?") as plain:
        assert "get_vendor" in [tool.name for tool in plain.list_tools().tools]
        assert "get_vendor done" in plain.call_tool("get_vendor", {"id": "v1"}).content[0].text
        plain.ping()
        with mcp_audit.expect_denied("DEFAULT-DENY"):
            assert "DEFAULT-DENY" in plain.call_tool("delete_vendor", {"id": "v1"}).content[0].text
"""
PLAIN_TEST = """
def test_agent(mcp_audit):
    look_up(mcp_audit)
"""
IN_A_LOOP = """
async def test_in_a_running_loop(mcp_audit):
    look_up(mcp_audit)
"""
ON_ASYNCIO = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
# options, plugins from elsewhere, tests
RUNNERS = {
    "no async plugin": (("-pno:anyio",), (), PLAIN_TEST),
    "anyio": ((), (), f"{ON_ASYNCIO}{PLAIN_TEST}\n@pytest.mark.anyio{IN_A_LOOP}"),
    "asyncio strict": (("--asyncio-mode=strict",), ("asyncio",), f"{PLAIN_TEST}\n@pytest.mark.asyncio{IN_A_LOOP}"),
    "asyncio auto": (("--asyncio-mode=auto",), ("asyncio",), PLAIN_TEST + IN_A_LOOP),
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_plain_with_works_under(suite: Suite, runner: str):
    options, plugins, tests = RUNNERS[runner]
    log = suite.folder / "asked.jsonl"
    suite.declare("plain", PLAIN_LOG=str(log))
    suite.test(LOOK_UP + tests)
    ended = suite.run(*options, "-Wignore::pytest.PytestDeprecationWarning", with_plugins=plugins)
    count = tests.count("look_up")
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": count}, "VERIFIED"), ended.text
    assert [json.loads(line)["tool"] for line in log.read_text().splitlines()] == ["get_vendor"] * count


def test_plain_with_works_beside_a_sync_playwright_page_whose_loop_is_running(suite: Suite):
    suite.write(
        "conftest.py",
        f"""
import pytest

@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return browser_type_launch_args | {{"executable_path": {str(find_browser())!r}, "args": ["--no-sandbox"]}}
""",
    )
    suite.test(
        LOOK_UP
        + """
def test_agent(mcp_audit, page):
    import asyncio
    assert asyncio.get_running_loop()
    look_up(mcp_audit)
    page.set_content("<h1>paid</h1>")
    assert page.inner_text("h1") == "paid"
"""
    )
    ended = suite.run("-Wignore", with_plugins=("playwright", "base_url"))
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 1}, "VERIFIED"), ended.text


def test_every_listing_pages_and_every_other_method_of_the_sdk_is_there(suite: Suite):
    offer = {
        "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in "abc"],
        "resources": [{"uri": f"mem://{name}", "name": name} for name in "abc"],
        "prompts": [{"name": name} for name in "abc"],
        "page": 2,
    }
    suite.write("offer.json", json.dumps(offer))
    suite.declare_with_arguments("offering", str(suite.folder / "offer.json"))
    suite.policy("offering.*")
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.connect("offering", agent="a") as offering:
        for listing, holds in (("list_tools", "tools"), ("list_resources", "resources"), ("list_prompts", "prompts")):
            first = getattr(offering, listing)()
            cursor = getattr(first, "next_cursor", None) or first.nextCursor  # SDK 2.x, 1.x
            second = getattr(offering, listing)(cursor)
            found = [entry.name for page in (first, second) for entry in getattr(page, holds)]
            assert found == ["a", "b", "c"], found
        offering.send_roots_list_changed()
        assert offering.sdk is not offering
        with pytest.raises(AttributeError, match="no method 'nothing'; the SDK's own session"):
            offering.nothing()
        assert offering.call_tool("a").content[0].text == "a"
""")
    ended = suite.run("-Wignore")
    assert (ended.status, ended.outcomes) == (0, {"passed": 1}), ended.text
    assert "notifications/roots/list_changed" in [record.get("method") for record in ended.of_type("msg")]


ANSWERS = """
from mcp import types

def sampled(context, params):
    assert not params.messages[0].content.text.startswith("nothing")
    return types.CreateMessageResult(role="assistant", content={"type": "text", "text": "a poem"}, model="scripted")

async def sampled_later(context, params):
    return sampled(context, params)

def elicited(context, params):
    return types.ElicitResult(action="accept", content={"name": "Ada"})

def roots(context):
    return types.ListRootsResult(roots=[{"uri": "file:///data", "name": "data"}])
"""
ASKED = """
        assert "a poem" in str({wait}server.call_tool("trigger-sampling-request", {{"prompt": "a poem"}}))
        assert "Ada" in str({wait}server.call_tool("trigger-elicitation-request", {{}}))
        assert "file:///data" in str({wait}server.call_tool("get-roots-list", {{}}))
"""
CALLBACKS = "sampling_callback={sampled}, elicitation_callback=elicited, list_roots_callback=roots"
ASKING = f"""
@pytest.mark.parametrize("sampling", [sampled, sampled_later])
def test_with(mcp_audit, sampling):
    with mcp_audit.connect("everything", agent="a", {CALLBACKS.format(sampled="sampling")}) as server:
{ASKED.format(wait="")}

{ON_ASYNCIO}
@pytest.mark.anyio
@pytest.mark.parametrize("sampling", [sampled, sampled_later])
async def test_async_with(mcp_audit, sampling):
    async with mcp_audit.connect("everything", agent="a", {CALLBACKS.format(sampled="sampling")}) as server:
{ASKED.format(wait="await ")}

def test_a_plain_callback_may_use_its_own_session(mcp_audit):
    def sampled(context, params):
        said = server.call_tool("echo", {{"message": "a poem within"}}).content[0].text
        return types.CreateMessageResult(role="assistant", content={{"type": "text", "text": said}}, model="scripted")

    with mcp_audit.connect("everything", agent="a", sampling_callback=sampled) as server:
        assert "a poem within" in str(server.call_tool("trigger-sampling-request", {{"prompt": "x"}}))
"""


def test_a_session_answers_its_server_with_plain_and_with_async_callbacks(suite: Suite):
    node = REAL_SERVERS / "node"
    script = node / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    entry = {"command": str(node / "bin" / "node"), "args": [str(script)]}
    suite.write("mcp.json", json.dumps({"mcpServers": {"everything": entry}}))
    (suite.folder / "governance.policy.yaml").unlink()
    suite.test(ANSWERS + ASKING)
    ended = suite.run()
    assert (ended.status, ended.outcomes, ended.outcome) == (0, {"passed": 5}, "VERIFIED"), ended.text
    asked = [r["method"] for r in ended.of_type("msg") if r["direction"] == "s2c" and r["kind"] == "request"]
    assert set(asked) == {"sampling/createMessage", "elicitation/create", "roots/list"}


def test_what_the_test_raises_inside_plain_with_reaches_it_as_it_was(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.connect("plain", agent="a") as plain:
        plain.call_tool("get_vendor", {"id": "v1"})
        raise RuntimeError("the test's own")
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"failed": 1})
    assert "RuntimeError: the test's own" in ended.text
    assert "ExceptionGroup" not in ended.text


def test_a_server_that_does_not_start_says_why_under_plain_with(suite: Suite):
    suite.declare("books", BOOKS_DIE="start")
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.connect("books", agent="a"):
        raise RuntimeError("never reached")
""")
    ended = suite.run()
    assert ended.status == 1
    assert "ServerError: the MCP server could not be initialised: server 'books' ended with status 1" in ended.text
    assert "books: the ledger is locked" in ended.text
    assert "RuntimeError: never" not in ended.text
    assert "sync_client.py" not in ended.text


def test_an_interrupted_wait_ends_the_request_and_the_session(suite: Suite):
    """As Ctrl-C and pytest-timeout do it: an exception in the thread that waits."""
    suite.test("""
import signal, threading

def test_agent(mcp_audit):
    def stop(*_):
        raise TimeoutError("enough")
    signal.signal(signal.SIGALRM, stop)

    with pytest.raises(TimeoutError, match="enough"):
        with mcp_audit.connect("waits", agent="a") as server:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            server.call_tool("get_nothing", {})
    assert not [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
""")
    suite.policy("waits.get_*")
    suite.write("waits.py", WAITS)
    suite.write("mcp.json", json.dumps({"mcpServers": {"waits": {"command": sys.executable, "args": ["waits.py"]}}}))
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1}), ended.text


WAITS = """
import json, sys

INFO = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "waits", "version": "1"}}
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": INFO}), flush=True)
"""
