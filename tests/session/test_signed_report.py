"""The report of a run with a real browser server: what it keeps, what it withholds, and that no byte can change."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence import container, names
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import ContainerSource, FolderSource
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.session.control import Recorder, RunResult
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import SERVERS, Agent, Files, begin, open_gateway

TOKEN = "hunter2-hunter2-hunter2"
SALARY = "4.815.162.342"
VAULTED = "correct horse battery staple"
POLICY = """\
governance: 1
policy: books
data:
  hr: {class: pii, results: {"files.read_text_file": ["$.content"]}}
  vault: {class: secret, paths: ["FOLDER/vault/**"]}
rules:
- {id: FILES, allow: ["files.*"]}
- {id: BROWSE, allow: ["browser.*"]}
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Path]:
    """One run: a browser that looks at a page, a file with a salary, a server that prints a token it was given."""
    root = tmp_path_factory.mktemp("project")
    (root / "data").mkdir()
    files = Files((root / "data").resolve(), root / "server.log")
    (files.folder / "salary.txt").write_text(SALARY)
    config = RecorderConfig(
        run="run-1",
        run_dir=root / ".mcp-governance" / "runs" / "run-1",
        segment="main",
        rootdir=root,
        main=True,
        report_copy=root / "governance-report.html",
        controller_pid=os.getpid(),
        env_secrets=(TOKEN,),
    )
    (files.folder / "vault").mkdir()
    (files.folder / "vault" / "key.txt").write_text(VAULTED)
    recorder = Recorder.start(config)
    begin(recorder, POLICY.replace("FOLDER", str(files.folder)))
    node = SERVERS / "node" / "bin" / "node"
    script = SERVERS / "node" / "node_modules" / "@playwright" / "mcp" / "cli.js"
    browser = {"command": str(node), "args": [str(script), "--cdp-endpoint", "${MCP_AUDIT_CDP_URL}"]}
    talker = {"command": "sh", "args": ["-c", f"echo token {TOKEN} >&2; cat >/dev/null"]}
    gateway, commands = open_gateway(recorder, {"files": files.entry, "browser": browser, "talker": talker})
    agent = Agent(commands["browser"])
    agent.start()
    agent.call(
        "browser_navigate", url="data:text/html,<title>Ledger</title><h1 style='background:%23cde'>Invoices</h1>"
    )
    agent.leave()
    reader = Agent(commands["files"])
    reader.start()
    assert SALARY in str(reader.call("read_text_file", path=str(files.folder / "salary.txt")))
    assert VAULTED in str(reader.call("read_file", path=str(files.folder / "vault" / "key.txt")))
    reader.leave()
    Agent(commands["talker"]).leave()
    recorder.close_gateway(gateway)
    recorder.end_test(outcome="passed", failure=f"AssertionError: saw {SALARY}")
    return recorder.finish_run(complete=True), config.run_dir


def test_the_call_to_the_browser_has_a_screen_before_and_after(recorded: tuple[RunResult, Path]) -> None:
    _, run_dir = recorded
    reader = EvidenceReader(FolderSource(run_dir))
    records = list(reader.records())
    asked = [
        r for r in records if r["type"] == "msg" and r.get("tool") == "browser_navigate" and r["kind"] == "request"
    ]
    screens = [r for r in records if r["type"] == "blob" and r["kind"] == "screen"]
    (call,) = asked
    assert [s["moment"] for s in screens] == ["before", "after"]
    assert {s["ref"] for s in screens} == {f"main/{call['seq']}"}
    assert [str(reader.reveal(s["url"]))[:10] for s in screens] == ["about:blan", "data:text/"]
    assert float(str(screens[0]["offset_ms"])) <= 0 <= float(str(screens[1]["offset_ms"]))
    for screen in screens:
        blob = reader.reveal(screen["sha256"])
        assert isinstance(blob, dict)
        picture = reader.blob(blob["$blob"])
        assert picture is not None and picture.startswith(b"\xff\xd8") and len(picture) == screen["size"]


def test_the_run_folder_keeps_what_the_report_withholds(recorded: tuple[RunResult, Path]) -> None:
    result, run_dir = recorded
    whole = b"".join(p.read_bytes() for p in run_dir.rglob("*") if p.is_file() and p.name != "report.html")
    assert result.report is not None
    report = ContainerSource(result.report.read_bytes())
    shown = b"".join([report.view, *(report.read(path) for path in report.paths())])
    for value in (TOKEN, SALARY, VAULTED):
        assert value.encode() in whole
        assert value.encode() not in shown


