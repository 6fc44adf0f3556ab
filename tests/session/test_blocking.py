"""What blocking means, for every kind of message: the blocking table, row by row, with real servers of both eras.

The server's own log is the witness of what reached it, the peer's of what reached the agent.
"""

import json

import pytest

from .stage import ACCEPTED, SAMPLED, Stage

TOOLS = "governance: 1\npolicy: p\nrules:\n- {id: ALL, allow: ['srv.*']}\n"
ASKING = TOOLS + "protocol: {sampling: {allow: true}, elicitation: {allow: true}, roots: {max: ['file:///srv']}}\n"
IBAN = "DE89370400440532013000"
LIMITED = """\
governance: 1
policy: p
data: {bank: {class: pii, detect: [iban]}, notes: {resources: ['doc://notes']}}
rules:
- {id: ALL, allow: ['srv.*'], data: [notes]}
protocol: {elicitation: {allow: true}}
"""
ASKED = {"ask_model": "sampling/createMessage", "ask_user": "elicitation/create", "ask_url": "elicitation/create"}


def test_a_denied_call_is_answered_by_a_result_that_the_model_reads(stage: Stage) -> None:
    with stage.scene("asking", "governance: 1\npolicy: p\nrules:\n- {id: DOC, allow: ['srv.big']}\n") as scene:
        scene.peer.start()
        told = scene.peer.call("drop")
    assert told["isError"] is True and "DEFAULT-DENY" in json.dumps(told)
    assert scene.tools_run == []
    request, answer = scene.records("msg", method="tools/call")
    assert (answer["origin"], answer["ref"]) == ("synthesised", request["record"])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "demo://resource/static/document/features.md"}),
        ("resources/subscribe", {"uri": "demo://resource/static/document/features.md"}),
        ("prompts/get", {"name": "simple-prompt"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}}),
        ("x-vendor/wipe", {"all": True}),
        ("tasks/get", {"taskId": "of-nobody"}),
        ("tasks/result", {"taskId": "of-nobody"}),
        ("tasks/cancel", {"taskId": "of-nobody"}),
    ],
)
def test_another_denied_request_is_answered_by_an_error_and_never_forwarded(
    stage: Stage, method: str, params: dict[str, object]
) -> None:
    with stage.scene("everything", TOOLS) as scene:
        scene.peer.start()
        told = scene.peer.ask(method, **params)
    assert "DEFAULT-DENY" in json.dumps(told["error"])
    assert [m for m in scene.server_got() if m.get("method") == method] == []
    assert [f["state"] for f in scene.findings if f["rule"] == "DEFAULT-DENY"] == ["blocked"]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_an_unknown_method_is_denied_when_enforcing_and_passed_and_flagged_when_observing(
    stage: Stage, mode: str
) -> None:
    with stage.scene("everything", TOOLS + f"mode: {mode}\n") as scene:
        scene.peer.start()
        told = scene.peer.ask("x-vendor/wipe")
        scene.peer.tell("notifications/x-vendor", text="hello")
        scene.peer.ask("ping")
    passed = [m["method"] for m in scene.server_got() if "x-vendor" in str(m.get("method"))]
    assert passed == ([] if mode == "enforce" else ["x-vendor/wipe", "notifications/x-vendor"])
    assert ("DEFAULT-DENY" in json.dumps(told)) == (mode == "enforce")
    states = [(f["clause"], f["state"]) for f in scene.findings if f["clause"] == "unknown-method"]
    assert states == [("unknown-method", "blocked" if mode == "enforce" else "reached")] * 2


def test_a_result_outside_its_data_scope_is_withheld_and_recorded_whole(stage: Stage) -> None:
    with stage.scene("asking", LIMITED) as scene:
        scene.peer.start()
        told = scene.peer.call("payee")
    assert told["isError"] is True and IBAN not in json.dumps(scene.peer.got)
    assert scene.tools_run == ["payee"]
    withheld = scene.message(kind="result", tool="payee", origin="received")
    assert IBAN in str(withheld["wire"]) and scene.decision(withheld)["effect"] == "replace"


@pytest.mark.parametrize("tool", list(ASKED))
def test_what_a_server_asks_is_never_seen_by_the_client_and_the_server_gets_an_error(stage: Stage, tool: str) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
        told = scene.peer.call(tool)
    assert scene.peer.heard(ASKED[tool]) == []
    assert told["isError"] is True and "DEFAULT-DENY" in json.dumps(told)
    request = scene.message(method=ASKED[tool], direction="s2c", kind="request")
    answer = scene.message(origin="synthesised", direction="c2s")
    assert (answer["kind"], answer["ref"]) == ("error", request["record"])
    assert [m["error"] for m in scene.server_got() if "error" in m]


