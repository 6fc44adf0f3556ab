"""`mcp-governance keygen` and `verify`, as a person meets them."""

import json
import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.keys import SigningKey, load_signing_key


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def report(made, tmp_path):
    path = tmp_path / "governance-report.html"
    path.write_bytes(made.file)
    return path


def test_keygen_makes_a_private_key_and_says_what_to_do_next(run, tmp_path):
    result = run("keygen", "--out", tmp_path / "keys")
    key = load_signing_key("keys/signing.pem", root=tmp_path)
    assert result.exit_code == 0
    assert key.public.fingerprint in result.output
    assert "--trust" in result.output
    assert "PRIVATE KEY" not in result.output
    assert stat.S_IMODE((tmp_path / "keys/signing.pem").stat().st_mode) == 0o600
    assert (tmp_path / "keys/signing.pub.pem").read_bytes() == key.public.spki_pem


def test_keygen_says_in_full_where_the_private_key_is(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("keygen")
    assert f"Wrote {tmp_path / 'signing.pem'} (private, mode 0600)" in result.output
    assert "git work tree" not in result.output


@pytest.mark.parametrize("marker", ["folder", "file"])
def test_keygen_inside_a_git_work_tree_says_to_move_the_key_or_to_ignore_it(run, tmp_path, marker):
    git = tmp_path / ".git"
    git.mkdir() if marker == "folder" else git.write_text("gitdir: elsewhere")
    result = run("keygen", "--out", tmp_path / "keys")
    assert f"lies in the git work tree {tmp_path}" in result.output
    assert "Move it out, or add keys/signing.pem to its .gitignore" in result.output


@pytest.mark.parametrize("existing", ["signing.pem", "signing.pub.pem"])
def test_keygen_overwrites_nothing(run, tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    result = run("keygen", "--out", tmp_path)
    assert result.exit_code == 2
    assert "exists already" in result.output
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_keygen_into_a_file_is_a_clear_error(run, tmp_path):
    (tmp_path / "file").touch()
    result = run("keygen", "--out", tmp_path / "file" / "below")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_verify_says_in_words_that_a_report_is_unaltered_since_recorded(run, made, report):
    result = run("verify", report, "--trust", made.fingerprint)
    assert result.exit_code == 0
    assert result.output.startswith("VERIFIED: unaltered since recorded")
    assert "compliant" not in result.output
    for shown in (made.fingerprint, "1 passed", "blocked 1 expected", "all sealed"):
        assert shown in result.output


def test_verify_without_trust_says_that_the_signer_is_unknown(run, report):
    result = run("verify", report)
    assert result.exit_code == 4
    assert "consistent. Signer not confirmed: name the key that you trust with --trust" in result.output


def test_verify_with_another_key_does_not_say_that_the_signer_is_unknown(run, report):
    result = run("verify", report, "--trust", SigningKey.generate().public.fingerprint)
    assert result.exit_code == 4
    assert "not signed by a key you trust" in result.output


def test_verify_names_the_first_broken_record(run, made):
    path = made.folder / "seg/gw0.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"seq":2,', b'"seq":9,'))
    result = run("verify", made.folder)
    assert result.exit_code == 1
    assert "gw0/2" in result.output


def test_verify_prints_json_for_programs(run, made, report):
    result = run("verify", report, "--json", "--trust", made.fingerprint, "--require", "passed,timestamp")
    document = json.loads(result.output)
    assert (result.exit_code, document["outcome"]) == (5, "REQUIREMENT")
    assert document["problems"][0]["text"].startswith("required: timestamp")
    assert document["signer"] == made.fingerprint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.html"], "does not exist"),
        (["."], "no run folder"),
        (["cut.html"], "cut short"),
        (["text.html"], "no governance report"),
        (["whole.html", "--trust", "missing.pem"], "no such file"),
        (["whole.html", "--trust", "text.html"], "PEM"),
        (["whole.html", "--trust", "SHA256:x\u202e"], "43 base64 characters; saw 'SHA256:x\\u{202e}'"),
        (["whole.html", "--require", "perfect"], "Known: passed"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_screen_and_exit_code_2(run, made, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whole.html").write_bytes(made.file)
    (tmp_path / "cut.html").write_bytes(made.file[:-500])
    (tmp_path / "text.html").write_text("hello")
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) < 24


@pytest.mark.parametrize(("option", "value"), [("--trust", "missing.pem"), ("--require", "perfect")])
def test_a_wrong_option_is_a_usage_error_and_says_nothing_about_the_report(run, report, option, value):
    result = run("verify", report, option, value)
    assert result.exit_code == 2
    assert f"Usage error: {option}: " in result.output
    assert "MALFORMED" not in result.output
    assert "not evidence" not in result.output


def test_what_is_no_evidence_is_not_called_wrong_usage(run, tmp_path):
    (tmp_path / "text.html").write_text("hello")
    assert "MALFORMED: this is not evidence.\n" in run("verify", tmp_path / "text.html").output


@pytest.mark.parametrize("where", ["first", "last"])
def test_records_of_altered_evidence_are_not_called_sealed(run, made, where):
    path = made.folder / "seg/main.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = 0 if where == "first" else -1
    lines[number] = lines[number].replace(b'"v":1', b'"v":1 ')
    path.write_bytes(b"".join(lines))
    result = run("verify", made.folder)
    assert result.output.startswith("TAMPERED")
    assert "all sealed" not in result.output
    assert "records    0" not in result.output


def test_letters_of_any_alphabet_are_printed_as_they_are(run, tmp_path):
    assert "Prüfbericht 検証.html does not exist" in run("verify", tmp_path / "Prüfbericht 検証.html").output


def test_hostile_characters_reach_the_terminal_escaped(run, builder, tmp_path):
    opened = builder.opened()
    hostile = "t\x1b]0;owned\x07\u202e\u200b\r\n\x9b2J\ud800\U000e0041"
    opened.main.append("selection", {"selected": [hostile]})
    opened.main.append("test", {"phase": "end", "outcome": hostile}, test=(hostile, 1))
    opened.main.append("test", {"phase": "start"}, test=(hostile + "2", 1))
    made = opened.close()
    path = tmp_path / "a\x1b[2Jb.html"
    path.write_bytes(made.file)
    for extra in ([], ["--json"], ["--require", "passed,commit=\x1b"]):
        output = run("verify", path, *extra).output
        assert all(character == "\n" or character.isprintable() for character in output)
        assert "owned" in output


def test_a_command_is_imported_only_when_it_is_called(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "pytest_mcp_governance.cli.keygen", raising=False)
    run("verify", "missing.html")
    assert "pytest_mcp_governance.cli.keygen" not in sys.modules
    assert run("--help").exit_code == 0
    assert run("nonsense").exit_code == 2


@pytest.mark.parametrize(("wanted", "said"), [("commit", "commit=SHA"), ("pased", "did you mean 'passed'?")])
def test_a_requirement_that_is_almost_right_says_what_was_meant(run, report, wanted, said):
    result = run("verify", report, "--require", wanted)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_outcome_stays_where_nobody_reads_it(made, report, stream):
    """`verify | head` is no TAMPERED; click by itself ends with 1."""
    command = [sys.executable, "-c", "from pytest_mcp_governance.cli import main; main()", "verify", str(report)]
    command += ["--trust", made.fingerprint] if stream == "stdout" else ["--require", "no-such"]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        ended = subprocess.run(command, **{stream: nobody}, check=False, timeout=120)
    assert ended.returncode == (0 if stream == "stdout" else 2)
