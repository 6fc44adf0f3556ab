"""Claims about asking servers what they offer: all of it, from any server, and never a hang, a call or a secret."""

import asyncio
from pathlib import Path

import pytest

from pytest_mcp_governance.adopt.configurations import read
from pytest_mcp_governance.adopt.listing import Listing, list_server, list_servers, spec_of
from pytest_mcp_governance.errors import ConfigurationError, ServerError
from pytest_mcp_governance.session.server import ServerSpec
from tests.adopt.offers import entry, tool


def spec(folder: Path, name: str = "it", **offer: object) -> ServerSpec:
    return ServerSpec.from_mapping(name, entry(folder, name, **offer), folder)


def listed(folder: Path, **offer: object) -> Listing:
    return asyncio.run(list_server(spec(folder, **offer), patience_s=30))


def test_every_page_of_every_list_is_read(tmp_path: Path) -> None:
    tools = [tool(f"t{n}") for n in range(7)]
    found = listed(
        tmp_path, tools=tools, resources=[{"uri": "file:///a", "name": "a"}], prompts=[], page=3, version="9"
    )
    assert list(found.tools) == tools
    assert [resource["uri"] for resource in found.resources] == ["file:///a"]
    assert (found.name, found.version, found.protocol, found.prompts) == ("offering", "9", "2025-11-25", ())


def test_what_is_not_offered_is_not_asked_for_and_nothing_is_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    asked = ServerSpec.from_mapping(
        "it", {**entry(tmp_path, "it", tools=[tool("a")]), "env": {"OFFERING_LOG": str(log)}}, tmp_path
    )
    asyncio.run(list_server(asked))
    assert log.read_text().split() == ["initialize", "notifications/initialized", "tools/list"]


def test_a_server_that_asks_and_talks_in_between_is_listed_all_the_same(tmp_path: Path) -> None:
    assert len(listed(tmp_path, tools=[tool("a")], mode="noisy").tools) == 1


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("die", "it ended with status 7 before it answered"),
        ("error", "it answered tools/list with an error: the ledger is locked"),
        ("no-list", "its answer to tools/list has no list of tools"),
        ("endless", "its list of tools has more than 100 pages"),
    ],
)
def test_why_a_server_cannot_be_listed_is_said(tmp_path: Path, mode: str, says: str) -> None:
    with pytest.raises(ServerError) as raised:
        listed(tmp_path, tools=[], mode=mode)
    assert says in str(raised.value)


def test_the_last_words_of_a_server_are_told_without_its_secrets(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as raised:
        listed(tmp_path, mode="die")
    assert str(raised.value).splitlines()[1:] == ["offering: starting", "offering: no ledger, token=[vendor_tokens]"]


def test_a_server_that_does_not_answer_is_ended_in_time(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no answer to initialize in 1 s"):
        asyncio.run(list_server(spec(tmp_path, mode="hang"), patience_s=1))


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="two of the same name"):
        listed(tmp_path, tools=[tool("a"), tool("a")])


def test_one_servers_failure_leaves_the_others(tmp_path: Path) -> None:
    gone = ServerSpec("gone", "no-such-program", cwd=str(tmp_path))
    found = list_servers([gone, spec(tmp_path, tools=[tool("a")]), spec(tmp_path, "dead", mode="die")])
    assert isinstance(found["gone"], ConfigurationError)
    assert isinstance(found["dead"], ServerError)
    assert isinstance(found["it"], Listing)


def test_variables_are_filled_in_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(
        '{"mcpServers": {"it": {"command": "${A:-x}", "args": ["${B}"], "env": {"C": "${MCP_AUDIT_CDP_URL}"}}}}'
    )
    (server,) = read(path).servers
    made = spec_of(server, tmp_path, {"B": "b"}, name="other")
    assert (made.name, made.command, made.args, dict(made.env)) == ("other", "x", ("b",), {"C": "${MCP_AUDIT_CDP_URL}"})
    with pytest.raises(ConfigurationError, match="it needs the environment variable B, which is not set"):
        spec_of(server, tmp_path, {})
