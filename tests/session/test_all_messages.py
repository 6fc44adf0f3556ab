"""What is in the evidence, always: every kind of message of both eras, by its number in the list, with real servers."""

import json

import pytest

from .stage import ACCEPTED, Stage
from .test_blocking import ASKING, IBAN, LIMITED, TOOLS

OPEN = """\
governance: 1
policy: p
rules:
- {id: ALL, allow: ['srv.*'], allow_resources: ['demo://**'], allow_prompts: ['srv.*']}
"""


def test_1_initialize_and_discover_stand_with_what_both_sides_can_do(stage: Stage) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
    assert scene.message(method="initialize", kind="result")["ref"]
    closed = scene.records("session", state="closed")[0]
    assert (closed["protocol"], closed["client"]) == ("2025-11-25", {"name": "raw", "version": "1"})
    assert closed["client_capabilities"] == ["elicitation", "roots", "sampling"]
    assert "tools" in closed["server_capabilities"]


def test_1_each_request_says_who_asks_and_what_it_can_do(stage: Stage) -> None:
    with stage.scene("rounds", TOOLS, modern=True) as scene:
        scene.peer.ask("server/discover")
    closed = scene.records("session", state="closed")[0]
    assert scene.message(method="server/discover", kind="result")
    assert (closed["protocol"], closed["client"]) == ("2026-07-28", {"name": "raw", "version": "1"})
    assert closed["client_capabilities"] == ["elicitation", "io.modelcontextprotocol/tasks", "roots", "sampling"]
    assert "io.modelcontextprotocol/tasks" in closed["server_capabilities"]
    assert closed["server_info"] == {"name": "rounds", "version": ""}


def test_2_every_definition_has_a_digest_and_one_that_changes_is_found(stage: Stage) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
        scene.peer.ask("tools/list")
        scene.peer.ask("tools/list")
        scene.peer.call("redefine")
        scene.peer.ask("tools/list")
    listing, _, later = scene.records("msg", method="tools/list", kind="result")
    tools = json.loads(str(listing["wire"]))["result"]["tools"]
    recorded = scene.records("definition")
    assert {r["tool"] for r in recorded if r["ref"] == listing["record"]} == {t["name"] for t in tools}
    (changed,) = (r for r in recorded if "was" in r)
    assert (changed["tool"], changed["ref"]) == ("drop", later["record"])
    assert changed["was"] == next(r["sha256"] for r in recorded if r["tool"] == "drop")
    (finding,) = scene.findings
    assert (finding["rule"], finding["state"], finding["tool"]) == ("TOOL-CHANGED", "reached", "drop")
    assert "description" in str(finding["reason"])
    assert scene.message(method="notifications/tools/list_changed")


def test_3_every_part_of_a_result_is_recorded_and_resources_in_it_are_accesses(stage: Stage) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
        scene.peer.call("point")
    found = {(a["data"], a["how"], a["status"]) for a in scene.records("access", tool="point")}
    assert {("doc://linked", "link", "unresolved"), ("doc://inner", "embedded", "unresolved")} <= found


def test_3_images_annotations_and_structured_content_pass_byte_for_byte(stage: Stage) -> None:
    with stage.scene("everything", TOOLS) as scene:
        scene.peer.start()
        told = [
            scene.peer.ask("tools/call", name=name, arguments=arguments)
            for name, arguments in (
                ("get-tiny-image", {}),
                ("get-structured-content", {"location": "Chicago"}),
                ("get-annotated-message", {"messageType": "success", "includeImage": True}),
            )
        ]
    recorded = [json.loads(str(m["wire"])) for m in scene.records("msg", method="tools/call", kind="result")]
    assert recorded == told
    assert [b["media_type"] for b in scene.records("blob", kind="image")] == ["image/png"] * 2


