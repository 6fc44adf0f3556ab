"""Servers with a URL in mcp.json: what an agent is given, what the report says, and what nobody may read in it."""

import json
from collections.abc import Iterator

import pytest

from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import ContainerSource
from tests.session.over_http import Served, served

from .suites import Suite

SECRET = "tok-5up3r-s3cret-value"
CLIENT = """\
import asyncio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

def ask(url, *calls):
    async def run():
        async with streamable_http_client(url) as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            return [(await session.call_tool(tool, arguments)).content[0].text for tool, arguments in calls]
    return asyncio.run(run())
"""


@pytest.fixture
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("vendors")) as server:
        yield server


@pytest.fixture
def remote(suite: Suite, vendors: Served, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv("VENDORS_PORT", str(vendors.port))
    monkeypatch.setenv("VENDORS_LOGIN", SECRET)
    suite.write("client.py", CLIENT)
    suite.write("governance.policy.yaml", 'governance: 1\npolicy: p\nrules:\n- {id: READ, allow: ["vendors.get_*"]}\n')
    entry = {"url": "http://127.0.0.1:${VENDORS_PORT}/mcp", "headers": {"X-Login": "Key ${VENDORS_LOGIN}"}}
    suite.write("mcp.json", json.dumps({"mcpServers": {"vendors": entry}}))
    return suite


def test_an_agent_reaches_a_server_by_url_and_the_report_verifies(remote: Suite, vendors: Served) -> None:
    remote.test("""\
from client import ask

def test_a(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1") as gw:
        assert gw.config == {"mcpServers": {"vendors": {"type": "http", "url": gw.url("vendors")}}}
        assert gw.servers == {"vendors": {"transport": "streamable_http", "url": gw.url("vendors")}}
        assert ask(gw.url("vendors"), ("get_vendor", {"id": "v1"})) == ["vendor v1"]
    assert [call.tool for call in mcp_audit.calls] == ["get_vendor"]

def test_b(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1") as gw:
        (said,) = ask(gw.url("vendors"), ("delete_vendor", {"id": "v1"}))
        assert "DEFAULT-DENY" in said
""")
    ended = remote.run()
    assert ended.outcomes == {"passed": 1, "failed": 1}, ended.text
    assert ended.outcome == "VERIFIED"
    assert vendors.calls() == ["get_vendor"]


def test_what_a_server_is_reached_with_is_sent_and_stands_in_no_file_and_no_output(
    remote: Suite, vendors: Served
) -> None:
    remote.test("""\
from client import ask

def test_a(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1") as gw:
        ask(gw.url("vendors"), ("get_vendor", {"id": "v1"}))
    print(repr(gw), repr(mcp_audit))
    assert 0
""")
    ended = remote.run("-vv", "--showlocals")
    sent = {value for request in vendors.requests() for name, value in request["headers"] if name == "x-login"}
    assert sent == {f"Key {SECRET}"}
    assert SECRET not in ended.text
    kept = [path for path in ended.folder.rglob("*") if path.is_file() and path.name != "client.py"]
    assert any(path.suffix == ".html" for path in kept)
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


def test_the_transport_of_a_server_is_kept_and_the_error_says_what_to_do(remote: Suite) -> None:
    remote.test("""\
from pytest_mcp_governance import ConfigurationError

def test_a(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1", idle_ok=True) as gw:
        with pytest.raises(ConfigurationError, match="give the agent gw.url"):
            gw.command("vendors")
        with pytest.raises(ConfigurationError, match="serves no server named 'other'"):
            gw.url("other")
""")
    assert remote.run().outcomes == {"passed": 1}
    remote.declare("plain")
    remote.test("""\
from pytest_mcp_governance import ConfigurationError

def test_a(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk-1", idle_ok=True) as gw:
        with pytest.raises(ConfigurationError, match="give the agent gw.command"):
            gw.url("plain")
""")
    assert remote.run().outcomes == {"passed": 1}


def test_what_an_agent_logs_in_with_itself_is_withheld_where_a_message_repeats_it(
    remote: Suite, vendors: Served
) -> None:
    own = "agents-own-l0gin"
    remote.test("""\
import http.client, json
from urllib.parse import urlsplit

def test_a(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1") as gw:
        parts = urlsplit(gw.url("vendors"))
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        login = "agents-own" + "-l0gin"
        params = {"name": "get_vendor", "arguments": {"id": login}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        connection.request("POST", parts.path, body, {"Authorization": "Bearer " + login})
        connection.getresponse().read()
        connection.close()
""")
    ended = remote.run()
    assert ended.outcomes == {"passed": 1}, ended.text
    attached = EvidenceReader(ContainerSource((ended.folder / "governance-report.html").read_bytes()))
    shown = {str(attached.reveal(m["wire"])) for m in attached.records() if m["type"] == "msg"}
    assert len(shown) >= 1 and not [text for text in shown if own in text]
    assert not [True for r in attached.records() if "headers" in r and own in str(attached.reveal(r["headers"]))]
    assert vendors.calls() == ["get_vendor"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"url": "ftp://x"}, "its url is none that can be reached"),
        ({"url": ""}, "url must be a text that is not empty"),
        ({"url": "http://u:p4ssw0rd@x/mcp"}, "its url holds a user name or password"),
        ({"url": "http://x/mcp", "type": "stdio"}, "is none of http, streamable-http, sse"),
        ({"url": "http://x/mcp", "command": "y"}, "both a command and a url"),
        ({"url": "http://x/mcp", "headers": {"a": 1}}, "headers must be an object of texts"),
        ({"url": "http://x/mcp", "headers": {"a": "line\nbreak"}}, "holds a line break"),
        ({"url": "http://x/mcp", "headers": {"Host": "y"}}, "no name of a header that can be set"),
        ({"url": "http://x/${NOT_SET_HERE}"}, "needs the environment variable NOT_SET_HERE"),
    ],
)
def test_an_entry_that_cannot_be_used_says_what_to_do(suite: Suite, entry: dict[str, object], said: str) -> None:
    suite.write("mcp.json", json.dumps({"mcpServers": {"vendors": entry}}))
    suite.test("""\
def test_a(mcp_audit):
    with mcp_audit.gateway("vendors", agent="clerk-1"):
        pass
""")
    ended = suite.run()
    assert said in ended.text and "p4ssw0rd" not in ended.text
    assert "Traceback" not in ended.text


