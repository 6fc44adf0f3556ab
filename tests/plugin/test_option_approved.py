"""`--mcp-governance-approved`: what is new since the approved run; a broken approval is never taken for none."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.approval import read_approval
from tests.plugin.suites import READ_ONLY, SERIAL_AND_PARALLEL, Ended, Suite

OPTION = "--mcp-governance-approved"
FILE = "governance.approved.json"
READS = """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET)
"""
PAYS = """
def test_pays(mcp_audit):
    with mcp_audit.gateway("plain", agent="payer") as gw:
        run_agent(gw.command("plain"), GET, PAY)
"""
MORE = READ_ONLY.replace('"plain.get_*"', '"plain.get_*", "plain.pay"')


def approve(folder: Path, *arguments: str, out: str = FILE) -> None:
    report, path = str(folder / "governance-report.html"), str(folder / out)
    ended = CliRunner().invoke(main, ["approve", report, "--untrusted-signer", "--out", path, *arguments])
    assert ended.exit_code == 0, ended.output


def approved(suite: Suite, *arguments: str, out: str = FILE) -> Suite:
    """The suite, after its first run was approved."""
    suite.test(READS)
    assert suite.run().status == 0
    approve(suite.folder, *arguments, out=out)
    return suite


def since(ended: Ended) -> list[str]:
    """What the terminal says of it, its heading first."""
    lines = ended.text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("since approved run")), len(lines))
    indented = next(
        (n for n, line in enumerate(lines[start + 1 :], start + 1) if not line.startswith("  ")), len(lines)
    )
    return lines[start:indented]


def last_opened(ended: Ended) -> dict[str, object]:
    from pytest_mcp_governance.evidence.statements import read_bundle

    return dict(read_bundle((ended.runs[-1] / "open.sigstore.json").read_bytes()).predicate)


def test_a_run_without_an_approved_one_says_nothing_of_it(suite: Suite):
    suite.test(READS)
    ended = suite.run()
    assert ended.status == 0
    assert since(ended) == []
    assert "approved" not in ended.opened
    assert "No approved run is named" in ended.page


def test_the_same_run_again_says_that_nothing_changed(suite: Suite):
    ended = approved(suite, "--by", "Ada").run()
    assert ended.status == 0
    (line,) = since(ended)
    assert line.endswith(", approved by Ada): nothing changed")


@SERIAL_AND_PARALLEL
def test_what_is_new_is_named_and_fails_nothing_by_itself(suite: Suite, workers: int):
    approved(suite)
    suite.write("governance.policy.yaml", MORE)
    suite.test(PAYS)
    ended = suite.run(workers=workers)
    assert ended.status == 0
    heading, *lines = since(ended)
    assert heading.endswith("4 to look at")
    assert lines[0].startswith("  wider policy: any agent, plain.pay: now allowed by READ")
    assert lines[1:4] == [
        "  new agents: payer",
        "  new tools: payer: plain.get_vendor; payer: plain.pay",
        "  fewer tests: test_inner.py::test_reads",
    ]
    section = ended.page.partition('id="since"')[2].partition("</section>")[0]
    for shown in ("Wider policy", "payer", "plain.pay", "test_inner.py::test_reads", "Fewer tests"):
        assert shown in section


@SERIAL_AND_PARALLEL
def test_the_open_statement_names_the_approved_run_and_the_approval(suite: Suite, workers: int):
    ended = approved(suite).run(workers=workers)
    approval = read_approval((suite.folder / FILE).read_bytes())
    assert last_opened(ended)["approved"] == {"close": approval.close, "statement": approval.digest}
    assert ended.verified()[0] == 0


@pytest.mark.parametrize("where", ["option", "ini"])
def test_a_file_may_be_named_by_option_or_ini(suite: Suite, where: str):
    approved(suite, out="elsewhere.json")
    assert since(suite.run()) == []
    if where == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_approved = elsewhere.json\n")
    ended = suite.run(*([f"{OPTION}=elsewhere.json"] if where == "option" else []))
    assert ended.status == 0
    assert since(ended)[0].endswith("nothing changed")
    assert "compared with elsewhere.json" in ended.text


@SERIAL_AND_PARALLEL
def test_a_revision_counts_and_not_what_the_change_made_of_the_file(suite: Suite, workers: int):
    approved(suite)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q", "-b", "main"], ["add", FILE], ["commit", "-q", "-m", "base"]):
        subprocess.run([*git, *arguments], cwd=suite.folder, check=True)
    suite.test(PAYS)
    suite.run()
    approve(suite.folder)  # the change approves itself
    assert since(suite.run())[0].endswith("nothing changed")
    ended = suite.run(f"{OPTION}=git:main:{FILE}", workers=workers)
    assert "  new agents: payer" in since(ended)


@pytest.mark.parametrize("content", [None, "", "{}", "broken"])
def test_a_named_approval_that_cannot_be_used_stops_pytest_before_any_test(suite: Suite, content: str | None):
    suite.test(READS)
    if content is not None:
        suite.write("named.json", content)
    ended = suite.run(f"{OPTION}=named.json")
    assert ended.status == 4
    assert "named.json" in ended.text
    assert not ended.runs


def test_a_named_approval_that_was_altered_stops_pytest_before_any_test(suite: Suite):
    approved(suite)
    alter(suite.folder / FILE)
    ended = suite.run(f"{OPTION}={FILE}")
    assert ended.status == 4
    assert "cannot be used" in ended.text
    assert len(ended.runs) == 1


@SERIAL_AND_PARALLEL
def test_an_altered_approval_that_was_only_found_fails_the_run_and_says_how_to_mend_it(suite: Suite, workers: int):
    approved(suite)
    alter(suite.folder / FILE)
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert ended.outcomes["passed"] == 1
    assert f"{FILE} cannot be used" in ended.text
    assert "Restore it from version control" in ended.text
    assert "nothing changed" not in ended.text
    assert "could not be compared with" in ended.page
    assert ended.verified()[0] == 0  # the evidence itself is whole


def test_a_run_without_audited_tests_does_not_look_at_the_approval(suite: Suite):
    suite.write(FILE, "broken")
    suite.test("def test_nothing():\n    pass\n")
    ended = suite.run()
    assert ended.status == 0
    assert "approved" not in ended.text


def test_another_signer_than_the_approved_one_is_told(suite: Suite):
    from pytest_mcp_governance.evidence.keys import SigningKey

    for name in ("one", "two"):
        (suite.folder / f"{name}.pem").write_bytes(SigningKey.generate().to_pem())
    suite.test(READS)
    first = suite.run("--mcp-governance-signing-key=one.pem")
    approve(suite.folder, f"--trust={first.verified()[1]['signer']}")
    assert since(suite.run("--mcp-governance-signing-key=one.pem"))[0].endswith("nothing changed")
    assert since(suite.run("--mcp-governance-signing-key=two.pem"))[1].startswith("  another signer: SHA256:")


def alter(path: Path) -> None:
    text = path.read_text()
    at = text.index('"sig":"') + 9
    path.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