def test_the_report_is_verified_by_its_key_and_by_no_other(recorded: tuple[RunResult, Path]) -> None:
    result, _ = recorded
    assert result.report is not None
    assert verify(result.report, trust=[result.fingerprint]).outcome.name == "VERIFIED"
    assert verify(result.report).outcome.name == "UNTRUSTED"
    assert verify(result.report, trust=["SHA256:" + "A" * 43]).outcome.name == "UNTRUSTED"


def _rebuilt(source: ContainerSource, path: str, change: Callable[[bytes], bytes]) -> bytes:
    """The file with one decoded item (or, for an empty path, the page) changed and packed again."""
    view = change(source.view) if not path else source.view
    parts = [view, container.MARKER]
    for name in source.paths():
        data = change(source.read(name)) if name == path else source.read(name)
        text = container.encode_stored(data) if name == names.CLOSE else container.encode_item(data)
        parts.append(b'<script type="text/plain" data-path="' + name.encode() + b'">' + text + b"</script>\n")
    return b"".join([*parts, container.TAIL])


def test_packing_it_again_unchanged_gives_the_same_file(recorded: tuple[RunResult, Path]) -> None:
    result, _ = recorded
    assert result.report is not None
    data = result.report.read_bytes()
    assert _rebuilt(ContainerSource(data), "", lambda b: b) == data


def test_a_change_to_any_decoded_byte_is_never_verified(recorded: tuple[RunResult, Path]) -> None:
    """Every part of the file, 12 places each, seeded: flip, delete, insert and swap a byte, then pack it again."""
    result, _ = recorded
    assert result.report is not None
    source = ContainerSource(result.report.read_bytes())
    dice = random.Random(20261123)
    for path in ("", *source.paths()):
        size = len(source.view if not path else source.read(path))
        for place in {0, size - 1, *(dice.randrange(size) for _ in range(10))}:
            change = dice.choice([_flip, _delete, _insert])
            forged = _rebuilt(source, path, lambda data, c=change, p=place: c(data, p))  # type: ignore[misc]  # bound now
            report = verify(forged, trust=[result.fingerprint])
            assert report.outcome.name in ("TAMPERED", "MALFORMED"), (path, place, change.__name__)


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _delete(data: bytes, place: int) -> bytes:
    return data[:place] + data[place + 1 :]


def _insert(data: bytes, place: int) -> bytes:
    return data[:place] + b" " + data[place:]


def test_the_close_statement_has_one_form_so_that_nothing_hides_in_how_it_is_packed(
    recorded: tuple[RunResult, Path],
) -> None:
    result, _ = recorded
    assert result.report is not None
    data = result.report.read_bytes()
    source = ContainerSource(data)
    stored = container.encode_stored(source.read(names.CLOSE))
    packed = container.encode_item(source.read(names.CLOSE))
    assert data.count(stored) == 1
    report = verify(data.replace(stored, packed), trust=[result.fingerprint])
    assert report.outcome.name in ("TAMPERED", "MALFORMED")


def test_a_whole_part_cannot_be_taken_out(recorded: tuple[RunResult, Path]) -> None:
    result, _ = recorded
    assert result.report is not None
    data = result.report.read_bytes()
    source = ContainerSource(data)
    for item in source.layout.items:
        start = data.rindex(b"<script", 0, item.start)
        end = data.index(b"</script>\n", item.end) + len(b"</script>\n")
        outcome = verify(data[:start] + data[end:], trust=[result.fingerprint]).outcome.name
        assert outcome != "VERIFIED", item.path


def test_the_full_report_has_what_the_ticket_report_withholds(config: RecorderConfig, files: Files) -> None:
    recorder = Recorder.start(replace(config, report="full"))
    begin(recorder, POLICY)
    (files.folder / "salary.txt").write_text(SALARY)
    gateway, commands = open_gateway(recorder, {"files": files.entry})
    agent = Agent(commands["files"])
    agent.start()
    agent.call("read_text_file", path=str(files.folder / "salary.txt"))
    agent.leave()
    recorder.close_gateway(gateway)
    recorder.end_test(outcome="passed", failure=None)
    result = recorder.finish_run(complete=True)
    assert result.report is not None
    report = ContainerSource(result.report.read_bytes())
    assert SALARY.encode() in report.view
    assert verify(result.report, trust=[result.fingerprint]).outcome.name == "VERIFIED"
