"""What a message goes back to where no id says it: tasks by agent and server, rounds by state, pages by cursor."""

import json
from dataclasses import replace

import pytest

from pytest_mcp_governance.session import threads as threads_module
from pytest_mcp_governance.session.threads import Threads
from pytest_mcp_governance.session.wire import Direction, Exchange, Message

AT = {"conn": "c1", "server": "books", "agent": "a"}


class Wire:
    """One connection's exchange and the threads that it shares with others."""

    def __init__(self, threads: Threads, **at: str) -> None:
        self.threads = threads
        self.at = AT | at
        self.exchange = Exchange()
        self._refs = 0

    def send(self, direction: Direction, **fields: object) -> Message:
        """A message that is passed on."""
        message = self.exchange.classify(json.dumps({"jsonrpc": "2.0", **fields}).encode(), direction)
        message = self.threads.follow(message, **self.at)
        self._refs += 1
        ref = f"{self.at['conn']}/{self._refs}"
        self.exchange.asked(message, ref, message.event(ref, **self.at))
        self.exchange.passed_on(message)
        self.threads.passed_on(message, **self.at)
        if message.request is not None:
            self.exchange.answered(direction, message.request)
        return message

    def call(self, id_: int, tool: str = "get", **params: object) -> Message:
        return self.send("c2s", id=id_, method="tools/call", params={"name": tool, "arguments": {}, **params})

    def poll(self, id_: int, task: str = "t") -> Message:
        return self.send("c2s", id=id_, method="tasks/get", params={"taskId": task})

    def answer(self, id_: int, **result: object) -> Message:
        return self.send("s2c", id=id_, result=result)


def with_task(**at: str) -> Wire:
    wire = Wire(Threads(), **at)
    wire.call(1)
    wire.answer(1, resultType="task", taskId="t", status="working")
    return wire


def test_a_task_is_known_on_every_connection_of_the_agent_that_made_it_and_to_no_other() -> None:
    wire = with_task()
    assert (wire.poll(2).earlier, wire.poll(3, "other").earlier) == ("c1/1", None)
    assert Wire(wire.threads, conn="c2").poll(1).tool == "get"
    assert Wire(wire.threads, conn="c2", agent="b").poll(1).origin is None
    assert Wire(wire.threads, conn="c2", server="bank").poll(1).origin is None


def test_one_id_from_two_processes_is_known_on_each_and_on_no_third() -> None:
    one = with_task()
    two = Wire(one.threads, conn="c2")
    two.call(1, "put")
    two.answer(1, task={"taskId": "t"})
    assert (one.poll(2).tool, two.poll(2).tool) == ("get", "put")
    assert Wire(one.threads, conn="c3").poll(1).origin is None


def test_a_task_that_takes_the_name_of_another_calls_task_is_a_problem() -> None:
    wire = with_task()
    wire.call(2, "drop")
    assert wire.answer(2, task={"taskId": "t"}).problems == ("duplicate-task",)
    assert wire.poll(3).tool == "get"


def test_a_task_that_the_client_made_is_not_one_of_the_server() -> None:
    wire = Wire(Threads())
    wire.send("s2c", id=1, method="sampling/createMessage", params={})
    wire.send("c2s", id=1, result={"task": {"taskId": "t"}})
    assert wire.poll(9).origin is None
    asked = wire.send("s2c", id=2, method="tasks/result", params={"taskId": "t"})
    assert asked.origin is not None and asked.origin.method == "sampling/createMessage"


def test_a_notification_about_a_task_refers_to_its_call() -> None:
    wire = with_task()
    told = wire.send("s2c", method="notifications/tasks", params={"taskId": "t", "status": "completed", "result": {}})
    assert (told.earlier, told.tool) == ("c1/1", "get")


def test_a_round_is_joined_by_its_state_or_else_by_its_questions() -> None:
    wire = Wire(Threads())
    wire.call(1)
    asked = wire.answer(1, resultType="input_required", inputRequests={"q": {}}, requestState="s")
    retry = wire.call(2, requestState="s", inputResponses={"q": {"action": "accept"}})
    assert (retry.earlier, retry.state_sha256) == ("c1/1", asked.state_sha256)
    assert wire.call(3, inputResponses={"q": {}}).earlier == "c1/1"
    assert wire.call(4, "put", inputResponses={"q": {}}).earlier is None
    assert wire.call(5, requestState="other").earlier is None


def test_progress_and_cancellation_name_the_request_of_the_other_side_and_of_their_own() -> None:
    wire = Wire(Threads())
    wire.call(1, _meta={"progressToken": 1})
    wire.send("s2c", id=1, method="sampling/createMessage", params={"_meta": {"progressToken": 1}})
    assert wire.send("s2c", method="notifications/progress", params={"progressToken": 1}).earlier == "c1/1"
    assert wire.send("c2s", method="notifications/progress", params={"progressToken": 1}).earlier == "c1/2"
    assert wire.send("s2c", method="notifications/cancelled", params={"requestId": 1}).earlier == "c1/2"
    assert wire.send("c2s", method="notifications/cancelled", params={"requestId": 1}).earlier == "c1/1"
    assert wire.answer(1).request is not None  # it may be on its way already


def test_an_agent_that_cancels_everything_does_not_fill_the_memory() -> None:
    wire = Wire(Threads())
    for number in range(1500):
        wire.call(number)
        wire.send("c2s", method="notifications/cancelled", params={"requestId": number})
    assert len(wire.exchange.open_requests) == 1000


def test_a_forgotten_task_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "MOST_REMEMBERED", 4)
    wire = with_task()
    for number in range(2, 5):
        wire.call(number)
        wire.answer(number, task={"taskId": f"t{number}"})
    assert wire.poll(9).origin is None
    assert wire.poll(10, "t4").origin is not None


def test_a_message_with_problems_is_followed_nowhere() -> None:
    wire = with_task()
    raw = b'{"jsonrpc":"2.0","id":5,"method":"tasks/get","params":{"taskId":"t","taskId":"t"}}'
    message = wire.exchange.classify(raw, "c2s")
    assert wire.threads.follow(message, **AT) == replace(message)
