"""What verification says of whole runs, and of runs that lack something."""

import base64
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence import container, names, statements
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import ContainerSource, FolderSource
from pytest_mcp_governance.evidence.verify import Outcome, Report, Verdict, verify

TEST = ("tests/test_refund.py::test_refund", 1)


def texts(report: Report) -> str:
    return "\n".join(map(str, report.problems))


def test_a_whole_file_with_its_signer_trusted_is_verified(made):
    report = verify(made.file, trust=[made.fingerprint])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert report.problems == ()
    assert report.sealed == report.records == sum(report.segments.values())
    assert report.tests == {"passed": 1}
    assert report.findings["blocked"] == {"enforce": 0, "observe": 0, "expected": 1}
    assert report.selection == {"selected": 1, "audited": 1, "unaudited": 3, "deselected": 1}
    assert report.verdict is Verdict.NO_FINDINGS


def test_a_whole_folder_is_verified_too(made):
    report = verify(made.folder, trust=[made.identity.public])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert report.close_digest == verify(made.file).close_digest


def test_nobody_trusted_is_untrusted(made):
    report = verify(made.file)
    assert report.outcome is Outcome.UNTRUSTED
    assert report.signer == made.fingerprint


def test_another_trusted_key_is_untrusted(made):
    assert verify(made.file, trust=[SigningKey.generate().public]).outcome is Outcome.UNTRUSTED


def test_a_run_that_was_not_closed_is_incomplete_and_says_how_far_it_verifies(builder):
    run = builder.opened()
    run.record_test()
    report = verify(run.folder, trust=[run.identity.public])
    assert report.outcome is Outcome.INCOMPLETE
    assert "verifies to record gw0/" in texts(report)
    assert report.status == ""


def test_a_close_statement_taken_away_is_incomplete(made):
    (made.folder / names.CLOSE).unlink()
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.INCOMPLETE


@pytest.mark.parametrize("status", ["partial", "recovered"])
def test_a_run_that_is_not_complete_is_incomplete(builder, status):
    made = builder.whole(status=status)
    assert verify(made.file, trust=[made.fingerprint]).outcome is Outcome.INCOMPLETE


@pytest.mark.parametrize("segment", ["main", "gw0"])
@pytest.mark.parametrize("with_disclosures", [True, False])
def test_a_listed_segment_that_is_absent_is_incomplete(made, segment, with_disclosures):
    (made.folder / f"seg/{segment}.jsonl").unlink()
    if with_disclosures:
        (made.folder / f"seg/{segment}.sd.jsonl").unlink()
    report = verify(made.folder, trust=[made.fingerprint])
    assert report.outcome is Outcome.INCOMPLETE, texts(report)
    assert segment in texts(report)


@pytest.mark.parametrize("cut", [0, 1, 20, 300])
def test_a_run_whose_worker_was_killed_is_incomplete(builder, cut):
    run = builder.opened()
    run.record_test()
    worker = run.segments.pop()
    worker.append("msg", {"wire": Committed("the last one"), "blob": worker.commit_blob(b"late")})
    path = run.folder / "seg/gw0.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    summary = EvidenceReader(FolderSource(run.folder)).summarise("gw0", worker_key(run))
    made = run.close(status="partial", cut_off=(summary,))
    for target in (made.folder, made.file):
        report = verify(target, trust=[made.fingerprint])
        assert report.outcome is Outcome.INCOMPLETE, texts(report)
        assert "it has no close record" in texts(report)


def worker_key(run):
    records = EvidenceReader(FolderSource(run.folder)).records("main")
    key = statements.read_key(next(record["key"] for record in records if record["type"] == "segment"))
    assert key is not None
    return key


def test_an_unlisted_segment_is_tampered(made, builder):
    other = builder.opened()
    other.record_test()
    (made.folder / "seg/gw9.jsonl").write_bytes((other.folder / "seg/gw0.jsonl").read_bytes())
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_gap_is_incomplete(builder):
    run = builder.opened()
    run.record_test()
    run.main.append("gap", {"what": "frames", "count": 2, "reason": "queue full"})
    made = run.close()
    assert verify(made.file, trust=[made.fingerprint]).outcome is Outcome.INCOMPLETE