def test_4_reads_prompts_and_completions_are_judged_by_what_they_name(stage: Stage) -> None:
    with stage.scene("everything", OPEN) as scene:
        scene.peer.start()
        scene.peer.ask("resources/list")
        scene.peer.ask("resources/templates/list")
        scene.peer.ask("prompts/list")
        scene.peer.ask("resources/read", uri="demo://resource/dynamic/text/1")
        scene.peer.ask("prompts/get", name="simple-prompt")
        reference = {"type": "ref/prompt", "name": "completable-prompt"}
        scene.peer.ask("completion/complete", ref=reference, argument={"name": "department", "value": "E"})
    judged = {
        str(m["method"]): scene.decision(m)["rule"]
        for m in scene.records("msg", kind="request", direction="c2s")
        if m["method"] != "initialize"
    }
    assert judged == {
        **dict.fromkeys(("resources/list", "resources/templates/list", "prompts/list"), "PROTOCOL"),
        **dict.fromkeys(("resources/read", "prompts/get", "completion/complete"), "ALL"),
    }
    touched = {a["data"] for a in scene.records("access")}
    assert touched == {"demo://resource/dynamic/text/1", "srv.simple-prompt", "srv.completable-prompt"}


def test_5_roots_are_recorded_with_their_answer_and_their_changes(stage: Stage) -> None:
    with stage.scene("everything", ASKING) as scene:
        scene.peer.start()
        while not scene.peer.heard("roots/list"):
            scene.peer.read()
        scene.peer.tell("notifications/roots/list_changed")
        scene.peer.ask("ping")
    assert "file:///srv/ap" in str(scene.records("msg", method="roots/list", kind="result", direction="c2s")[0]["wire"])
    assert scene.message(method="notifications/roots/list_changed")


def test_6_a_url_elicitation_ends_with_a_notification(stage: Stage) -> None:
    with stage.scene("asking", ASKING) as scene:
        scene.peer.start()
        scene.peer.call("ask_url")
    assert "bank.example" in str(scene.message(method="elicitation/create", kind="request")["wire"])
    assert scene.decision(scene.message(method="notifications/elicitation/complete"))["verdict"] == "allow"


def test_8_subscriptions_are_judged_by_their_resource_and_updates_are_recorded(stage: Stage) -> None:
    with stage.scene("asking", OPEN) as scene:
        scene.peer.start()
        scene.peer.ask("resources/subscribe", uri="demo://notes")
        assert "DEFAULT-DENY" in str(scene.peer.ask("resources/subscribe", uri="file:///etc/passwd"))
    allowed, denied = scene.records("msg", method="resources/subscribe", kind="request")
    assert (scene.decision(allowed)["rule"], scene.decision(denied)["rule"]) == ("ALL", "DEFAULT-DENY")
    assert "demo://notes" in str(scene.message(method="notifications/resources/updated")["wire"])
    assert {a["data"] for a in scene.records("access")} == {"demo://notes"}  # what was blocked was not accessed


def test_8_what_a_listening_client_is_told_refers_to_its_subscription(stage: Stage) -> None:
    with stage.scene("rounds", OPEN, modern=True) as scene:
        params = {"notifications": {"toolsListChanged": True}, "_meta": scene.peer.meta}
        listen = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}
        scene.peer.send(json.dumps(listen).encode())
        while not scene.peer.heard("notifications/subscriptions/acknowledged"):
            scene.peer.read()
    asked = scene.message(method="subscriptions/listen", kind="request")
    assert scene.message(method="notifications/subscriptions/acknowledged")["ref"] == asked["record"]


def test_9_the_result_of_a_task_is_judged_as_the_result_of_the_call_that_made_it(stage: Stage) -> None:
    with stage.scene("rounds", LIMITED, modern=True) as scene:
        made = scene.peer.ask("tools/call", name="report", arguments={})["result"]
        assert isinstance(made, dict) and made["resultType"] == "task"
        asked = scene.peer.ask("tasks/get", taskId="t-1")["result"]
        assert isinstance(asked, dict) and asked["status"] == "input_required"
        scene.peer.ask("tasks/update", taskId="t-1", inputResponses={"who": ACCEPTED})
        told = scene.peer.ask("tasks/get", taskId="t-1")
    assert "DENIED" not in json.dumps(asked) and "rule ALL" in json.dumps(told["error"])
    assert IBAN not in json.dumps(scene.peer.got)
    call = scene.message(method="tools/call", kind="request")
    later = [m for m in scene.records("msg", kind="request") if str(m["method"]).startswith("tasks/")]
    assert {(m["tool"], m["ref"]) for m in later} == {("report", call["record"])}
    assert [(a["scope"], a["status"]) for a in scene.records("access", scope="bank")] == [("bank", "out")]
    (finding,) = scene.findings
    assert (finding["rule"], finding["clause"], finding["state"]) == ("ALL", "data.out", "blocked")


