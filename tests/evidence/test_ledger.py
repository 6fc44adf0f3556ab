"""Writing a segment: what is stored, how privately, and what a failing disk does to it."""

import base64
import errno
import hashlib
import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import EvidenceError, LedgerWriteError
from pytest_mcp_governance.evidence import append_file, disclosures, strict_json
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed, Segment
from pytest_mcp_governance.evidence.reader import EvidenceReader, Withheld
from pytest_mcp_governance.evidence.source import FilteredSource, FolderSource
from pytest_mcp_governance.evidence.verify import Outcome, verify

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def segment(tmp_path):
    made = Segment(tmp_path / "run", run="r", name="main", key=SigningKey.generate())
    made.append("open", {})
    return made


def reader_of(segment, tmp_path):
    return EvidenceReader(FolderSource(tmp_path / "run"))


@settings(max_examples=60)
@given(clear=st.text(), value=JSON)
def test_what_is_recorded_is_read_back(tmp_path_factory, clear, value):
    folder = tmp_path_factory.mktemp("run")
    segment = Segment(folder, run="r", name="main", key=SigningKey.generate())
    segment.append("open", {})
    segment.append("msg", {"tool": clear, "wire": Committed(value), "more": [{"deep": Committed(value)}]})
    record = list(EvidenceReader(FolderSource(folder)).records())[1]
    revealed = EvidenceReader(FolderSource(folder)).reveal(record)
    assert (revealed["tool"], revealed["wire"], revealed["more"]) == (clear, value, [{"deep": value}])


def test_the_ledger_holds_no_committed_value(segment, tmp_path):
    segment.append("msg", {"wire": Committed("sk-live-4242")})
    assert b"sk-live-4242" not in (tmp_path / "run/seg/main.jsonl").read_bytes()


def test_equal_values_have_different_commitments(segment, tmp_path):
    segment.append("access", {"fields": [Committed("yes"), Committed("yes")]})
    fields = list(reader_of(segment, tmp_path).records())[1]["fields"]
    assert fields[0] != fields[1]


def test_a_committed_value_does_not_show_in_its_repr():
    assert "sk-live" not in repr(Committed("sk-live-4242"))


def test_everything_is_private(segment, tmp_path):
    segment.store_blob(b"x")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) for name in ("seg", "blob")} == {0o700}


def test_a_long_value_becomes_a_blob_and_is_read_back(segment, tmp_path):
    value = {"text": "é" * 70_000}
    segment.append("msg", {"wire": Committed(value)})
    record = list(reader_of(segment, tmp_path).records())[1]
    assert reader_of(segment, tmp_path).reveal(record["wire"]) == value
    assert (tmp_path / "run/seg/main.sd.jsonl").stat().st_size < 200


def test_data_that_looks_like_a_blob_reference_is_read_back_as_data(segment, tmp_path):
    value = {"$blob": "a" * 64}
    segment.append("msg", {"wire": Committed(value)})
    record = list(reader_of(segment, tmp_path).records())[1]
    assert reader_of(segment, tmp_path).reveal(record["wire"]) == value


def test_a_blob_record_reveals_its_reference_and_the_bytes_are_at_hand(segment, tmp_path):
    segment.append("blob", {"kind": "screen", "sha256": segment.commit_blob(b'"png"' * 20_000)})
    reader = reader_of(segment, tmp_path)
    reference = reader.reveal(list(reader.records())[1]["sha256"])
    assert reader.blob(reference["$blob"]) == b'"png"' * 20_000


def test_withheld_values_read_as_withheld(segment, tmp_path):
    segment.append("msg", {"wire": Committed("x" * 70_000), "note": Committed("kept")})
    record = list(reader_of(segment, tmp_path).records())[1]
    digest = record["wire"]["$sd"]
    reader = EvidenceReader(FilteredSource(FolderSource(tmp_path / "run"), frozenset({digest})))
    assert reader.reveal(record["wire"]) == Withheld(digest)
    assert reader.reveal(record["note"]) == "kept"
    assert not reader.has_disclosure(digest)
    assert reader.blobs == ()


def test_at_most_64_records_are_unsealed(segment):
    for number in range(200):
        segment.append("msg", {"n": number})
        assert segment.unsealed < 64
        assert segment.sealed.size >= number - 70


def test_nothing_new_needs_no_checkpoint(segment, tmp_path):
    segment.checkpoint()
    segment.checkpoint(sync=True)
    assert len(list(reader_of(segment, tmp_path).records())) == 2


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("msg", {"seq": 1}),
        ("msg", {"test": "t"}),
        ("msg", {"params": {"$sd": "forged"}}),
        ("msg", {"number": float("nan")}),
        ("msg", {"value": Committed(object())}),
        ("msg", {"value": object()}),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_leaves_the_ledger_as_it_was(segment, tmp_path, type, fields):
    before = (tmp_path / "run/seg/main.jsonl").read_bytes()
    with pytest.raises(EvidenceError):
        segment.append(type, fields)
    assert (tmp_path / "run/seg/main.jsonl").read_bytes() == before
    segment.append("msg", {"fine": True})
    segment.close()


