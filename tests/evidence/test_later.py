"""Later statements: a countersignature lends trust to this very run and to no other, and cannot hide in a corner."""

import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container, names, statements
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.later import COUNTERSIGN, LaterError, LaterStatements, sign_later
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.verify import Outcome, verify
from tests.evidence.test_group import Shards

PRODUCER = {"name": "pytest-mcp-governance", "version": "0"}


@pytest.fixture
def key():
    return SigningKey.generate()


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def key_file(key, tmp_path):
    path = tmp_path / "merge.pem"
    path.write_bytes(key.to_pem())
    return path


@pytest.fixture
def report(made, tmp_path):
    path = tmp_path / "governance-report.html"
    path.write_bytes(made.file)
    return path


def signed(made, key, *, digest=None, signed_on="2026-11-23T01:00:00Z", kind=COUNTERSIGN, **more):
    over = digest or verify(made.file).close_digest
    return sign_later(kind, key, digest=over, run="r", signed_on=signed_on, producer=PRODUCER, more=more)


def added(file, *later):
    for path, bundle in later:
        file = b"".join(container.with_statement(file, container.split(file), path, bundle))
    return file


def test_a_trusted_countersignature_makes_a_run_of_an_unknown_signer_verified(made, key):
    file = added(made.file, signed(made, key))
    report = verify(file, trust=[key.public])
    assert report.outcome is Outcome.VERIFIED, report.problems
    assert (report.signer, report.trusted) == (made.fingerprint, False)
    assert [(s.kind, s.signer, s.trusted) for s in report.statements] == [("countersign", key.public.fingerprint, True)]


def test_a_countersignature_of_a_stranger_lends_nothing_and_takes_nothing(made, key):
    file = added(made.file, signed(made, key))
    assert verify(file).outcome is Outcome.UNTRUSTED
    assert verify(file, trust=[made.fingerprint]).outcome is Outcome.VERIFIED
    assert verify(file, trust=[SigningKey.generate().public]).outcome is Outcome.UNTRUSTED


def test_trust_with_dates_is_held_against_the_time_of_the_countersignature(made, key, tmp_path):
    file = added(made.file, signed(made, key, signed_on="2026-12-01T00:00:00Z"))
    trust = tmp_path / "trust.json"
    entry = f'{{"fingerprint": "{key.public.fingerprint}", "not_before": "2026-11-30"}}'
    trust.write_text(f'{{"v": 1, "keys": [{entry}]}}')
    assert verify(file, trust=[str(trust)]).outcome is Outcome.VERIFIED
    trust.write_text(trust.read_text().replace("2026-11-30", "2026-12-02"))
    assert verify(file, trust=[str(trust)]).outcome is Outcome.UNTRUSTED


def test_several_keys_may_countersign(made, key):
    others = [SigningKey.generate() for _ in range(3)]
    file = added(made.file, signed(made, key), *(signed(made, other) for other in others))
    for signer in (key, *others):
        assert verify(file, trust=[signer.public]).outcome is Outcome.VERIFIED


def test_every_other_byte_of_the_file_stays_as_it_was(made, key):
    path, bundle = signed(made, key)
    file = added(made.file, (path, bundle))
    source = ContainerSource(file)
    element = b'<script type="text/plain" data-path="%s">' % path.encode()
    start = file.index(element)
    end = file.index(b"</script>\n", start) + len(b"</script>\n")
    assert file[:start] + file[end:] == made.file
    assert source.read(path) == bundle


def test_a_countersignature_over_another_close_digest_is_tampered(made, key):
    report = verify(added(made.file, signed(made, key, digest="ab" * 32)), trust=[key.public])
    assert report.outcome is Outcome.TAMPERED
    assert "another close statement" in report.problems[0].text


def test_a_countersignature_moved_to_another_run_is_tampered(made, builder, key):
    other = builder.whole()
    file = added(other.file, signed(made, key))
    assert verify(file, trust=[key.public]).outcome is Outcome.TAMPERED


def test_the_same_countersignature_under_two_names_is_malformed(made, key):
    path, bundle = signed(made, key)
    twice = names.statement_path("countersign-" + "0" * 16)
    report = verify(added(made.file, (path, bundle), (twice, bundle)), trust=[key.public])
    assert report.outcome is Outcome.MALFORMED
    assert "not named after its content" in report.problems[0].text


