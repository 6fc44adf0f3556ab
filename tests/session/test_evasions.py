"""A denied tool by every way around: nothing slips through, nothing hangs, all is in the evidence.

The server's own log says which tools ran; the evidence says what was tried. Two servers read their input otherwise
than a strict reader does: the Python SDK cuts lines at a bare CR.
"""

import json
import time

import pytest

from .stage import Stage

BUT_DROP = "governance: 1\npolicy: p\nrules:\n- {id: WORK, allow: ['srv.{work,big,wait,measure}']}\n"
DROP = '{"jsonrpc":"2.0","id":91,"method":"tools/call","params":{"name":"drop","arguments":{}}}'
WORK = '{"jsonrpc":"2.0","id":90,"method":"tools/call","params":{"name":"work","arguments":{"text":%s}}}'

WAYS = {
    "plainly": DROP,
    "in a batch": f"[{WORK % 1},{DROP}]",
    "under a duplicate key": DROP.replace('"drop"', '"work","name":"drop"'),
    "under a duplicate key, the first": DROP.replace('"drop"', '"drop","name":"work"'),
    "with params twice": DROP.replace('"params"', '"params":{"name":"work","arguments":{"text":"a"}},"params"'),
    "in another case": DROP.replace('"name":"drop"', '"name":"work","Name":"drop"'),
    "with params in another case": DROP.replace('"params"', '"params":{"name":"work","arguments":{}},"Params"'),
    "behind a bare CR": WORK % f"\r{DROP}\r",
    "behind a bare CR at the end": WORK % '"a"' + f"\r{DROP}",
    "behind a line separator": WORK % f'"\u2028{json.dumps(DROP)[1:-1]}\u2028"',
    "behind a byte order mark": "\ufeff" + DROP,
    "in an unknown extension": DROP.replace("tools/call", "x-vendor/call"),
    "as a notification": DROP.replace('"id":91,', ""),
    "with a lone surrogate": DROP.replace('"drop"', '"drop\\ud800"'),
    "with a fraction for an id": DROP.replace("91", "91.0"),
    "in an answer": '{"jsonrpc":"2.0","id":90,"result":{},"method":"tools/call","params":{"name":"drop"}}',
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("server", ["asking"])
def test_a_denied_tool_does_not_run(stage: Stage, server: str, way: str) -> None:
    with stage.scene(server, BUT_DROP) as scene:
        scene.peer.start()
        scene.peer.send(WAYS[way].encode())
        assert scene.peer.call("work", text="after")["isError"] is False
    assert [tool for tool in scene.tools_run if tool != "work"] == []
    assert any(WAYS[way] == m["wire"] for m in scene.records("msg", direction="c2s"))
    if way != "behind a line separator":  # no reader runs anything there: inside a text every quote is escaped
        assert [f["state"] for f in scene.findings] == ["blocked"]


@pytest.mark.parametrize("size", [70_000, 20 * 2**20])
def test_a_long_result_passes_whole_and_a_denied_call_beside_it_does_not(stage: Stage, size: int) -> None:
    with stage.scene("asking", BUT_DROP) as scene:
        scene.peer.start()
        scene.peer.send(DROP.encode())
        told = scene.peer.call("big", size=size)
        assert scene.peer.call("drop")["isError"] is True
    assert told["content"] == [{"type": "text", "text": "x" * size}]
    assert scene.tools_run == ["big"]
    assert "x" * size in str(scene.message(tool="big", kind="result")["wire"])


def test_a_cancelled_request_hides_nothing_and_nobody_waits(stage: Stage) -> None:
    with stage.scene("asking", BUT_DROP) as scene:
        scene.peer.start()
        scene.peer.send(b'{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"wait","arguments":{}}}')
        scene.peer.send(DROP.encode())
        scene.peer.tell("notifications/cancelled", requestId=91)
        scene.peer.tell("notifications/cancelled", requestId="w")
        assert scene.peer.call("work", text="after")["isError"] is False
    assert "drop" not in scene.tools_run
    assert len(scene.records("msg", method="notifications/cancelled")) == 2


def test_frames_of_64_mib_pass_end_to_end_both_ways(stage: Stage) -> None:
    sent, asked = 64 * 2**20 - 4096, 32 * 2**20 - 4096  # the SDK sends a text twice, as content and structured
    began = time.monotonic()
    with stage.scene("asking", BUT_DROP) as scene:
        scene.peer.start()
        measured = scene.peer.call("measure", text="y" * sent)
        told = scene.peer.call("big", size=asked)
    took_s = time.monotonic() - began
    assert (measured["content"], told["isError"]) == ([{"type": "text", "text": str(sent)}], False)
    request = scene.message(tool="measure", kind="request")
    answer = scene.message(tool="big", kind="result")
    lengths = [len(str(m["wire"])) for m in (request, answer)]
    assert all(2**26 - 2**14 < length <= 2**26 for length in lengths), lengths
    print(f"128 MiB in two frames of 64 MiB took {took_s:.1f} s")