def test_the_first_record_is_open(tmp_path):
    segment = Segment(tmp_path, run="r", name="main", key=SigningKey.generate())
    with pytest.raises(EvidenceError, match="`open`"):
        segment.append("msg", {})


@pytest.mark.parametrize("name", ["", "GW0", "a/b", "..", "x" * 101, "gw0\n"])
def test_segment_names_are_plain(tmp_path, name):
    with pytest.raises(EvidenceError):
        Segment(tmp_path, run="r", name=name, key=SigningKey.generate())


def test_a_segment_is_written_once(segment, tmp_path):
    with pytest.raises(EvidenceError, match="exists already"):
        Segment(tmp_path / "run", run="r", name="main", key=SigningKey.generate())


def test_a_value_nested_too_deeply_for_other_readers_is_recorded_as_its_text(segment, tmp_path):
    value: object = 1
    for _ in range(300):
        value = [value]
    segment.append("msg", {"wire": Committed(value)})
    reader = reader_of(segment, tmp_path)
    assert reader.reveal(list(reader.records())[1]["wire"]) == "[" * 300 + "1" + "]" * 300


def test_short_writes_are_continued(segment, tmp_path, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(append_file.os, "write", lambda descriptor, data: real_write(descriptor, data[:7]))
    segment.append("msg", {"wire": Committed("a whole line")})
    monkeypatch.undo()
    reader = reader_of(segment, tmp_path)
    assert reader.reveal(list(reader.records())[1]["wire"]) == "a whole line"


@pytest.mark.parametrize("failing_write", [1, 2, 3])
def test_a_failed_write_leaves_whole_lines_refuses_what_follows_and_closes_with_a_gap(
    builder, monkeypatch, failing_write
):
    run = builder.opened()
    real_write, calls = os.write, []

    def failing(descriptor, data):
        calls.append(data)
        if len(calls) == failing_write:
            real_write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data)

    monkeypatch.setattr(append_file.os, "write", failing)
    if failing_write > 2:
        run.main.append("msg", {"wire": Committed("x")})
    with pytest.raises(LedgerWriteError, match="No space left"):
        run.main.append("msg", {"wire": Committed("x")})
    monkeypatch.undo()
    for path in run.folder.glob("seg/*.jsonl"):
        assert path.read_bytes()[-1:] in (b"", b"\n")
    with pytest.raises(LedgerWriteError):
        run.main.append("msg", {})
    with pytest.raises(LedgerWriteError):
        run.main.checkpoint()
    made = run.close(status="partial")
    report = verify(made.folder, trust=[made.fingerprint])
    assert report.outcome is Outcome.INCOMPLETE, report.problems
    assert any("gap" in str(problem) for problem in report.problems)


def test_a_blob_that_cannot_be_stored_stops_the_ledger(segment, tmp_path):
    folder = tmp_path / "run/blob"
    folder.rmdir()
    with pytest.raises(LedgerWriteError):
        segment.commit_blob(b"x")
    with pytest.raises(LedgerWriteError):
        segment.append("msg", {})


@given(JSON, st.binary(min_size=16, max_size=16))
def test_a_disclosure_decodes_to_its_value(value, salt):
    line = disclosures.encode(salt, strict_json.dumps(value))
    assert disclosures.decode(line) == value
    assert json.loads(line)[1] == value
    expected = hashlib.sha256(line).digest()
    digest = disclosures.digest_of(line)
    assert disclosures.commitment({"$sd": digest}) == digest
    assert base64.urlsafe_b64decode(digest + "=") == expected


@given(st.binary(max_size=60))
def test_what_is_no_disclosure_is_refused(data):
    with pytest.raises(strict_json.StrictJsonError):
        disclosures.decode(data)


@given(JSON)
def test_strict_json_round_trips_and_equals_the_standard_library(value):
    assert strict_json.loads(strict_json.dumps(value)) == json.loads(strict_json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"a":1}', b"[NaN]", b"Infinity", b'\xef\xbb\xbf{"a":1}', b'"\xff"', b"{} {}", b"", b"[" * 200_000],
)
def test_lax_json_is_refused(text):
    with pytest.raises(strict_json.StrictJsonError):
        strict_json.loads(text)


def test_lone_surrogates_survive():
    assert strict_json.loads(strict_json.dumps("\ud800")) == "\ud800"