def test_two_countersignatures_by_one_key_are_malformed(made, key):
    file = added(made.file, signed(made, key), signed(made, key, signed_on="2026-11-24T00:00:00Z"))
    report = verify(file, trust=[key.public])
    assert report.outcome is Outcome.MALFORMED
    assert "second countersign statement by the same key" in report.problems[0].text


@pytest.mark.parametrize("name", ["praise", "praise-" + "0" * 16, "countersign", "countersign-xyz"])
def test_a_kind_that_is_not_known_is_malformed(made, key, name):
    _, bundle = signed(made, key)
    report = verify(added(made.file, (names.statement_path(name), bundle)), trust=[made.fingerprint])
    assert report.outcome is Outcome.MALFORMED
    assert "no later statement that this version knows" in report.problems[0].text


def test_a_predicate_type_other_than_its_kind_says_is_malformed(made, key):
    statement = statements.read_bundle(signed(made, key)[1]).payload | {"predicateType": "https://x/praise/v1"}
    bundle = statements.sign_bundle(statement, key)
    path = names.statement_path("countersign-" + statements.read_bundle(bundle).digest[:16])
    report = verify(added(made.file, (path, bundle)), trust=[key.public])
    assert report.outcome is Outcome.MALFORMED


def test_a_countersignature_signed_by_another_key_than_it_names_is_tampered(made, key):
    statement = statements.read_bundle(signed(made, key)[1]).payload
    bundle = statements.sign_bundle(statement, SigningKey.generate())
    path = names.statement_path("countersign-" + statements.read_bundle(bundle).digest[:16])
    report = verify(added(made.file, (path, bundle)), trust=[key.public])
    assert report.outcome is Outcome.TAMPERED
    assert "signature is wrong" in report.problems[0].text


@pytest.mark.parametrize("change", [{"identityKey": "x"}, {"signedOn": "soon"}, {"signedOn": None}])
def test_a_countersignature_without_a_proper_key_or_time_is_malformed(made, key, change):
    payload = statements.read_bundle(signed(made, key)[1]).payload
    statement = payload | {"predicate": payload["predicate"] | change}
    bundle = statements.sign_bundle(statement, key)
    path = names.statement_path("countersign-" + statements.read_bundle(bundle).digest[:16])
    assert verify(added(made.file, (path, bundle))).outcome is Outcome.MALFORMED


def test_a_countersignature_packed_in_any_other_form_is_malformed(made, key):
    path, bundle = signed(made, key)
    stored = container.encode_stored(bundle)
    file = added(made.file, (path, bundle)).replace(stored, container.encode_item(bundle))
    report = verify(file, trust=[key.public])
    assert report.outcome is Outcome.MALFORMED
    assert "the one form" in report.problems[0].text


def test_a_countersigned_folder_that_lost_its_close_statement_is_tampered(made, key):
    path, bundle = signed(made, key)
    (made.folder / path).parent.mkdir()
    (made.folder / path).write_bytes(bundle)
    assert verify(made.folder, trust=[key.public]).outcome is Outcome.VERIFIED
    (made.folder / names.CLOSE).unlink()
    report = verify(made.folder, trust=[key.public])
    assert report.outcome is Outcome.TAMPERED
    assert "the close statement that it was made over is missing" in report.problems[0].text


def test_no_byte_of_a_countersignature_can_be_changed(made, key):
    path, bundle = signed(made, key)
    file = added(made.file, (path, bundle))
    start = file.index(path.encode())
    for position in range(start, file.index(b"</script>\n", start), 3):
        changed = bytearray(file)
        changed[position] ^= 1
        assert verify(bytes(changed), trust=[key.public]).outcome in (Outcome.TAMPERED, Outcome.MALFORMED)


@settings(max_examples=100)
@given(st.binary(max_size=400), st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40))
def test_reading_a_later_statement_raises_nothing_but_its_own_error(data, name):
    for path in (names.statement_path(name), names.statement_path("countersign-" + "0" * 16)):
        with pytest.raises(LaterError):
            LaterStatements("ab" * 32).add(path, data)