def test_a_test_of_its_own_connects_over_http_with_and_without_await(remote: Suite, vendors: Served) -> None:
    remote.test("""\
import asyncio

def test_sync(mcp_audit):
    with mcp_audit.connect("vendors", agent="clerk-1") as vendors:
        assert vendors.call_tool("get_vendor", {"id": "v1"}).content[0].text == "vendor v1"
        with mcp_audit.expect_denied("DEFAULT-DENY"):
            vendors.call_tool("delete_vendor", {"id": "v1"})

def test_async(mcp_audit):
    async def go():
        async with mcp_audit.connect("vendors", agent="clerk-1") as vendors:
            result = await vendors.call_tool("get_much", {"size": 3_000_000})
            assert len(result.content[0].text) == 3_000_000
    asyncio.run(go())
""")
    ended = remote.run()
    assert ended.outcomes == {"passed": 2}, ended.text
    assert ended.outcome == "VERIFIED"
    assert vendors.calls() == ["get_vendor", "get_much"]


def test_a_server_that_is_down_is_said_where_a_test_connects(suite: Suite) -> None:
    suite.write("mcp.json", json.dumps({"mcpServers": {"vendors": {"url": "http://127.0.0.1:9/mcp"}}}))
    suite.test("""\
def test_a(mcp_audit):
    with mcp_audit.connect("vendors", agent="clerk-1", idle_ok=True):
        pass
""")
    ended = suite.run()
    assert "ServerError: the MCP server could not be initialised: server 'vendors': http://127.0.0.1:9" in ended.text
