"""Streamable HTTP between a real client and a real server: recorded, judged, then passed on, in both eras."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp.client.client import Client

from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import begin
from .over_http import NEWER, OLDER, READ_ONLY, records, served

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def gateway(recorder: Recorder, entry: dict[str, object], policy: str | None = READ_ONLY) -> Iterator[str]:
    """A test attempt with one gateway to `vendors`; gives the URL that the agent uses."""
    begin(recorder, *([policy] if policy else []))
    opened = recorder.open_gateway(servers={"vendors": entry}, agent="clerk-1", request=None, idle_ok=True)
    urls = opened["urls"]
    assert isinstance(urls, dict)
    yield urls["vendors"]
    recorder.close_gateway(str(opened["gateway"]))
    recorder.conclude()
    recorder.end_test(outcome="passed", failure=None)
    recorder.finish_run(complete=True)


def text(result: object) -> str:
    return str(result.content[0].text)  # type: ignore[attr-defined]  # a CallToolResult of one text


@pytest.mark.parametrize(
    ("python", "modes", "era"),
    [
        (OLDER, (), "legacy"),
        (OLDER, ("json",), "legacy"),
        (OLDER, ("stateless",), "legacy"),
        (NEWER, (), "legacy"),
        (NEWER, (), "2026-07-28"),
        (NEWER, ("json",), "auto"),
        (OLDER, (), "auto"),
    ],
)
async def test_a_call_is_recorded_judged_and_answered_and_a_denied_one_never_reaches_the_server(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, python: str, modes: tuple[str, ...], era: str
) -> None:
    with served(tmp_path, *modes, python=python) as server:
        with gateway(recorder, server.entry()) as url:
            async with Client(url, mode=era) as client:
                assert text(await client.call_tool("get_vendor", {"id": "v1"})) == "vendor v1"
                denied = await client.call_tool("delete_vendor", {"id": "v1"})
                assert denied.is_error and "DEFAULT-DENY" in text(denied)
                assert text(await client.call_tool("get_vendor", {"id": "v2"})) == "vendor v2"
        assert server.calls() == ["get_vendor", "get_vendor"]
    report = verify(config.report_copy, trust=[verify(config.report_copy).signer])
    assert (report.outcome.name, list(report.problems)) == ("VERIFIED", [])
    sent = [m["wire"] for m in records(config, "msg", direction="c2s", origin="received")]
    reached = [r["body"] for r in server.requests() if r.get("body")]
    assert [body for body in sent if "delete_vendor" not in str(body)] == reached
    assert {m["source"] for m in records(config, "msg")} == {"http"}
    calls = records(config, "msg", method="tools/call", kind="request")
    answers = records(config, "msg", method="tools/call", kind="result", origin="received")
    assert [a["ref"] for a in answers] == [f"main/{calls[0]['seq']}", f"main/{calls[2]['seq']}"]
    assert json.dumps(records(config, "finding")).count("delete_vendor") >= 1
