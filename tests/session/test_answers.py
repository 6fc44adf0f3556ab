"""What the asking side is told when a message is blocked."""

import json
from dataclasses import replace

import pytest

from pytest_mcp_governance.session.answers import refusal, replacement
from pytest_mcp_governance.session.wire import Exchange, Message, Request


def _received(**fields: object) -> Message:
    return Exchange().classify(json.dumps({"jsonrpc": "2.0", **fields}).encode(), "c2s")


def _decoded(raw: bytes | None) -> dict[str, object]:
    assert raw is not None
    value = json.loads(raw)
    assert isinstance(value, dict)
    return value


def test_a_denied_tool_call_is_answered_with_a_result_that_the_model_reads() -> None:
    answer = _decoded(refusal(_received(id="a", method="tools/call", params={"name": "x"}), "because"))
    assert answer["id"] == "a"
    assert answer["result"] == {
        "content": [{"type": "text", "text": "because"}],
        "isError": True,
        "resultType": "complete",
    }


def test_another_denied_request_is_answered_with_an_error() -> None:
    answer = _decoded(refusal(_received(id=4, method="resources/read", params={"uri": "x"}), "because"))
    assert answer["error"] == {"code": -32001, "message": "because"}


def test_a_denied_notification_is_answered_with_nothing() -> None:
    assert refusal(_received(method="notifications/x"), "because") is None


def test_every_request_in_a_refused_batch_is_answered_so_that_nobody_waits() -> None:
    calls = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "x"}} for n in (1, 2)]
    raw = refusal(Exchange().classify(json.dumps(calls).encode(), "c2s"), "no batches")
    assert raw is not None
    assert [a["id"] for a in json.loads(raw)] == [1, 2]


@pytest.mark.parametrize("raw", [b"garbage", b"[]", b'{"jsonrpc":"2.0","id":null,"method":"x"}'])
def test_a_refused_message_without_a_usable_id_is_answered_with_nothing(raw: bytes) -> None:
    assert refusal(Exchange().classify(raw, "c2s"), "because") is None


def test_a_withheld_result_of_a_task_is_replaced_like_that_of_its_call() -> None:
    call = _received(id=1, method="tools/call", params={"name": "x"}).event("m/1", conn="c", server="s", agent="a")
    asked = _received(id=2, method="tasks/result", params={"taskId": "t"})
    event = asked.event("m/2", conn="c", server="s", agent="a")
    known = Request("m/2", replace(event, origin=call), 2)
    assert "isError" in _decoded(replacement(known, "withheld"))["result"]  # type: ignore[operator]  # a mapping
    assert "error" in _decoded(replacement(Request("m/2", event, 2), "withheld"))


def test_a_withheld_answer_is_replaced_under_the_id_of_its_request() -> None:
    message = _received(id=7, method="tools/call", params={"name": "x"})
    request = Request("main/3", message.event("main/3", conn="c1", server="s", agent="a"), 7)
    answer = _decoded(replacement(request, "withheld"))
    assert answer["id"] == 7
    assert isinstance(answer["result"], dict) and answer["result"]["isError"] is True