def test_a_selected_test_without_an_end_is_incomplete(builder):
    run = builder.opened()
    run.record_test()
    run.main.append("selection", {"selected": [TEST[0], "tests/test_b.py::test_other"]})
    made = run.close()
    report = verify(made.file, trust=[made.fingerprint])
    assert report.outcome is Outcome.INCOMPLETE
    assert "tests/test_b.py::test_other" in texts(report)


def test_a_denial_without_a_finding_counts_as_an_unexpected_blocked_finding(builder):
    run = builder.opened()
    run.record_test()
    run.main.append("decision", {"moment": "before", "verdict": "deny", "ref": "main/1", "rule": "r"})
    made = run.close()
    report = verify(made.file, trust=[made.fingerprint])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert report.findings["blocked"]["enforce"] == 1
    assert report.verdict is Verdict.FINDINGS


def test_a_finding_that_refers_to_the_denied_message_accounts_for_the_denial(builder):
    run = builder.opened()
    run.main.append("decision", {"moment": "before", "verdict": "deny", "ref": "main/7", "rule": "r"})
    run.main.append("finding", {"state": "blocked", "mode": "enforce", "refs": ["main/7"], "expected": False})
    made = run.close()
    assert verify(made.file).findings["blocked"]["enforce"] == 1


@pytest.mark.parametrize("counts", [{"findings": {}}, {"tests": {"passed": 2}}, {"selection": {"selected": 9}}])
def test_a_signer_cannot_state_other_counts_than_the_records_show(builder, counts):
    made = builder.whole(counts=counts)
    assert verify(made.file, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_close_signed_by_another_key_is_tampered(builder):
    made = builder.whole(signer=SigningKey.generate())
    assert verify(made.file, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_close_of_another_run_is_tampered(made, builder):
    other = builder.whole()
    (made.folder / names.CLOSE).write_bytes((other.folder / names.CLOSE).read_bytes())
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_withheld_values_are_counted_and_the_rest_still_verifies(made, builder):
    run = builder.opened()
    run.record_test()
    reader = EvidenceReader(FolderSource(run.folder))
    access = next(r for r in reader.records("gw0") if r["type"] == "access")
    screen = next(r for r in reader.records("gw0") if r["type"] == "blob")
    digests = frozenset({access["fields"][0]["$sd"], screen["sha256"]["$sd"]})
    withheld = run.close(withhold=digests)
    report = verify(withheld.file, trust=[withheld.fingerprint])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert report.withheld == 2
    assert sum(path.startswith("blob/") for path in ContainerSource(withheld.file).paths()) == 1  # the policy


def test_withholding_more_from_a_closed_file_is_tampered(made):
    source = ContainerSource(made.file)
    kept = {path: source.read(path) for path in source.paths()}
    kept["seg/gw0.sd.jsonl"] = b"".join(kept["seg/gw0.sd.jsonl"].splitlines(keepends=True)[1:])
    close = kept.pop(names.CLOSE)
    changed = container.pack(source.view, kept.items()).finish(close)
    assert verify(changed, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_blob_that_was_omitted_with_a_reason_is_counted(builder):
    run = builder.opened()
    run.record_test()
    digest = run.main.store_blob(b"png")
    entry = {"ref": "gw0/6", "sha256": digest, "reason": "size budget"}
    made = run.close(drop_blobs=frozenset({digest}), omitted=(entry,))
    report = verify(made.file, trust=[made.fingerprint])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert report.omitted == 1


def test_a_blob_that_is_missing_without_a_reason_is_tampered(builder):
    run = builder.opened()
    run.record_test()
    digest = run.main.store_blob(b"png")
    made = run.close(drop_blobs=frozenset({digest}))
    assert verify(made.file, trust=[made.fingerprint]).outcome is Outcome.TAMPERED
    (made.folder / "blob" / digest).unlink()
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_blob_that_no_record_names_is_tampered(made):
    digest = hashlib.sha256(b"another").hexdigest()
    (made.folder / "blob" / digest).write_bytes(b"another")
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_disclosure_that_no_record_names_is_tampered(made):
    with (made.folder / "seg/gw0.sd.jsonl").open("ab") as file:
        file.write(b'["AAAAAAAAAAAAAAAAAAAAAA",1]\n')
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_unknown_record_types_are_counted_and_shown(builder):
    run = builder.opened()
    run.record_test()
    run.main.append("hologram", {"x": 1})
    made = run.close()
    report = verify(made.file, trust=[made.fingerprint])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert any("1 records are of types" in note for note in report.notes)


def test_hostile_names_in_evidence_reach_no_problem_unescaped(builder):
    run = builder.opened()
    run.main.append("selection", {"selected": ["t::\x1b[2J\u202egpj.exe"]})
    made = run.close()
    text = texts(verify(made.file))
    assert "\\u{1b}[2J\\u{202e}" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("require", "met"),
    [
        ("passed", True),
        ("no-withheld", True),
        ("timestamp", False),
        ("challenge=nonce", True),
        ("challenge=other", False),
        ("commit=abc", True),
        ("commit=def", False),
        ("policy=" + "ab" * 32, True),
        ("policy=" + "cd" * 32, False),
        ("close=" + "00" * 32, False),
    ],
)
def test_requirements(builder, require, met):
    run = builder.opened(challenge="nonce", source={"commit": "abc", "dirty": False})
    run.record_test()
    made = run.close()
    report = verify(made.file, trust=[made.fingerprint], require=[require])
    assert report.outcome is (Outcome.VERIFIED if met else Outcome.REQUIREMENT), texts(report)


def test_the_close_digest_can_be_required(made):
    digest = verify(made.file).close_digest
    report = verify(made.file, trust=[made.fingerprint], require=[f"passed,close={digest}"])
    assert report.outcome is Outcome.VERIFIED


def test_passed_needs_a_policy(builder):
    run = builder.opened()
    run.main.append("test", {"phase": "start"}, test=TEST)
    run.main.append("test", {"phase": "end", "outcome": "passed"}, test=TEST)
    made = run.close()
    report = verify(made.file, trust=[made.fingerprint], require=["passed"])
    assert report.outcome is Outcome.REQUIREMENT
    assert report.verdict is Verdict.NOT_JUDGED


@pytest.mark.parametrize("require", ["perfect", "commit", "passed=1", "close=abc", ""])
def test_a_requirement_that_is_not_known_is_a_usage_error(made, require):
    assert verify(made.file, require=[require]).outcome is Outcome.MALFORMED


@pytest.mark.parametrize("target", ["missing.html", "empty.html", "folder", "pipe", "text.html"])
def test_what_is_no_evidence_is_malformed_and_says_what_was_expected(tmp_path: Path, target):
    (tmp_path / "empty.html").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.html").write_text("<html>nothing</html>")
    report = verify(tmp_path / target)
    assert report.outcome is Outcome.MALFORMED
    assert texts(report)


def test_a_link_in_a_run_folder_is_not_followed(made):
    blob = next(made.folder.glob("blob/*"))
    blob.rename(made.folder / "elsewhere")
    blob.symlink_to(made.folder / "elsewhere")
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.TAMPERED


def test_a_recovered_close_by_another_signer_is_at_best_incomplete(builder):
    run = builder.opened()
    run.record_test()
    rescuer = SigningKey.generate()
    made = run.close(status="recovered")
    bundle = statements.read_bundle((made.folder / names.CLOSE).read_bytes())
    key = base64.b64encode(rescuer.public.raw).decode()
    payload = {**bundle.payload, "predicate": {**bundle.predicate, "identityKey": key}}
    (made.folder / names.CLOSE).write_bytes(statements.sign_bundle(payload, rescuer))
    assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.INCOMPLETE


def test_memory_does_not_grow_with_the_number_of_records(builder):
    run = builder.opened()
    for number in range(4_000):
        run.main.append("msg", {"wire": Committed(f"{number}" + "x" * 2_000)})
    made = run.close()
    tracemalloc.start()
    try:
        assert verify(made.folder, trust=[made.fingerprint]).outcome is Outcome.VERIFIED
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3_000_000  # the run has 10 MB
