"""A message past the limit: an error to whoever waits, or the connection ends and says why; nothing hangs."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_mcp_governance.session.control import Recorder

from .conftest import configured
from .stage import Stage

TOOLS = "governance: 1\npolicy: p\nrules:\n- {id: ALL, allow: ['srv.*']}\n"
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("narrow")
    config = replace(configured(folder), max_message_bytes=LIMIT)
    recorder = Recorder.start(config)
    yield Stage(recorder, config, folder)
    recorder.end()


@pytest.mark.parametrize("policy", [[TOOLS], [TOOLS + "mode: observe\n"], []], ids=["enforce", "observe", "none"])
def test_a_call_that_is_too_long_is_an_error_to_the_agent_in_every_mode(narrow: Stage, policy: list[str]) -> None:
    with narrow.scene("asking", *policy) as scene:
        scene.peer.start()
        raw = json.dumps({"jsonrpc": "2.0", "id": 50, "method": "tools/call",
                          "params": {"name": "work", "arguments": {"text": "z" * LIMIT}}}).encode()  # fmt: skip
        scene.peer.send(raw)
        told = scene.peer.answer(50)
        assert scene.peer.call("drop")["isError"] is False
    assert "longer than the limit" in json.dumps(told["error"])
    assert scene.tools_run == ["drop"]
    record = scene.records("msg", problems=["too-long"])[0]
    assert (record["size"], record["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert scene.decision(record)["effect"] == "block"
    assert [(f["rule"], f["state"]) for f in scene.findings] == [("MALFORMED", "blocked")]


def test_an_answer_that_is_too_long_is_an_error_to_whoever_asked(narrow: Stage) -> None:
    with narrow.scene("asking", TOOLS) as scene:
        scene.peer.start()
        told = scene.peer.ask("tools/call", name="big", arguments={"size": LIMIT})
        assert scene.peer.call("drop")["isError"] is False
    assert "longer than the limit" in json.dumps(told["error"])
    assert scene.tools_run == ["big", "drop"]
    call = scene.message(tool="big", kind="request")
    assert scene.records("msg", problems=["too-long"])[0]["ref"] == call["record"]


def test_without_an_id_the_connection_ends_and_says_why(narrow: Stage) -> None:
    with narrow.scene("asking", TOOLS) as scene:
        scene.peer.start()
        scene.peer.send(b"[" + b"1," * LIMIT + b"1]")
        assert scene.peer.process.stdout is not None
        assert scene.peer.process.stdout.read() == b""
    (why,) = (r["text"] for r in scene.records("io", stream="forward"))
    assert "longer than 64 KiB" in str(why) and "--mcp-governance-max-message" in str(why)
