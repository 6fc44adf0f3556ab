"""Servers with a URL in mcp.json: what an agent is given, what the report says, and what nobody may read in it."""

import json
from collections.abc import Iterator

import pytest

from tests.session.over_http import Served, served

from .suites import Suite

SECRET = "tok-5up3r-s3cret-value"
CLIENT = """\
import asyncio
from mcp.client.client import Client

def ask(url, *calls):
    async def run():
        async with Client(url) as client:
            return [(await client.call_tool(tool, arguments)).content[0].text for tool, arguments in calls]
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
