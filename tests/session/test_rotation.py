"""A recorder goes on in a new run over the same connections: nothing lost or twice, and each run names the other."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.evidence.chain import check_chain
from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder, RunResult
from pytest_mcp_governance.session.settings import RecorderConfig
from pytest_mcp_governance.session.turnstile import Turnstile

from .conftest import Agent, begin, open_gateway

HOLDING = {"command": sys.executable, "args": [str(Path(__file__).parents[1] / "servers" / "holding.py")]}
POLICY = 'governance: 1\npolicy: p\nrules:\n- {id: ALL, allow: ["holding.{hold,release,get_*}"]}\n'


@dataclass(frozen=True)
class Session:
    """A recorder that stays, an agent connected through it, and the runs that it made."""

    recorder: Recorder
    runs: Path
    agent: Agent

    def records(self, run: str, type_: str) -> list[Record]:
        reader = EvidenceReader(FolderSource(self.runs / run))
        return [r for r in reader.records() if r["type"] == type_]

    def calls(self, run: str, origin: str = "received") -> list[object]:
        found = [r for r in self.records(run, "msg") if r["kind"] == "request" and r.get("method") == "tools/call"]
        return [r["id"] for r in found if r["origin"] == origin]

    def end(self) -> list[RunResult]:
        self.recorder.end_test(outcome="passed", failure=None)
        earlier = self.recorder.closed_runs(wait=True)
        assert all(isinstance(result, RunResult) for result in earlier), earlier
        return [*(r for r in earlier if isinstance(r, RunResult)), self.recorder.finish_run(complete=True)]


@pytest.fixture
def session(config: RecorderConfig) -> Iterator[Session]:
    recorder = Recorder.start(replace(config, stays=True))
    begin(recorder, POLICY, name="gateway")
    _, commands = open_gateway(recorder, {"holding": HOLDING})
    agent = Agent(commands["holding"])
    agent.start()
    yield Session(recorder, config.run_dir.parent, agent)
    recorder.end()
    agent.leave()


def outcomes(session: Session, *results: RunResult) -> list[str]:
    return [verify(session.runs / r.run, trust=[r.fingerprint]).outcome.name for r in results]


def test_a_call_that_is_under_way_is_answered_on_record_in_the_next_run(session: Session) -> None:
    agent = session.agent
    agent.send(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"hold","arguments":{"n":1}}}')
    agent.call("get_a")  # answered after the server has read the one above
    session.recorder.rotate("run-2")
    agent.send(b'{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"release","arguments":{}}}')
    assert [agent.read()["id"], agent.read()["id"]] == [8, 7]
    results = session.end()
    assert outcomes(session, *results) == ["VERIFIED", "VERIFIED"]

    (carried,) = [r for r in session.records("run-2", "msg") if r["origin"] == "carried"]
    (held,) = [r for r in session.records("run-1", "msg") if r.get("id") == 7]
    assert carried["carried"] == {"run": "run-1", "ref": f"main/{held['seq']}"}
    (answer,) = [r for r in session.records("run-2", "msg") if r["kind"] == "result" and r["id"] == 7]
    assert answer["ref"] == f"main/{carried['seq']}"
    decided = {r["ref"]: (r["moment"], r["verdict"]) for r in session.records("run-2", "decision")}
    assert decided[f"main/{carried['seq']}"] == ("carried", "allow")
    assert decided[f"main/{answer['seq']}"] == ("before", "allow")


def test_both_runs_name_one_another_and_the_connection_goes_on(session: Session) -> None:
    session.recorder.rotate("run-2")
    session.agent.call("get_a")
    session.recorder.rotate("run-3")
    results = session.end()
    folders = [session.runs / r.run for r in results]
    assert check_chain(folders) == ()
    assert [r["state"] for r in session.records("run-1", "session")] == ["opened", "passed-on"]
    assert [r["state"] for r in session.records("run-2", "session")] == ["taken-over", "passed-on"]
    assert [r["state"] for r in session.records("run-3", "session")] == ["taken-over", "closed"]
    assert [r["text"] is not None for r in session.records("run-2", "context")] == [True]
    assert {r["conn"] for run in ("run-1", "run-2", "run-3") for r in session.records(run, "session")} == {"c1"}
    opened = EvidenceReader(FolderSource(folders[1])).open or {}
    continues = opened["predicate"]["continues"]  # type: ignore[index]  # a JSON object
    assert continues["run"] == "run-1"
    (missing,) = check_chain([folders[0], folders[2]])[:1]
    assert (missing.outcome.name, missing.text) == ("INCOMPLETE", "run run-2, which continues run run-1, is missing")
    assert "run run-2, which run run-3 continues, is missing" in [p.text for p in check_chain(folders[2:])]
    assert [p.text for p in check_chain(folders[:2])] == ["run run-3, which continues run run-2, is missing"]


def test_messages_that_come_meanwhile_are_neither_lost_nor_recorded_twice(session: Session) -> None:
    count = 300
    answered: list[object] = []
    reading = threading.Thread(target=lambda: answered.extend(session.agent.read()["id"] for _ in range(count)))
    reading.start()
    for number in range(count):
        call = {"name": "get_a", "arguments": {"n": number}}
        message = {"jsonrpc": "2.0", "id": 1000 + number, "method": "tools/call", "params": call}
        session.agent.send(json.dumps(message).encode())
        if number % 100 == 50:
            session.recorder.rotate(f"run-{2 + number // 100}")
    reading.join()
    results = session.end()
    runs = [r.run for r in results]
    assert runs == ["run-1", "run-2", "run-3", "run-4"]
    assert [id_ for run in runs for id_ in session.calls(run)] == list(range(1000, 1000 + count))
    assert sorted(answered, key=str) == list(range(1000, 1000 + count))
    results_recorded = [r["id"] for run in runs for r in session.records(run, "msg") if r["kind"] == "result"]
    assert sorted(x for x in results_recorded if isinstance(x, int) and x >= 1000) == list(range(1000, 1000 + count))
    assert outcomes(session, *results) == ["VERIFIED"] * 4
    assert check_chain([session.runs / run for run in reversed(runs)]) == ()


def test_a_denial_before_and_one_after_are_findings_of_their_own_runs(session: Session) -> None:
    session.agent.call("drop")
    session.recorder.rotate("run-2")
    assert "DEFAULT-DENY" in json.dumps(session.agent.call("drop"))
    first, second = session.end()
    assert (first.unexpected, second.unexpected) == (1, 1)


def test_a_recorder_that_is_killed_after_a_rotation_leaves_the_first_run_whole(session: Session) -> None:
    session.recorder.rotate("run-2")
    session.agent.call("get_a")
    (first,) = session.recorder.closed_runs(wait=True)
    assert isinstance(first, RunResult)
    session.recorder.end()
    assert outcomes(session, first) == ["VERIFIED"]
    assert verify(session.runs / "run-2").outcome.name == "INCOMPLETE"
    assert check_chain([session.runs / "run-1", session.runs / "run-2"]) == ()


def test_a_next_run_that_cannot_be_opened_stops_the_messages(session: Session) -> None:
    (session.runs / "run-2").write_text("in the way")
    with pytest.raises(Exception, match="cannot be written"):
        session.recorder.rotate("run-2")
    session.agent.send(b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"get_a","arguments":{}}}')
    assert session.agent.process.stdout is not None
    assert session.agent.process.stdout.readline() == b""
    assert 9 not in session.calls("run-1")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 8))
def test_nobody_is_inside_while_it_is_stopped_and_everybody_gets_through(steps: list[int], early: int) -> None:
    async def play() -> tuple[list[int], int]:
        turnstile = Turnstile()
        inside: set[int] = set()
        through = []

        async def pass_(number: int, pauses: int) -> None:
            async with turnstile:
                inside.add(number)
                for _ in range(pauses):
                    await asyncio.sleep(0)
                inside.remove(number)
            through.append(number)

        tasks = [asyncio.create_task(pass_(number, pauses)) for number, pauses in enumerate(steps)]
        for _ in range(early):
            await asyncio.sleep(0)
        async with turnstile.stopped():
            seen = len(inside)
            await asyncio.sleep(0)
            seen += len(inside)
        await asyncio.gather(*tasks)
        return through, seen

    through, seen = asyncio.run(play())
    assert seen == 0
    assert sorted(through) == list(range(len(steps)))
