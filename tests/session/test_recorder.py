"""The recorder process between a real server and an agent: recorded, decided, then forwarded, or not at all."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.errors import ConfigurationError, KeyFileError, PolicyError, RecorderError
from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import READ_ONLY, Agent, Files, begin, open_gateway


def records(config: RecorderConfig, type_: str) -> list[Record]:
    reader = EvidenceReader(FolderSource(config.run_dir))
    return [{k: reader.reveal(v) for k, v in r.items()} for r in reader.records() if r["type"] == type_]


def test_a_run_is_recorded_judged_and_signed(recorder: Recorder, config: RecorderConfig, files: Files) -> None:
    begin(recorder, READ_ONLY)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    assert "hello" in json.dumps(agent.call("read_text_file", path=str(files.folder / "a.txt")))
    assert agent.leave() == 0
    assert recorder.close_gateway(gateway) == []
    assert recorder.conclude() == []
    recorder.end_test(outcome="passed", failure=None)
    result = recorder.finish_run(complete=True)
    assert (result.status, result.unexpected, list(result.problems)) == ("complete", 0, [])
    report = verify(config.report_copy, trust=[result.fingerprint])
    assert (report.outcome.name, list(report.problems)) == ("VERIFIED", [])
    assert verify(config.run_dir, trust=[result.fingerprint]).outcome.name == "VERIFIED"
    assert verify(config.report_copy).outcome.name == "UNTRUSTED"


def test_a_denied_call_never_reaches_the_server_and_stands_in_the_evidence(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder, READ_ONLY)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    denied = agent.call("write_file", path=str(files.folder / "b.txt"), content="x")
    assert denied["isError"] is True and "DEFAULT-DENY" in json.dumps(denied)
    agent.call("list_directory", path=str(files.folder))
    agent.leave()
    recorder.close_gateway(gateway)
    findings = recorder.conclude()
    recorder.end_test(outcome="failed", failure="denied")
    recorder.finish_run(complete=True)
    assert [f["rule"] for f in findings] == ["DEFAULT-DENY"]
    calls = [m for m in records(config, "msg") if m.get("method") == "tools/call" and m["kind"] == "request"]
    assert [c["tool"] for c in calls] == ["write_file", "list_directory"]
    assert files.received_calls() == [calls[1]["id"]]
    assert not (files.folder / "b.txt").exists()


def test_everything_that_the_server_got_is_in_the_evidence_byte_for_byte(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    odd = '{ "jsonrpc":"2.0",  "id" : 77, "method":"tools/list","params":{"_meta":{"x":1.00,"y":"ü"}}}'.encode()
    agent.send(odd)
    while agent.read().get("id") != 77:
        pass
    agent.call("read_text_file", path=str(files.folder / "a.txt"))
    agent.leave()
    recorder.close_gateway(gateway)
    recorder.end_test(outcome="passed", failure=None)
    recorder.finish_run(complete=True)
    sent = [m["wire"] for m in records(config, "msg") if m["direction"] == "c2s"]
    assert sent == files.log.read_text().splitlines()
    assert odd.decode() in sent


def test_a_line_with_two_readings_is_refused_and_answered_when_enforcing(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder, READ_ONLY)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    agent.send(
        b'{"jsonrpc":"2.0","id":50,"method":"tools/call","params":{"name":"read_text_file","arguments":{"x":\r'
        b'{"jsonrpc":"2.0","id":51,"method":"tools/call","params":{"name":"write_file"}}\r}}}'
    )
    agent.send(b'[{"jsonrpc":"2.0","id":60,"method":"tools/call","params":{"name":"write_file","arguments":{}}}]')
    agent.send(
        b'{"jsonrpc":"2.0","id":61,"method":"tools/call","params":{"name":"read_text_file","name":"write_file"}}'
    )
    assert agent.process.stdout is not None
    answers = [json.loads(agent.process.stdout.readline()) for _ in range(3)]
    agent.leave()
    recorder.close_gateway(gateway)
    findings = recorder.conclude()
    recorder.end_test(outcome="failed", failure=None)
    recorder.finish_run(complete=True)
    assert {f["rule"] for f in findings} == {"MALFORMED"} and len(findings) == 3
    assert "MALFORMED" in json.dumps(answers)
    assert files.received_calls() == []


def test_without_a_policy_nothing_is_blocked_and_nothing_is_judged(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    agent.call("write_file", path=str(files.folder / "b.txt"), content="x")
    agent.leave()
    recorder.close_gateway(gateway)
    recorder.end_test(outcome="passed", failure=None)
    result = recorder.finish_run(complete=True)
    assert (files.folder / "b.txt").read_text() == "x"
    assert (result.judged, result.unexpected) == (False, 0)


def test_in_observe_mode_a_call_is_forwarded_and_found(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder, READ_ONLY + "mode: observe\n")
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    agent.call("write_file", path=str(files.folder / "b.txt"), content="x")
    agent.leave()
    recorder.close_gateway(gateway)
    findings = recorder.conclude()
    recorder.end_test(outcome="passed", failure=None)
    result = recorder.finish_run(complete=True)
    assert [(f["state"], f["mode"]) for f in findings] == [("reached", "observe")]
    assert (result.unexpected, result.findings["reached"]["observe"]) == (0, 1)


def test_an_answer_of_megabytes_passes_unchanged_and_is_in_the_evidence(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    text = "0123456789abcdef" * (5 * 2**16)
    (files.folder / "big.txt").write_text(text)
    begin(recorder, READ_ONLY)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    answer = agent.call("read_text_file", path=str(files.folder / "big.txt"))
    agent.leave()
    recorder.close_gateway(gateway)
    recorder.end_test(outcome="passed", failure=None)
    result = recorder.finish_run(complete=True)
    assert answer["content"] == [{"type": "text", "text": text}]
    assert any(text in str(m["wire"]) for m in records(config, "msg"))
    assert verify(config.report_copy, trust=[result.fingerprint]).outcome.name == "VERIFIED"


def test_a_server_that_dies_is_explained_with_its_last_words(recorder: Recorder, files: Files) -> None:
    begin(recorder, READ_ONLY)
    entry = {"command": "sh", "args": ["-c", "echo no database >&2; exit 7"]}
    gateway, commands = open_gateway(recorder, {"files": entry})
    agent = Agent(commands["files"])
    assert agent.process.stdout is not None
    assert agent.process.stdout.read() == b""
    agent.leave()
    (why,) = recorder.close_gateway(gateway)
    assert "status 7" in why and "no database" in why and "'files'" in why


def test_a_server_that_ignores_the_end_of_its_input_does_not_outlive_its_gateway(
    recorder: Recorder, tmp_path: Path
) -> None:
    begin(recorder)
    script = f"trap '' TERM; echo $$ > '{tmp_path}/pid'; while :; do sleep 1; done"
    gateway, commands = open_gateway(recorder, {"stubborn": {"command": "sh", "args": ["-c", script]}})
    agent = Agent(commands["stubborn"])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        os.sched_yield()
    agent.leave()
    recorder.close_gateway(gateway)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_report_of_an_earlier_run_is_gone_as_soon_as_a_new_run_records(config: RecorderConfig) -> None:
    config.report_copy.write_text("of an earlier run")
    recorder = Recorder.start(config)
    recorder.end()
    assert not config.report_copy.exists()


def test_a_path_that_leaves_the_folder_for_some_readers_is_not_within_it(recorder: Recorder, files: Files) -> None:
    """Node drops `..` from the text before it follows a link; the kernel follows the link first."""
    inside = files.folder / "a"
    (inside / "x" / "y").mkdir(parents=True)
    (inside / "link").symlink_to(inside / "x" / "y")
    (inside / "secret.txt").write_text("harmless")
    (files.folder / "secret.txt").write_text("salaries")
    limit = f'{{id: READ, allow: [files.read_text_file], args: {{path: {{within: "{inside}"}}}}}}'
    begin(recorder, f"governance: 1\npolicy: p\nrules:\n- {limit}\n")
    _, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    for path in (f"{inside}/link/../../secret.txt", "/proc/self/cwd/a/secret.txt"):
        assert agent.call("read_text_file", path=path)["isError"] is True
    assert "harmless" in json.dumps(agent.call("read_text_file", path=f"{inside}/secret.txt"))
    agent.leave()
    assert len(files.received_calls()) == 1


@pytest.mark.parametrize(
    "answer", ['{"jsonrpc":"2.0","id":1,"result":{},"result":{}}', '{"jsonrpc":"2.0","id":1,"result":NaN}']
)
def test_an_answer_with_two_readings_is_withheld_and_the_agent_is_told(recorder: Recorder, answer: str) -> None:
    begin(recorder, READ_ONLY)
    entry = {"command": "sh", "args": ["-c", f"read line; echo '{answer}'; cat >&2"]}
    gateway, commands = open_gateway(recorder, {"files": entry})
    agent = Agent(commands["files"])
    told = agent.ask("ping")
    agent.leave()
    recorder.close_gateway(gateway)
    assert "MALFORMED" in json.dumps(told["error"])


def test_a_run_that_still_records_is_never_cleared_away(config: RecorderConfig) -> None:
    first = Recorder.start(config)
    later = [Recorder.start(replace(config, run=name, run_dir=config.run_dir.with_name(name), keep_runs=1))
             for name in ("run-2", "run-3")]  # fmt: skip
    assert config.run_dir.is_dir()
    for recorder in (first, *later):
        recorder.end()


@pytest.mark.parametrize(
    "entry",
    [{"command": "a\0b"}, {"command": "sh", "env": {"A=B": "x"}}, {"command": "sh", "args": ["\0"]}, {"args": []}],
)
def test_an_entry_that_no_program_can_be_started_with_is_refused(recorder: Recorder, entry: dict[str, object]) -> None:
    begin(recorder)
    with pytest.raises(ConfigurationError, match="'odd'"):
        open_gateway(recorder, {"odd": entry})


def test_a_server_name_that_is_too_long_is_refused(recorder: Recorder) -> None:
    begin(recorder)
    with pytest.raises(ConfigurationError, match="1 to 64"):
        open_gateway(recorder, {"x" * 300: {"command": "sh"}})


def test_a_missing_command_is_refused_before_an_agent_starts(recorder: Recorder) -> None:
    begin(recorder)
    with pytest.raises(ConfigurationError, match=r"'books': command 'no-such-server' was not found.*MCP configuration"):
        open_gateway(recorder, {"books": {"command": "no-such-server"}})


def test_a_malformed_policy_is_refused_with_its_place(recorder: Recorder) -> None:
    with pytest.raises(PolicyError) as caught:
        begin(recorder, "governance: 1\npolicy: x\nrulez: []\n")
    assert (caught.value.file, caught.value.line) == ("p.yaml", 3)


def test_a_wrong_key_file_is_refused_without_showing_it(config: RecorderConfig, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("hunter2 is not a key")
    with pytest.raises(KeyFileError) as caught:
        Recorder.start(replace(config, signing_key="key.pem"))
    assert "key.pem" in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_killed_recorder_leaves_evidence_that_verifies_to_where_it_came(
    recorder: Recorder, config: RecorderConfig, files: Files
) -> None:
    begin(recorder, READ_ONLY)
    _, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGKILL)
    with pytest.raises(RecorderError, match=r"SIGKILL(.|\n)*mcp-governance verify"):
        recorder.conclude()
    assert agent.leave() in (0, 3)
    report = verify(config.run_dir)
    assert report.outcome.name == "INCOMPLETE"
    assert report.records > 5


def test_a_server_sees_none_of_the_test_runs_environment(
    config: RecorderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORP_TOKEN", "hunter2-hunter2")
    started = Recorder.start(config)
    begin(started)
    entry = {"command": "sh", "args": ["-c", f"env > '{tmp_path}/env.txt'"], "env": {"MODE": "test"}}
    gateway, commands = open_gateway(started, {"s": entry})
    Agent(commands["s"]).leave()
    started.close_gateway(gateway)
    started.end_test(outcome="passed", failure=None)
    started.finish_run(complete=True)
    seen = (tmp_path / "env.txt").read_text()
    assert "hunter2" not in seen and "MODE=test" in seen
    for path in config.run_dir.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_two_workers_record_segments_of_their_own_and_main_signs_them(config: RecorderConfig, files: Files) -> None:
    workers = [Recorder.start(replace(config, segment=name, main=False)) for name in ("gw0", "gw1")]
    for number, worker in enumerate(workers):
        begin(worker, READ_ONLY, name=f"test_{number}")
        gateway, commands = open_gateway(worker, {"files": files.entry})
        agent = Agent(commands["files"])
        agent.start()
        agent.call("list_directory", path=str(files.folder))
        agent.leave()
        worker.close_gateway(gateway)
        worker.end_test(outcome="passed", failure=None)
        worker.close_segment()
    result = Recorder.attach_main(config.run_dir).finish_run(complete=True)
    report = verify(config.report_copy, trust=[result.fingerprint])
    assert (report.outcome.name, list(report.problems)) == ("VERIFIED", [])
    assert set(EvidenceReader(FolderSource(config.run_dir)).segments) == {"main", "gw0", "gw1"}


def test_a_killed_worker_makes_the_run_incomplete_and_keeps_what_it_recorded(
    config: RecorderConfig, files: Files
) -> None:
    worker = Recorder.start(replace(config, segment="gw0", main=False))
    begin(worker, READ_ONLY)
    open_gateway(worker, {"files": files.entry})
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.end()
    result = Recorder.attach_main(config.run_dir).finish_run(complete=True)
    assert result.status == "partial"
    assert any("gw0" in p for p in result.problems)
    report = verify(config.report_copy, trust=[result.fingerprint])
    assert report.outcome.name == "INCOMPLETE"


def test_when_the_test_process_is_gone_the_recorder_closes_the_run_as_partial(config: RecorderConfig) -> None:
    import subprocess
    import sys
    import time

    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = Recorder.start(replace(config, controller_pid=gone.pid))
    begin(started, READ_ONLY)
    gone.communicate(b"\n")
    deadline = time.monotonic() + 20
    while not config.report_copy.exists() and time.monotonic() < deadline:
        os.sched_yield()
    report = verify(config.report_copy)
    started.end()
    assert (report.outcome.name, report.status) == ("INCOMPLETE", "partial")