def test_9_a_task_that_no_call_made_is_not_permission(stage: Stage) -> None:
    with stage.scene("rounds", OPEN, modern=True) as scene:
        told = scene.peer.ask("tasks/get", taskId="t-1")
    assert "DEFAULT-DENY" in json.dumps(told["error"]) and "t-1" not in scene.received.read_text()
    assert "unknown-task" in [f["clause"] for f in scene.findings]


def test_9_a_task_of_the_older_era_brings_its_result_later(stage: Stage) -> None:
    with stage.scene("everything", ASKING) as scene:
        scene.peer.start()
        arguments = {"topic": "python", "ambiguous": True}
        told = scene.peer.ask("tools/call", name="simulate-research-query", arguments=arguments, task={"ttl": 60000})
        made = told["result"]
        assert isinstance(made, dict)
        task = made["task"]["taskId"]
        scene.peer.ask("tasks/get", taskId=task)
        scene.peer.ask("tasks/list")
        told = scene.peer.ask("tasks/result", taskId=task)["result"]
    assert "Research Report" in json.dumps(told) and scene.findings == []
    call = scene.message(method="tools/call", kind="request")
    assert scene.message(method="tasks/result", kind="request")["ref"] == call["record"]
    assert scene.peer.heard("elicitation/create")
    for notification in scene.records("msg", method="notifications/tasks/status"):
        assert scene.decision(notification)["verdict"] == "allow"


@pytest.mark.parametrize("server", ["asking"])
def test_10_progress_and_logs_are_recorded_labelled_and_refer_to_their_request(stage: Stage, server: str) -> None:
    with stage.scene(server, LIMITED.replace("data: [notes]", "data: [notes, bank]")) as scene:
        scene.peer.start()
        scene.peer.ask("tools/call", name="work", arguments={"text": IBAN}, _meta={"progressToken": "p1"})
    call = scene.message(method="tools/call", kind="request")
    assert [m["ref"] for m in scene.records("msg", method="notifications/progress")] == [call["record"]] * 2
    log = scene.message(method="notifications/message")
    assert [(a["scope"], a["how"]) for a in scene.records("access", ref=log["record"])] == [("bank", "detected")]


def test_11_a_cancelled_request_is_recorded_refers_to_its_call_and_nobody_waits(stage: Stage) -> None:
    with stage.scene("asking", TOOLS) as scene:
        scene.peer.start()
        scene.peer.send(b'{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"wait","arguments":{}}}')
        while not scene.tools_run:
            scene.peer.ask("ping")
        scene.peer.tell("notifications/cancelled", requestId="w", reason="enough")
        assert scene.peer.call("drop")["isError"] is False
    call = scene.message(tool="wait", kind="request")
    assert scene.message(method="notifications/cancelled")["ref"] == call["record"]


def test_12_what_a_server_says_on_stderr_and_how_it_ended_stand_beside_its_messages(stage: Stage) -> None:
    with stage.scene("everything", TOOLS) as scene:
        scene.peer.start()
    assert any("Starting" in str(r["text"]) for r in scene.records("io", stream="stderr"))
    assert [(r["asked"], type(r["code"])) for r in scene.records("io", stream="exit")] == [(True, int)]


def test_pages_of_a_list_refer_to_the_page_before_and_are_one_listing(stage: Stage) -> None:
    with stage.scene("paged", TOOLS) as scene:
        scene.peer.start()
        cursor: dict[str, object] = {}
        while True:
            result = scene.peer.ask("tools/list", **cursor)["result"]
            assert isinstance(result, dict)
            if "nextCursor" not in result:
                break
            cursor = {"cursor": result["nextCursor"]}
    pages = scene.records("msg", method="tools/list", kind="request")
    assert len(pages) == 3 and [p.get("ref") for p in pages] == [None, pages[0]["record"], pages[1]["record"]]
    assert len(scene.records("definition")) == 5
