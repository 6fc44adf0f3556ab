"""What travels on event streams, as it comes: progress, what the server asks, resumption, ends and hang-ups."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import types

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .over_http import (
    ERAS,
    NEWER,
    OLDER,
    connected,
    gateway,
    httpx,
    records,
    sampling,
    served,
    started_everything,
    text,
    verified,
)

pytestmark = pytest.mark.anyio
ALL = 'governance: 1\npolicy: all\nrules:\n- {id: ALL, allow: ["vendors.*"]}\n'
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"sampling": {}},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


def call(id_: int, tool: str, **arguments: object) -> dict[str, object]:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": f"p{id_}"}}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


async def opened(client: httpx.AsyncClient, url: str) -> dict[str, str]:
    """The MCP handshake by hand; gives the headers of the session."""
    answer = await client.post(url, json=INITIALIZE, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    session = HEADERS | {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    ready = await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    assert ready.status_code == 202
    return session


@pytest.mark.parametrize("era", ERAS[:2])
async def test_progress_arrives_before_the_result_that_it_precedes(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, era: str
) -> None:
    seen: list[str] = []
    first = asyncio.Event()

    async def progressed(done: float, total: float | None, message: str | None) -> None:
        seen.append(f"{done:.0f}/{total or 0:.0f}")
        first.set()

    with served(tmp_path) as server, gateway(recorder, server.entry()) as url:
        async with connected(url, era) as client:
            calling = asyncio.ensure_future(
                client.call_tool("get_slowly", {"steps": 3, "pause_s": 0.4}, progress_callback=progressed)
            )
            await asyncio.wait_for(first.wait(), 20)
            assert not calling.done()  # a recorder that buffered the stream would hold this back until its end
            assert text(await calling) == "done"
    assert seen == ["1/3", "2/3", "3/3"]
    progress = records(config, "msg", method="notifications/progress")
    assert [m["direction"] for m in progress] == ["s2c"] * 3


@pytest.mark.parametrize("python", [OLDER, NEWER])
async def test_sampling_and_elicitation_go_there_and_back_over_the_stream_of_the_call(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, python: str
) -> None:
    async def elicited(context: object, params: object) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"colour": "blue"})

    with served(tmp_path, python=python) as server, gateway(recorder, server.entry(), policy=None) as url:
        callbacks = {"sampling_callback": sampling("all well"), "elicitation_callback": elicited}
        async with connected(url, "legacy", **callbacks) as client:
            assert text(await client.call_tool("get_sampled", {})) == "sampled all well"
            assert text(await client.call_tool("get_elicited", {})) == "elicited accept blue"
    for method in ("sampling/createMessage", "elicitation/create"):
        asked, answered = records(config, "msg", method=method)
        assert (asked["direction"], asked["kind"]) == ("s2c", "request")
        assert (answered["direction"], answered["kind"]) == ("c2s", "result")
        assert answered["ref"] == f"main/{asked['seq']}"


async def test_a_denied_question_of_the_server_never_reaches_the_agent_and_is_answered_for_it(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    asked: list[object] = []

    async def never(*args: object) -> types.CreateMessageResult:
        asked.append(args)
        raise AssertionError

    with served(tmp_path, python=OLDER) as server:
        with gateway(recorder, server.entry()) as url:
            async with connected(url, "legacy", sampling_callback=never) as client:
                assert "DEFAULT-DENY" in text(await client.call_tool("get_sampled", {}))
        (told,) = [m for m in server.messages() if "error" in m]
    assert asked == [] and "DEFAULT-DENY" in json.dumps(told)
    (own,) = records(config, "msg", origin="synthesised", direction="c2s")
    assert json.loads(str(own["wire"])) == told
    (posted,) = [s for s in records(config, "session", state="request") if s.get("origin") == "synthesised"]
    (heard,) = records(config, "session", state="response", ref=f"main/{posted['seq']}")
    assert heard["status"] == 202


async def test_what_the_server_says_on_its_own_comes_over_the_get_stream(
    recorder: Recorder, config: RecorderConfig
) -> None:
    logged = asyncio.Event()

    async def log(_: object) -> None:
        logged.set()

    with started_everything("streamableHttp") as base, gateway(recorder, {"url": f"{base}/mcp"}, None) as url:
        async with connected(url, "legacy", logging_callback=log) as client:
            await client.call_tool("toggle-simulated-logging", {})
            await asyncio.wait_for(logged.wait(), 30)
    (stream,) = records(config, "session", state="request", method="GET")
    said = records(config, "msg", method="notifications/message")
    assert said and {m["exchange"] for m in said} == {f"main/{stream['seq']}"}
    assert verified(config) == "VERIFIED"


async def resumed_until_answered(client: Any, url: str, headers: dict[str, str]) -> list[str]:
    """What a stream that is resumed says until the answer to request 1."""
    said: list[str] = []
    async with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                said.append(line)
            if '"id":1' in line:
                break
    return said


async def test_a_stream_that_broke_is_resumed_with_the_servers_own_event_ids_and_a_delete_ends_the_session(
    recorder: Recorder, config: RecorderConfig
) -> None:
    with started_everything("streamableHttp") as base, gateway(recorder, {"url": f"{base}/mcp"}, ALL) as url:
        async with httpx.AsyncClient(timeout=30) as client:
            session = await opened(client, url)
            long = call(1, "trigger-long-running-operation", duration=2, steps=4)
            event_id = ""
            async with client.stream("POST", url, json=long, headers=session) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        event_id = line[4:]
                    if "notifications/progress" in line:
                        break  # and hang up
            # The server goes on without anybody who listens: this one is done after the one that was hung up on.
            later = call(9, "trigger-long-running-operation", duration=3, steps=1)
            await client.post(url, json=later, headers=session)
            resumed = session | {"last-event-id": event_id}
            said = await resumed_until_answered(client, url, resumed)
            assert "Long running operation completed" in said[-1]
            assert await resumed_until_answered(client, url, resumed) == said  # the agent may not have got it
            ended = await client.delete(url, headers=session)
            assert ended.status_code == 200
            assert (await client.post(url, json=call(2, "echo", message="x"), headers=session)).status_code == 400
    (asked,) = records(config, "msg", method="tools/call", kind="request", id=1)
    answered = records(config, "msg", method="tools/call", kind="result")[-1]
    assert records(config, "finding") == [] and records(config, "session", state="event", repeated=True)
    assert answered["ref"] == f"main/{asked['seq']}" and answered["event"]
    assert event_id in {m.get("event") for m in records(config, "msg")}
    again = records(config, "session", state="request", method="GET")[-1]
    assert ["last-event-id", event_id] in again["headers"]
    kept = json.dumps(records(config, "session"), default=str)
    assert session["mcp-session-id"] not in kept and "hmac-sha256:" in kept


async def test_an_agent_that_hangs_up_is_passed_on_to_the_server(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path) as server, gateway(recorder, server.entry(), policy=None) as url:
        async with httpx.AsyncClient(timeout=60) as client:
            session = await opened(client, url)
            slow = call(1, "get_slowly", steps=1, pause_s=60)
            async with client.stream("POST", url, json=slow, headers=session) as answer:
                assert answer.status_code == 200
            await asyncio.to_thread(server.wait_for, left="POST")
            again = await client.post(url, json=call(2, "get_vendor", id="v1"), headers=session)
            assert "vendor v1" in again.text
    (left,) = records(config, "session", state="left")
    (asked,) = [m for m in records(config, "msg", kind="request") if "get_slowly" in str(m["wire"])]
    assert left["ref"] == asked["exchange"]


@pytest.mark.parametrize("mode", ["json", "stream"])
async def test_a_result_of_twenty_mebibytes_passes_whole(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, mode: str
) -> None:
    size = 20 * 1024 * 1024
    with (
        served(tmp_path, *(["json"] if mode == "json" else []), python=OLDER) as server,
        gateway(recorder, server.entry(), None) as url,
    ):
        async with httpx.AsyncClient(timeout=60) as client:
            session = await opened(client, url)
            answer = await client.post(url, json=call(1, "get_much", size=size), headers=session)
            straight = await client.post(server.url(), json=INITIALIZE, headers=HEADERS)
            direct = session | {"mcp-session-id": straight.headers["mcp-session-id"]}
            wanted = await client.post(server.url(), json=call(1, "get_much", size=size), headers=direct)
    assert len(answer.content) > size and answer.content == wanted.content
    (result,) = records(config, "msg", method="tools/call", kind="result")
    assert len(str(result["wire"])) > size