@pytest.mark.parametrize(("tool", "answer"), [("ask_model", SAMPLED), ("ask_user", ACCEPTED), ("ask_url", ACCEPTED)])
def test_an_allowed_question_and_its_answer_pass_and_are_recorded_both_ways(
    stage: Stage, tool: str, answer: object
) -> None:
    with stage.scene("asking", ASKING) as scene:
        scene.peer.start()
        told = scene.peer.call(tool)
    assert told["isError"] is False and scene.findings == []
    (heard,) = scene.peer.heard(ASKED[tool])
    asked = scene.message(method=ASKED[tool], direction="s2c", kind="request")
    answered = scene.message(method=ASKED[tool], direction="c2s", kind="result")
    assert json.loads(str(asked["wire"])) == heard
    assert (answered["ref"], json.loads(str(answered["wire"]))["result"]) == (asked["record"], answer)


def test_roots_inside_the_limit_reach_the_server(stage: Stage) -> None:
    with stage.scene("asking", ASKING) as scene:
        scene.peer.start()
        assert "file:///srv/ap" in json.dumps(scene.peer.call("ask_roots"))
    assert scene.decision(scene.message(method="roots/list", kind="result"))["clause"] == "roots"


@pytest.mark.parametrize("policy", [TOOLS, ASKING], ids=["no policy for roots", "outside of it"])
def test_a_roots_answer_that_is_not_allowed_becomes_an_error_to_the_server(stage: Stage, policy: str) -> None:
    with stage.scene("asking", policy) as scene:
        scene.peer.handlers["roots/list"] = lambda _: {"roots": [{"uri": "file:///etc"}]}
        scene.peer.start()
        told = scene.peer.call("ask_roots")
    assert told["isError"] is True and "file:///etc" not in json.dumps(told)
    assert "file:///etc" not in scene.received.read_text()
    answer = scene.message(method="roots/list", kind="result", direction="c2s")
    assert "file:///etc" in str(answer["wire"])
    assert scene.message(origin="synthesised", direction="c2s")["ref"] == answer["record"]


@pytest.mark.parametrize("tool", ["ask_user", "ask_model", "ask_roots"])
def test_a_result_that_asks_for_input_is_replaced_and_the_client_never_sees_the_question(
    stage: Stage, tool: str
) -> None:
    with stage.scene("rounds", TOOLS, modern=True) as scene:
        told = scene.peer.ask("tools/call", name=tool, arguments={})["result"]
    assert isinstance(told, dict) and told["isError"] is True and "inputRequests" not in told
    assert scene.tools_run == [f"{tool} asked"]
    asked = scene.message(method="tools/call", kind="result", origin="received")
    assert "inputRequests" in str(asked["wire"]) and asked["state_sha256"]
    assert scene.decision(asked)["effect"] == "replace"


@pytest.mark.parametrize(("tool", "answer"), [("ask_user", ACCEPTED), ("ask_model", SAMPLED)])
def test_an_answer_that_is_not_allowed_does_not_reach_the_server_in_the_next_round(
    stage: Stage, tool: str, answer: object
) -> None:
    with stage.scene("rounds", TOOLS, modern=True) as scene:
        told = scene.peer.ask("tools/call", name=tool, arguments={}, inputResponses={"q": answer})
    assert "DEFAULT-DENY" in json.dumps(told)
    assert scene.tools_run == []


@pytest.mark.parametrize(
    ("tool", "answer"),
    [("ask_user", ACCEPTED), ("ask_model", SAMPLED), ("ask_roots", {"roots": [{"uri": "file:///srv/ap"}]})],
)
def test_an_allowed_round_completes_and_its_retry_refers_to_the_question(
    stage: Stage, tool: str, answer: object
) -> None:
    with stage.scene("rounds", ASKING, modern=True) as scene:
        asked = scene.peer.ask("tools/call", name=tool, arguments={})["result"]
        assert isinstance(asked, dict) and asked["resultType"] == "input_required"
        state = asked["requestState"]
        told = scene.peer.ask("tools/call", name=tool, arguments={}, inputResponses={"q": answer}, requestState=state)
    assert f"it was {tool} 1" in json.dumps(told)
    assert scene.tools_run == [f"{tool} asked", f"{tool} answered"] and scene.findings == []
    first, retry = scene.records("msg", method="tools/call", kind="request")
    question = scene.records("msg", method="tools/call", kind="result")[0]
    assert (retry["ref"], retry["state_sha256"]) == (first["record"], question["state_sha256"])


def test_a_notification_that_is_not_allowed_is_dropped_and_recorded(stage: Stage) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
        scene.peer.tell("notifications/x-vendor", text="do it")
        scene.peer.ask("ping")
    dropped = scene.message(method="notifications/x-vendor")
    assert scene.decision(dropped)["effect"] == "block"
    assert [m for m in scene.server_got() if m.get("method") == "notifications/x-vendor"] == []
    assert scene.records("msg", origin="synthesised") == []