def test_a_statement_cannot_be_put_where_evidence_stands(made):
    for path in ("close.sigstore.json", "seg/main.jsonl", "statements/../x"):
        with pytest.raises(EvidenceError):
            b"".join(container.with_statement(made.file, container.split(made.file), path, b""))


# -- the command ---------------------------------------------------------------------------------------------------


def test_countersign_in_place_and_verify_with_the_countersigners_key(run, report, made, key, key_file):
    result = run("countersign", report, "--sign", key_file)
    assert result.exit_code == 0, result.output
    assert key.public.fingerprint in result.output
    assert str(key_file) not in result.output
    shown = run("verify", report, "--trust", key.public.fingerprint)
    assert shown.exit_code == 0
    assert f"later      countersign by {key.public.fingerprint} (trusted)" in shown.output
    assert run("verify", report).exit_code == 4


def test_countersign_to_another_file_leaves_the_report_as_it_is(run, report, made, key_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MCP_GOVERNANCE_SIGNING_KEY", str(key_file))
    out = tmp_path / "countersigned.html"
    assert run("countersign", report, "--out", out).exit_code == 0
    assert report.read_bytes() == made.file
    assert len(out.read_bytes()) > len(made.file)


def test_countersigning_a_run_folder_also_reaches_its_report(run, made, key, key_file):
    (made.folder / "report.html").write_bytes(made.file)
    assert run("countersign", made.folder, "--sign", key_file).exit_code == 0
    for target in (made.folder, made.folder / "report.html"):
        assert verify(target, trust=[key.public]).outcome is Outcome.VERIFIED


def test_countersign_signs_nothing_that_was_altered(run, report, made, key_file):
    report.write_bytes(made.file.replace(b"One call", b"No call!"))
    before = report.read_bytes()
    result = run("countersign", report, "--sign", key_file)
    assert result.exit_code == 1
    assert "Nothing was written" in result.output
    assert report.read_bytes() == before


def test_countersign_signs_no_run_that_was_not_closed(run, builder, key_file):
    opened = builder.opened()
    result = run("countersign", opened.folder, "--sign", key_file)
    assert result.exit_code == 3
    assert not (opened.folder / "statements").exists()


def test_countersigning_a_partial_run_says_that_it_is_not_whole(run, builder, key_file, tmp_path):
    partial = builder.whole(status="partial")
    path = tmp_path / "partial.html"
    path.write_bytes(partial.file)
    result = run("countersign", path, "--sign", key_file)
    assert result.exit_code == 3
    assert "INCOMPLETE" in result.output


def test_the_same_key_does_not_countersign_twice(run, report, key_file):
    assert run("countersign", report, "--sign", key_file).exit_code == 0
    before = report.read_bytes()
    result = run("countersign", report, "--sign", key_file)
    assert result.exit_code == 2
    assert "already" in result.output
    assert report.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report.html"], "No key to sign with"),
        (["report.html", "--sign", "missing.pem"], "no such file"),
        (["report.html", "--sign", ""], "names no key"),
        (["missing.html", "--sign", "merge.pem"], "does not exist"),
        (["report.html", "--sign", "merge.pem", "--out", "no/such/folder.html"], "cannot be written"),
    ],
)
def test_bad_input_to_countersign_is_one_screen_and_exit_code_2(
    run, made, key_file, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCP_GOVERNANCE_SIGNING_KEY", raising=False)
    (tmp_path / "report.html").write_bytes(made.file)
    result = run("countersign", *arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) < 24
    assert (tmp_path / "report.html").read_bytes() == made.file
    shutil.rmtree(tmp_path / "no", ignore_errors=True)


def test_a_group_is_countersigned_over_its_own_digest(run, builder, key, key_file, tmp_path):
    shards = Shards(builder, tmp_path)
    out = shards.group(shards.pair()).out
    result = run("countersign", out, "--sign", key_file)
    assert result.exit_code == 0, result.output
    assert "VERIFIED: group g-1 is countersigned." in result.output
    assert verify(out, trust=[key.public]).outcome is Outcome.VERIFIED
    assert run("countersign", out, "--sign", key_file).exit_code == 2
