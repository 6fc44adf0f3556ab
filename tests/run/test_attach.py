"""`mcp-governance attach`: what goes onto a ticket, as a person and a hostile run meet it."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence import container
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report, Verdict
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.report.ticket import Ticket, comment, how_to_check
from tests.evidence.conftest import TEST, Builder, Made

Run = Callable[..., Result]
SECRET = "hunter2-hunter2-hunter2"
HOSTILE = "x|`<img src=q onerror=alert(1)> @everyone [a](http://evil.example) #12\n# Heading\x1b[31m\u202e"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Builder(tmp_path / "runs").whole()


@pytest.fixture
def report(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "governance-report.html"
    path.write_bytes(made.file)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["attach", *map(str, arguments)])


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_zip_holds_the_report_byte_for_byte_how_to_check_it_and_the_printed_comment(run, made, report):
    result = run(report, "--trust", made.fingerprint)
    assert result.exit_code == 0
    files = unpacked(report.with_suffix(".zip"))
    assert set(files) == {"governance-report.html", "HOW-TO-CHECK.txt", "comment.md"}
    assert files["governance-report.html"] == made.file
    assert files["comment.md"].decode() == result.stdout
    assert "Nothing was sent" in result.stderr


def test_the_comment_states_verification_and_policy_apart_with_digests_and_how_to_check(run, made, report):
    text = run(report, "--trust", made.fingerprint).stdout
    checked = verify(made.file)
    assert text.splitlines()[0].startswith("**Governance evidence of run")
    assert "- **Verification:** VERIFIED. Unaltered since recorded" in text
    assert "- **Policy verdict:** no unexpected finding in enforce mode" in text
    assert f"`{made.fingerprint}`, trusted by whoever attached it" in text
    assert "**Check it:** `mcp-governance verify governance-report.html --trust SHA256:… --require close=" in text
    assert "unaltered since recorded. That does not prove" in text
    assert "not set; no date is signed in the report" in text
    assert "compliant" not in text
    for digest in (checked.open_digest, checked.close_digest):
        assert f"`{digest}`" in text
    assert text.count("1 passed") == 1


def test_without_a_trusted_key_the_comment_says_that_the_signer_is_not_confirmed(run, made, report):
    text = run(report).stdout
    assert "UNTRUSTED" in text.splitlines()[0]
    assert f"`{made.fingerprint}`, not confirmed" in text


def test_another_key_than_the_trusted_one_is_said_to_be_no_match(run, report):
    text = run(report, "--trust", SigningKey.generate().public.fingerprint).stdout
    assert "UNTRUSTED. Consistent, but not signed by a key" in text


@pytest.mark.parametrize("form", ["markdown", "jira", "text"])
def test_an_incomplete_run_is_attached_and_says_so_in_the_first_line(run, tmp_path, form):
    made = Builder(tmp_path / "partial").whole(status="partial")
    path = tmp_path / "partial.html"
    path.write_bytes(made.file)
    result = run(path, "--trust", made.fingerprint, "--format", form)
    assert result.exit_code == 0
    assert "INCOMPLETE" in result.stdout.splitlines()[0]


def test_findings_are_said_in_the_first_line_and_listed(run, tmp_path):
    opened = Builder(tmp_path / "found").opened()
    opened.record_test()
    fields = {"state": "reached", "mode": "enforce", "rule": "PAY", "refs": [], "expected": False, "agent": "clerk",
              "server": "books", "tool": "pay", "scope": "finance"}  # fmt: skip
    opened.main.append("finding", fields, test=TEST)
    path = tmp_path / "found.html"
    path.write_bytes(opened.close().file)
    text = run(path).stdout
    assert "with unexpected findings" in text.splitlines()[0]
    assert "reached 1 unexpected" in text
    assert "`PAY`, call `books.pay`, agent `clerk`, data scope `finance`" in text


@pytest.mark.parametrize("at", [100, -200])
def test_an_altered_report_is_refused_with_its_exit_code_and_nothing_is_written(run, made, tmp_path, at):
    altered = bytearray(made.file)
    altered[at] ^= 1
    path = tmp_path / "altered.html"
    path.write_bytes(altered)
    result = run(path)
    assert result.exit_code in (1, 2)
    assert "Nothing was written" in result.stderr
    assert not path.with_suffix(".zip").exists()
    assert not result.stdout


def test_what_is_no_report_is_refused(run, tmp_path):
    path = tmp_path / "letter.html"
    path.write_text("<html>hello</html>")
    assert run(path).exit_code == 2
    assert run(tmp_path).exit_code == 2
    assert run(tmp_path / "none.html").exit_code == 2
    assert not list(tmp_path.glob("*.zip"))


def test_nothing_that_is_there_is_overwritten_without_force(run, report):
    out = report.with_name("out.zip")
    out.write_text("mine")
    result = run(report, "--out", out)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert out.read_text() == "mine"
    assert run(report, "--out", out, "--force").exit_code == 0
    assert "HOW-TO-CHECK.txt" in unpacked(out)


def test_the_report_itself_is_not_overwritten_even_with_force(run, made, report):
    assert run(report, "--out", report, "--force").exit_code == 2
    assert report.read_bytes() == made.file


def test_the_same_report_gives_the_same_zip(run, report):
    for name in ("a.zip", "b.zip"):
        assert run(report, "--out", report.with_name(name)).exit_code == 0
    assert report.with_name("a.zip").read_bytes() == report.with_name("b.zip").read_bytes()


@pytest.mark.parametrize("name", ["../../etc.html", "a b;rm -rf.html", "\u202eevil.html", "....html", "comment.md"])
def test_the_name_in_the_zip_is_harmless(run, made, tmp_path, name):
    path = tmp_path / Path(name).name
    path.write_bytes(made.file)
    out = tmp_path / "out.zip"
    assert run(path, "--out", out).exit_code == 0
    (html,) = [stored for stored in unpacked(out) if stored.endswith(".html")]
    assert set(html) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not html.startswith(".")


def test_a_date_that_whoever_attaches_it_names_is_said_to_be_unsigned(run, report):
    text = run(report, "--keep-until", "2027-12-31").stdout
    assert "2027-12-31, says whoever attached it; that is not signed" in text
    text = run(report, "--keep-days", "30", "--force").stdout
    assert "2026-12-23, says whoever attached it" in text  # the run ended on 2026-11-23
    assert run(report, "--keep-until", "soon", "--force").exit_code == 2


def test_no_value_of_a_message_gets_into_comment_or_instructions(run, tmp_path):
    opened = Builder(tmp_path / "secret").opened()
    opened.record_test()
    opened.main.append("context", {"kind": "request", "agent": "a", "text": Committed(SECRET)}, test=TEST)
    finding = {"state": "reached", "mode": "enforce", "rule": "R", "refs": [], "expected": False,
               "reason": Committed(f"saw {SECRET}"), "detail": Committed({"seen": SECRET})}  # fmt: skip
    opened.main.append("finding", finding, test=TEST)
    path = tmp_path / "secret.html"
    path.write_bytes(opened.close().file)
    result = run(path)
    files = unpacked(path.with_suffix(".zip"))
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert all(SECRET.encode() not in data for name, data in files.items() if not name.endswith(".html"))


def test_hostile_names_are_no_markup_in_any_form(run, tmp_path):
    opened = Builder(tmp_path / "hostile").opened()
    opened.record_test()
    fields = {"state": "reached", "mode": "enforce", "rule": HOSTILE, "refs": [], "expected": False,
              "agent": HOSTILE, "server": "s", "tool": HOSTILE, "scope": HOSTILE}  # fmt: skip
    opened.main.append("finding", fields, test=(HOSTILE, 1))
    path = tmp_path / "hostile.html"
    path.write_bytes(opened.close().file)
    for form in ("markdown", "jira", "text"):
        text = run(path, "--format", form, "--force").stdout
        assert not set(text) & set("\x1b\u202e\r")
        assert not any(line.startswith("#") for line in text.splitlines())
        if form == "markdown":
            assert "<img" not in _outside_code(text) and "@everyone" not in _outside_code(text)
        if form == "jira":
            assert not set("<|[@#") & set(text.replace("&#", ""))


def _outside_code(text: str) -> str:
    """The Markdown without its code spans, fences matched by length as CommonMark does."""
    left, rest = "", text
    while "`" in rest:
        before, _, after = rest.partition("`")
        fence = "`" * (1 + len(after) - len(after.lstrip("`")))
        body = after[len(fence) - 1 :]
        end = next(
            (
                i
                for i in range(len(body))
                if body.startswith(fence, i)
                and body[i + len(fence) : i + len(fence) + 1] != "`"
                and (i == 0 or body[i - 1] != "`")
            ),
            None,
        )
        left += before
        if end is None:
            return left + rest[len(before) :]
        rest = body[end + len(fence) :]
    return left + rest


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_run_says_every_form_stays_one_line_an_item(outcome, problem):
    problems = (Problem(Outcome.INCOMPLETE, problem),)
    report = Report(Outcome.INCOMPLETE, problems, run="r", verdict=Verdict.FINDINGS, tests={outcome: 1})
    ticket = Ticket("report.html", "0" * 64, 1, report, trusting=False)
    for form in ("markdown", "jira", "text"):
        lines = comment(ticket, form).splitlines()
        assert len(lines) == 16
        assert "INCOMPLETE" in lines[0]
    assert "INCOMPLETE" in how_to_check(ticket)


def test_a_report_that_was_countersigned_names_who_did(run, report, tmp_path):
    key = SigningKey.generate()
    (tmp_path / "key.pem").write_bytes(key.to_pem())
    signed = CliRunner().invoke(main, ["countersign", str(report), "--sign", str(tmp_path / "key.pem")])
    assert signed.exit_code == 0
    text = run(report, "--trust", key.public.fingerprint).stdout
    assert "VERIFIED" in text.splitlines()[0]
    assert f"countersign by `{key.public.fingerprint}`, trusted" in text


def test_a_container_cut_short_is_no_evidence(run, made, tmp_path):
    path = tmp_path / "cut.html"
    path.write_bytes(made.file[: made.file.index(container.MARKER) + 40])
    assert run(path).exit_code == 2
