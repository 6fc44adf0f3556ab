"""The handle on a recorder, used by many threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_mcp_governance.errors import ConfigurationError, RecorderError
from pytest_mcp_governance.session.control import Recorder

from .conftest import Agent, begin, open_gateway

STUBBORN = {"command": "sh", "args": ["-c", "trap '' TERM; echo here >&2; while :; do sleep 0.1; done"]}


def wait_for_the_connection(recorder: Recorder) -> None:
    while True:
        progress = recorder.call("progress")
        assert isinstance(progress, dict)
        if progress["connections"]:
            return


def test_a_call_that_takes_its_time_keeps_no_other_thread_waiting(recorder: Recorder) -> None:
    begin(recorder)
    gateway, commands = open_gateway(recorder, {"stubborn": STUBBORN})
    agent = Agent(commands["stubborn"])
    wait_for_the_connection(recorder)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(recorder.close_gateway, gateway)  # waits for a server that does not end
        for _ in range(20):
            assert recorder.calls() == []
        assert not closing.done()
        closing.result(30)
    agent.leave()


def test_twenty_threads_get_each_their_own_answers(recorder: Recorder) -> None:
    begin(recorder)
    together = threading.Barrier(20)

    def ask(number: int) -> None:
        together.wait()
        for turn in range(25):
            entry: dict[str, object] = {"command": f"no-such-{number}-{turn}"}
            with pytest.raises(ConfigurationError, match=f"no-such-{number}-{turn}"):
                recorder.open_gateway(servers={"s": entry}, agent=f"a{number}", request=None, idle_ok=True)
            recorder.context(kind="prompt", text=f"{number}/{turn}", agent=f"a{number}")

    with ThreadPoolExecutor(20) as pool:
        for one in [pool.submit(ask, number) for number in range(20)]:
            one.result()
    recorder.end_test(outcome="passed", failure=None)


def test_an_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_call(recorder: Recorder) -> None:
    begin(recorder)
    gateway, commands = open_gateway(recorder, {"stubborn": STUBBORN})
    agent = Agent(commands["stubborn"])
    wait_for_the_connection(recorder)
    with pytest.raises(RecorderError, match="did not answer 'close_gateway' within 0 s"):
        recorder.call("close_gateway", timeout_s=0.05, gateway=gateway)
    assert recorder.call("calls") == []
    agent.leave()


def test_after_the_end_every_thread_is_told(recorder: Recorder) -> None:
    recorder.end()
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(recorder.calls) for _ in range(4)]:
            with pytest.raises(RecorderError, match="the recorder process ended with SIGKILL"):
                one.result()
