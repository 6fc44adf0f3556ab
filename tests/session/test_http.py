"""Streamable HTTP between a real client and a real server: recorded, judged, then passed on, in both eras."""

import json
from pathlib import Path

import pytest

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .over_http import ERAS, NEWER, OLDER, connected, gateway, records, served, text, verified

pytestmark = pytest.mark.anyio


SERVERS = [
    (OLDER, (), "legacy"),
    (OLDER, ("json",), "legacy"),
    (OLDER, ("stateless",), "legacy"),
    (NEWER, (), "legacy"),
    (NEWER, (), "2026-07-28"),
    (NEWER, ("json",), "auto"),
    (OLDER, (), "auto"),
]


@pytest.mark.parametrize(("python", "modes", "era"), [case for case in SERVERS if case[2] in ERAS])
async def test_a_call_is_recorded_judged_and_answered_and_a_denied_one_never_reaches_the_server(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, python: str, modes: tuple[str, ...], era: str
) -> None:
    with served(tmp_path, *modes, python=python) as server:
        with gateway(recorder, server.entry()) as url:
            async with connected(url, era) as client:
                assert text(await client.call_tool("get_vendor", {"id": "v1"})) == "vendor v1"
                denied = await client.call_tool("delete_vendor", {"id": "v1"})
                assert "DEFAULT-DENY" in text(denied)
                assert text(await client.call_tool("get_vendor", {"id": "v2"})) == "vendor v2"
        assert server.calls() == ["get_vendor", "get_vendor"]
    assert verified(config) == "VERIFIED"
    sent = [m["wire"] for m in records(config, "msg", direction="c2s", origin="received")]
    reached = [r["body"] for r in server.requests() if r.get("body")]
    assert [body for body in sent if "delete_vendor" not in str(body)] == reached
    assert {m["source"] for m in records(config, "msg")} == {"http"}
    calls = records(config, "msg", method="tools/call", kind="request")
    answers = records(config, "msg", method="tools/call", kind="result", origin="received")
    assert [a["ref"] for a in answers] == [f"main/{calls[0]['seq']}", f"main/{calls[2]['seq']}"]
    assert json.dumps(records(config, "finding")).count("delete_vendor") >= 1
