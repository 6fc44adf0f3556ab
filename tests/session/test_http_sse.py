"""HTTP+SSE of 2024-11-05 between a real client and a real server."""

from pathlib import Path

import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .over_http import NEWER, OLDER, gateway, records, sampling, served, started_everything, text, verified

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("python", [OLDER, NEWER])
async def test_calls_go_over_the_stream_and_a_denied_one_never_reaches_the_server(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, python: str
) -> None:
    with served(tmp_path, "sse", python=python) as server:
        with gateway(recorder, server.entry("/sse")) as url:
            async with sse_client(url) as streams, ClientSession(*streams) as client:
                await client.initialize()
                assert text(await client.call_tool("get_vendor", {"id": "v1"})) == "vendor v1"
                assert "DEFAULT-DENY" in text(await client.call_tool("delete_vendor", {"id": "v1"}))
                assert text(await client.call_tool("get_vendor", {"id": "v2"})) == "vendor v2"
        assert server.calls() == ["get_vendor", "get_vendor"]
    assert verified(config) == "VERIFIED"
    assert {m["source"] for m in records(config, "msg")} == {"sse"}
    states = [s["state"] for s in records(config, "session")]
    assert (states[0], states[-1], states.count("opened")) == ("opened", "closed", 1)


async def test_what_the_server_asks_of_the_model_is_passed_on_or_answered_for_the_agent(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path, "sse", python=OLDER) as server:
        with gateway(recorder, server.entry("/sse")) as url:
            async with (
                sse_client(url) as streams,
                ClientSession(*streams, sampling_callback=sampling("never")) as client,
            ):
                await client.initialize()
                assert "DEFAULT-DENY" in text(await client.call_tool("get_sampled", {}))
        told = [m for m in server.messages() if "error" in m]
        assert len(told) == 1 and "DEFAULT-DENY" in str(told)
    (own,) = records(config, "msg", origin="synthesised", direction="c2s")
    assert own["method"] == "sampling/createMessage"


async def test_the_everything_server_over_sse(recorder: Recorder, config: RecorderConfig, tmp_path: Path) -> None:
    with started_everything("sse") as base, gateway(recorder, {"url": f"{base}/sse"}, policy=None) as url:
        async with sse_client(url) as streams, ClientSession(*streams) as client:
            await client.initialize()
            assert text(await client.call_tool("echo", {"message": "hello"})) == "Echo: hello"
    assert verified(config) == "VERIFIED"
