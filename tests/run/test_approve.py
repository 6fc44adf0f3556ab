"""`mcp-governance approve` and `verify` of its file: what is approved, what is refused, and that no byte can change."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence import statements
from pytest_mcp_governance.evidence.approval import ApprovalError, check_approval, read_approval, sign_approval
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.run.approved import NO_CLEAR_NAME, from_json
from tests.evidence.conftest import RUN, TEST, Builder, Made, OpenedRun

Run = Callable[..., Result]
OUT = "governance.approved.json"
SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCP_GOVERNANCE_SIGNING_KEY", raising=False)
    return lambda command, *arguments: CliRunner().invoke(main, [command, *map(str, arguments)])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "approver.pem"
    path.write_bytes(SigningKey.generate().to_pem())
    return path


def fingerprint(key: Path) -> str:
    return SigningKey.from_pem(key.read_bytes()).public.fingerprint


def stored(made: Made, path: Path) -> Path:
    path.write_bytes(made.file)
    return path


def used(opened: OpenedRun, agent: str = "clerk", tool: object = "get_vendor", scope: str = "vendors") -> None:
    """One more call of an agent, into a data scope."""
    call = {
        "direction": "c2s",
        "kind": "request",
        "server": "books",
        "agent": agent,
        "tool": tool,
        "method": "tools/call",
    }
    ref = opened.main.append("msg", call | {"wire": Committed(SECRET)}, test=TEST)
    access = {"agent": agent, "scope": scope, "class": "pii", "ref": ref, "data": Committed(SECRET), "fields": []}
    opened.main.append("access", access, test=TEST)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    opened = Builder(tmp_path / "runs").opened()
    opened.record_test()
    used(opened)
    return opened.close()


@pytest.fixture
def report(made: Made, tmp_path: Path) -> Path:
    return stored(made, tmp_path / "governance-report.html")


def test_an_approval_names_run_close_digest_and_what_the_run_had(run, made, report, key, tmp_path):
    result = run("approve", report, "--trust", made.fingerprint, "--sign", key, "--by", "Ada", "--ticket", "GOV-7")
    approval = read_approval((tmp_path / OUT).read_bytes())
    assert result.exit_code == 0
    assert (approval.run, approval.close) == (RUN, verify(made.file).close_digest)
    assert (approval.by, approval.ticket, approval.ephemeral) == ("Ada", "GOV-7", False)
    assert approval.signer.fingerprint == fingerprint(key)
    summary = from_json(approval.summary)
    assert summary.agents["clerk"].tools == {"books.get_vendor"}
    assert summary.agents["clerk"].scopes == {"vendors"}
    assert set(summary.tests) == {TEST[0]}
    assert summary.signer == made.fingerprint
    assert summary.findings["blocked"]["expected"] == 1
    ((source,),) = [policy.sources for policy in summary.policies]
    assert source.text is not None and source.name == "governance.policy.yaml"


def test_the_file_is_an_in_toto_statement_over_the_close_digest(run, made, report, tmp_path):
    run("approve", report, "--trust", made.fingerprint)
    bundle = statements.read_bundle((tmp_path / OUT).read_bytes().removesuffix(b"\n"))
    assert bundle.payload["predicateType"] == "https://pytest-mcp-governance.dev/approval/v1"
    assert bundle.payload["subject"] == [{"name": f"{RUN}/close", "digest": {"sha256": verify(made.file).close_digest}}]


def test_what_is_approved_is_said_before_it_is_written(run, made, report):
    text = run("approve", report, "--trust", made.fingerprint).output
    for shown in ("agent      clerk", "books.get_vendor", "vendors", "1 passed", "blocked 1 expected", "sha256:abab",
                  "No run was approved here before"):  # fmt: skip
        assert shown in text


def test_no_value_of_a_message_gets_into_the_approval(run, made, report, tmp_path):
    result = run("approve", report, "--trust", made.fingerprint)
    payload = statements.read_bundle((tmp_path / OUT).read_bytes().removesuffix(b"\n")).raw
    assert SECRET.encode() not in payload
    assert SECRET not in result.output


def test_a_tool_whose_name_is_committed_is_kept_without_it(run, tmp_path):
    opened = Builder(tmp_path / "named").opened()
    opened.record_test()
    used(opened, tool=Committed(SECRET))
    report = stored(opened.close(), tmp_path / "named.html")
    assert run("approve", report, "--untrusted-signer").exit_code == 0
    summary = from_json(read_approval((tmp_path / OUT).read_bytes()).summary)
    assert summary.agents["clerk"].tools == {f"books.{NO_CLEAR_NAME}"}


def test_without_a_key_it_says_that_readers_cannot_tell_who_approved(run, made, report, tmp_path):
    result = run("approve", report, "--trust", made.fingerprint)
    assert "readers cannot tell who approved" in result.output
    assert read_approval((tmp_path / OUT).read_bytes()).ephemeral


def test_a_key_may_come_from_the_environment(run, made, report, key, tmp_path, monkeypatch):
    monkeypatch.setenv("MCP_GOVERNANCE_SIGNING_KEY", str(key))
    assert run("approve", report, "--trust", made.fingerprint).exit_code == 0
    assert read_approval((tmp_path / OUT).read_bytes()).signer.fingerprint == fingerprint(key)


def test_a_run_that_nobody_vouches_for_is_approved_only_when_told_to(run, report, tmp_path):
    result = run("approve", report)
    assert result.exit_code == 4
    assert "--untrusted-signer" in result.stderr and "Nothing was approved" in result.stderr
    assert ".." not in result.stderr
    assert not (tmp_path / OUT).exists()
    assert run("approve", report, "--untrusted-signer").exit_code == 0
    assert from_json(read_approval((tmp_path / OUT).read_bytes()).summary).signer == ""


def test_a_run_that_is_not_whole_is_not_approved(run, tmp_path):
    made = Builder(tmp_path / "partial").whole(status="partial")
    result = run("approve", stored(made, tmp_path / "partial.html"), "--trust", made.fingerprint)
    assert result.exit_code == 3
    assert "INCOMPLETE" in result.stderr
    assert ". Nothing was approved" in result.stderr and ".." not in result.stderr
    assert not (tmp_path / OUT).exists()


@pytest.mark.parametrize("at", [100, -300])
def test_an_altered_report_is_not_approved(run, made, report, tmp_path, at):
    altered = bytearray(made.file)
    altered[at] ^= 1
    report.write_bytes(altered)
    result = run("approve", report, "--trust", made.fingerprint)
    assert result.exit_code in (1, 2)
    assert not (tmp_path / OUT).exists()


def test_what_is_no_report_is_a_usage_error(run, tmp_path):
    for target in (tmp_path, tmp_path / "none.html"):
        result = run("approve", target)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_approving_again_says_what_changed_since(run, made, report, tmp_path):
    assert run("approve", report, "--trust", made.fingerprint).exit_code == 0
    again = run("approve", report, "--trust", made.fingerprint)
    assert f"Nothing changed since run {RUN}" in again.output
    opened = Builder(tmp_path / "later").opened()
    opened.record_test()
    used(opened)
    used(opened, agent="intruder", tool="pay", scope="payroll")
    later = opened.close()
    text = run("approve", stored(later, tmp_path / "later.html"), "--trust", later.fingerprint).output
    for shown in ("! New data scopes", "intruder: payroll (pii)", "! New agents", "! New tools", "intruder: books.pay",
                  "! Another signer"):  # fmt: skip
        assert shown in text
    assert read_approval((tmp_path / OUT).read_bytes()).close == verify(later.file).close_digest


@pytest.mark.parametrize("content", ["{}", "", "notes of mine"])
def test_what_is_no_approval_is_not_replaced(run, made, report, tmp_path, content):
    (tmp_path / OUT).write_text(content)
    result = run("approve", report, "--trust", made.fingerprint)
    assert result.exit_code == 2
    assert "not replaced" in result.stderr
    assert (tmp_path / OUT).read_text() == content


def test_hostile_names_do_not_reach_the_terminal_unescaped(run, tmp_path):
    opened = Builder(tmp_path / "hostile").opened()
    opened.record_test()
    used(opened, agent="a\x1b[31m\u202e\nApproved: x", tool="t\x07", scope="s\r")
    report = stored(opened.close(), tmp_path / "hostile.html")
    texts = [
        run("approve", report, "--untrusted-signer", "--by", "\x1b[2J").output,
        run("verify", tmp_path / OUT).output,
    ]
    for text in texts:
        assert not set(text) & set("\x1b\u202e\x07\r")
        assert not any(line.startswith("Approved: x") for line in text.splitlines())


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> bytes:
    summary = {"agents": {}, "classes": {}, "servers": [], "sources": [], "policies": [], "tests": {}, "findings": {}}
    return sign_approval(SigningKey.generate(), run="run-1", close="c" * 64, approved_on="2026-11-23T00:00:00Z",
                         ephemeral=True, producer={"name": "x", "version": "0"}, summary=summary)  # fmt: skip


@pytest.mark.parametrize("bit", [0, 1, 5])
def test_an_approval_with_any_byte_changed_is_refused(small, bit):
    for at in range(len(small)):
        altered = bytearray(small)
        altered[at] ^= 1 << bit
        with pytest.raises(ApprovalError):
            read_approval(bytes(altered))


def test_an_approval_that_was_cut_or_extended_is_refused(small):
    assert read_approval(small) == read_approval(small[:-1])  # an editor may take the last newline away
    for altered in (*(small[:at] for at in range(len(small) - 1)), small + b"\n", small + b" ", b" " + small):
        with pytest.raises(ApprovalError):
            read_approval(altered)


def test_a_statement_of_another_kind_is_no_approval(made):
    bundle = (made.folder / "close.sigstore.json").read_bytes()
    with pytest.raises(ApprovalError) as raised:
        read_approval(bundle)
    assert raised.value.outcome is Outcome.MALFORMED


@pytest.mark.parametrize("change", [{"run": ""}, {"close": "abc"}, {"approved_on": "yesterday"}])
def test_an_approval_without_a_proper_run_digest_or_date_is_refused(small, change):
    approval = read_approval(small)
    fields = {"run": approval.run, "close": approval.close, "approved_on": approval.approved_on} | change
    with pytest.raises(ApprovalError):
        read_approval(sign_approval(SigningKey.generate(), ephemeral=True, producer={}, summary={}, **fields))


def test_trust_in_the_signer_is_the_readers_own(small):
    approval = read_approval(small)
    assert check_approval(small, []).outcome is Outcome.UNTRUSTED
    assert check_approval(small, [load_trust(SigningKey.generate().public)]).outcome is Outcome.UNTRUSTED
    assert check_approval(small, [load_trust(approval.signer)]).outcome is Outcome.VERIFIED
    assert replace(approval) == approval


def test_verify_says_what_an_approval_is_and_by_whom(run, made, report, key, tmp_path):
    run("approve", report, "--trust", made.fingerprint, "--sign", key, "--by", "Ada")
    trusted = run("verify", tmp_path / OUT, "--trust", fingerprint(key))
    assert trusted.exit_code == 0
    for shown in ("VERIFIED: this approval", RUN, fingerprint(key), "Ada, as the signer states"):
        assert shown in trusted.output
    assert run("verify", tmp_path / OUT).exit_code == 4
    told = json.loads(run("verify", tmp_path / OUT, "--json").output)
    assert (told["kind"], told["outcome"], told["close"]) == ("approval", "UNTRUSTED", verify(made.file).close_digest)
    assert run("verify", tmp_path / OUT, "--require", "passed").exit_code == 2


def test_verify_of_an_altered_approval_says_so(run, small, tmp_path):
    bundle = json.loads(small)
    signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    other = ("B" if signature[0] == "A" else "A") + signature[1:]
    (tmp_path / OUT).write_bytes(small.replace(signature.encode(), other.encode()))
    result = run("verify", tmp_path / OUT)
    assert result.exit_code == 1
    assert result.output.startswith("TAMPERED: this approval was altered")
