"""Any change to what a run says is never VERIFIED; a kill at any moment is never TAMPERED."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.evidence import append_file, container, names
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.verify import Outcome, verify

EVIDENCE = ("open.sigstore.json", "close.sigstore.json", "seg/*.jsonl", "blob/*")


def evidence_files(folder: Path) -> list[Path]:
    return sorted(path for pattern in EVIDENCE for path in folder.glob(pattern))


def test_no_byte_of_any_file_of_a_run_can_be_changed(builder):
    run = builder.opened()
    run.main.append("msg", {"wire": Committed("hi"), "blob": run.main.commit_blob(b"png")})
    made = run.close()
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.VERIFIED
    chance = random.Random(1)
    for path in evidence_files(made.folder):
        whole = path.read_bytes()
        # Statements are long and of one kind, base64: a sample of them. Everything else byte by byte.
        step = 4 if path.name.endswith(".sigstore.json") else 1
        for position in range(chance.randrange(step), len(whole), step):
            changed = bytearray(whole)
            changed[position] ^= chance.choice((1, 2, 0x20, 0x80))
            path.write_bytes(changed)
            outcome = verify(made.folder, trust=[made.fingerprint]).outcome
            assert outcome is not Outcome.VERIFIED, f"{path.name}, byte {position}"
        path.write_bytes(whole)


@settings(max_examples=150)
@given(data=st.data())
def test_no_bytes_can_be_replaced_inserted_or_removed(made, data):
    path = data.draw(st.sampled_from(evidence_files(made.folder)))
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    changed = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    removed_disclosures = path.name.endswith(".sd.jsonl") and set(changed.splitlines()) <= set(whole.splitlines())
    try:
        path.write_bytes(changed)
        outcome = verify(made.folder, trust=[made.fingerprint]).outcome
    finally:
        path.write_bytes(whole)
    if changed != whole and not removed_disclosures:  # removing whole disclosures is withholding
        assert outcome is not Outcome.VERIFIED


def test_no_byte_of_the_visible_page_can_be_changed(made):
    view_end = ContainerSource(made.file).layout.view_end
    for position in range(view_end):
        changed = bytearray(made.file)
        changed[position] ^= 1
        assert verify(bytes(changed), trust=[made.fingerprint]).outcome is Outcome.TAMPERED


@settings(max_examples=150)
@given(position=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_no_byte_of_the_single_file_can_be_changed(made, position, flip):
    changed = bytearray(made.file)
    changed[position % len(changed)] ^= flip
    report = verify(bytes(changed), trust=[made.fingerprint])
    assert report.outcome in (Outcome.TAMPERED, Outcome.MALFORMED)


@settings(max_examples=60)
@given(length=st.integers(0, 10**9))
def test_a_truncated_file_is_malformed(made, length):
    report = verify(made.file[: length % len(made.file)], trust=[made.fingerprint])
    assert report.outcome is Outcome.MALFORMED


def test_bytes_after_the_end_are_malformed(made):
    assert verify(made.file + b"\n", trust=[made.fingerprint]).outcome is Outcome.MALFORMED


def test_text_between_items_is_malformed(made):
    changed = made.file.replace(b"</script>\n<script", b"</script>\n<b>passed</b><script", 1)
    assert verify(changed, trust=[made.fingerprint]).outcome is Outcome.MALFORMED


@pytest.mark.parametrize("segment", ["main", "gw0"])
def test_no_record_can_be_removed_repeated_or_moved(made, segment):
    path = made.folder / f"seg/{segment}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for position in range(len(lines)):
        without = lines[:position] + lines[position + 1 :]
        again = [*lines[: position + 1], *lines[position:]]
        moved = [*without, lines[position]]
        for changed in (without, again, *([moved] if moved != lines else [])):
            path.write_bytes(b"".join(changed))
            report = verify(made.folder, trust=[made.fingerprint])
            assert report.outcome in (Outcome.TAMPERED, Outcome.MALFORMED)
            assert report.problems[0].ref.startswith(segment) or not changed


def test_the_first_broken_record_is_named(made):
    path = made.folder / "seg/gw0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"seq":3', b'"seq":4')
    path.write_bytes(b"".join(lines))
    problem = verify(made.folder).problems[0]
    assert (problem.outcome, problem.ref) == (Outcome.TAMPERED, "gw0/3")


def test_records_of_another_run_cannot_be_spliced_in(made, builder):
    other = builder.whole()
    for name in ("gw0.jsonl", "gw0.sd.jsonl"):
        (made.folder / "seg" / name).write_bytes((other.folder / "seg" / name).read_bytes())
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_screen_cannot_be_swapped_even_under_a_fresh_name(made):
    blob = made.folder / "blob" / hashlib.sha256(b"png").hexdigest()
    blob.unlink()
    blob.with_name(hashlib.sha256(b"gif").hexdigest()).write_bytes(b"gif")
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_duplicate_keys_in_a_line_are_refused(made):
    path = made.folder / "seg/main.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"v":1,', b'{"v":1,"v":1,', 1))
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_an_unknown_version_is_malformed(made):
    path = made.folder / "seg/main.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"v":1,', b'{"v":2,', 1))
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.MALFORMED


def test_a_recorder_killed_between_or_during_any_write_leaves_incomplete_evidence(builder, monkeypatch, tmp_path):
    written: list[tuple[str, bytes]] = []
    real_write = append_file.os.write

    def noting(descriptor, data):
        written.append((Path(f"/dev/fd/{descriptor}").resolve().name, bytes(data)))
        return real_write(descriptor, data)

    run = builder.opened()
    blobs_before = run.main.store_blob(b"png")
    start = {path.name: path.read_bytes() for path in run.folder.glob("seg/*.jsonl")}
    monkeypatch.setattr(append_file.os, "write", noting)
    run.main.append("msg", {"wire": Committed("one"), "more": [Committed("two"), Committed(3)]})
    run.main.append("blob", {"sha256": Committed({"$blob": blobs_before}, is_blob=True)})
    run.main.append("note", {})
    run.main.close()
    monkeypatch.undo()
    for count in range(len(written) + 1):
        cuts = range(0, len(written[count][1]), 7) if count < len(written) else (0,)
        for cut in cuts:
            files = dict(start)
            for name, data in written[:count]:
                files[name] += data
            if cut:
                files[written[count][0]] += written[count][1][:cut]
            for name, data in files.items():
                (run.folder / "seg" / name).write_bytes(data)
            report = verify(run.folder, trust=[run.identity.public])
            assert report.outcome is Outcome.INCOMPLETE, (count, cut, report.problems)


def test_an_unclosed_run_does_not_hide_a_changed_sealed_record(builder):
    run = builder.opened()
    run.record_test()
    path = run.folder / "seg/gw0.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"verdict":"deny"', b'"verdict":"okay"'))
    assert verify(run.folder, trust=[run.identity.public]).outcome is Outcome.TAMPERED


@settings(max_examples=300)
@given(st.binary(max_size=300), st.booleans())
def test_verify_raises_nothing_whatever_the_bytes(data, with_marker):
    target = b"<html>" + container.MARKER + data + container.TAIL if with_marker else data
    assert verify(target).outcome is Outcome.MALFORMED


@settings(max_examples=100)
@given(data=st.data(), junk=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b"1" * 10_000)))
def test_verify_raises_nothing_whatever_an_item_holds(made, data, junk):
    source = ContainerSource(made.file)
    kept = {path: source.read(path) for path in source.paths()}
    path = data.draw(st.sampled_from(sorted(kept)))
    assume(kept[path] != junk)
    kept[path] = junk
    close = kept.pop(names.CLOSE)
    changed = container.pack(source.view, kept.items()).finish(close)
    assert verify(changed, trust=[made.fingerprint]).outcome in (Outcome.TAMPERED, Outcome.MALFORMED)
