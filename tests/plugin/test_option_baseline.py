"""`--mcp-governance-baseline`: known findings fail neither test nor run; the evidence states them all the same."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli.baseline import command as baseline_command
from pytest_mcp_governance.cli.report import command as tell
from tests.plugin.suites import SERIAL_AND_PARALLEL, Ended, Suite
from tests.plugin.test_option_floor import FLOOR, git

TODAY = datetime.now(UTC).date()
SOON = TODAY + timedelta(days=30)
GONE = TODAY - timedelta(days=1)
BASELINE = "--mcp-governance-baseline=known.yaml"
PAYS = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk-1") as gw:
        run_agent(gw.command("plain"), GET, PAY)
"""


def entry(**changed: object) -> str:
    fields = {
        "id": "K-1", "rule": "DEFAULT-DENY", "tool": "plain.pay", "owner": "payables", "reason": "until the new ledger",
        "expires": SOON,
    } | changed  # fmt: skip
    return "- {" + ", ".join(f"{name}: {value}" for name, value in fields.items() if value is not None) + "}\n"


def known(suite: Suite, *entries: str) -> None:
    suite.write("known.yaml", "baseline: 1\nknown:\n" + "".join(entries))


# -- what a known finding does ---------------------------------------------------------------------------------------


@SERIAL_AND_PARALLEL
def test_a_known_finding_fails_neither_test_nor_run_and_is_denied_counted_and_shown(suite: Suite, workers: int):
    known(suite, entry())
    suite.test(PAYS)
    ended = suite.run(BASELINE, workers=workers)
    assert ended.status == 0
    assert ended.outcomes == {"passed": 1}
    assert [d["effect"] for d in ended.of_type("decision") if d["verdict"] == "deny"] == ["block"]
    assert "DEFAULT-DENY  plain.pay by clerk-1 (blocked), known as K-1" in ended.text
    assert "baseline: 1 known finding failed neither test nor run" in ended.text
    assert "verdict: 1 unexpected finding" in ended.text


@SERIAL_AND_PARALLEL
def test_the_record_names_the_entry_and_a_reader_still_sees_a_finding(suite: Suite, workers: int):
    known(suite, entry(ticket="GRC-7"))
    suite.test(PAYS)
    ended = suite.run(BASELINE, workers=workers)
    (finding,) = ended.of_type("finding")
    assert (finding["known"], finding["expected"], finding["mode"]) == ("K-1", False, "enforce")
    assert ended.verified()[0] == 0
    code, report = ended.verified("passed")
    assert code == 5
    assert report["findings"]["blocked"]["enforce"] == 1
    assert set(ended.opened["baseline"]) == {"name", "sha256"}
    assert "Known as" in ended.page
    assert all(text in ended.page for text in ("K-1", "payables", "GRC-7", "until the new ledger", str(SOON)))


def test_a_known_finding_is_suppressed_in_sarif_a_notice_on_github_and_named_in_markdown_and_json(suite: Suite):
    known(suite, entry())
    suite.test(PAYS.replace("PAY)", "PAY, DELETE)"))
    report = str(suite.run(BASELINE).folder / "governance-report.html")
    told = {
        form: CliRunner().invoke(tell, [report, f"--to={form}"]).stdout
        for form in ("sarif", "json", "github", "markdown")
    }
    results = {r["properties"]["records"][0]: r for r in json.loads(told["sarif"])["runs"][0]["results"]}
    assert sorted(len(result["suppressions"]) for result in results.values()) == [0, 1]
    assert "K-1: owner payables; reason until the new ledger" in told["sarif"]
    assert sorted(str(finding["known"]) for finding in json.loads(told["json"])["unexpected"]) == ["K-1", "None"]
    assert "1 is known to the suite's own baseline, which did not fail its run for it." in told["markdown"]
    assert re.search(r"(?m)^::notice .*plain\.pay.* Known as K-1\.", told["github"])
    assert re.search(r"(?m)^::error .*plain\.delete_vendor", told["github"])


@SERIAL_AND_PARALLEL
def test_a_finding_that_is_not_known_fails_beside_one_that_is(suite: Suite, workers: int):
    known(suite, entry())
    suite.test(PAYS.replace("PAY)", "PAY, DELETE)"))
    ended = suite.run(BASELINE, workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
    assert "DEFAULT-DENY plain.delete_vendor blocked" in ended.text
    assert "run fails: 1 unexpected finding in enforce mode" in ended.text


@pytest.mark.parametrize(
    "changed",
    [
        {"rule": "NO-CALLS"},
        {"tool": "plain.delete_*"},
        {"tool": None, "test": "test_other.py::*"},
        {"agent": "buyer-*"},
        {"state": "reached"},
    ],
    ids=["rule", "tool", "test", "agent", "state"],
)
def test_an_entry_that_asks_for_something_else_lets_nothing_pass(suite: Suite, changed: dict[str, object]):
    known(suite, entry(**changed))
    suite.test(PAYS)
    assert suite.run(BASELINE).status == 1


def test_an_entry_may_be_narrowed_in_every_way_at_once(suite: Suite):
    known(suite, entry(test="test_inner.py::test_a*", tool='"*.pay"', agent="clerk-*", state="blocked"))
    suite.test(PAYS)
    assert suite.run(BASELINE).status == 0


@SERIAL_AND_PARALLEL
def test_an_expired_entry_is_not_applied_and_says_so(suite: Suite, workers: int):
    known(suite, entry(expires=GONE))
    suite.test(PAYS)
    ended = suite.run(BASELINE, workers=workers)
    assert ended.status == 1
    assert f"note: baseline entry K-1 expired on {GONE} and is not applied" in ended.text
    assert "1 expired" in ended.text


def test_an_entry_applies_on_its_last_day(suite: Suite):
    known(suite, entry(expires=TODAY))
    suite.test(PAYS)
    assert suite.run(BASELINE).status == 0


@SERIAL_AND_PARALLEL
def test_an_entry_that_matched_nothing_is_noted_and_fails_nothing(suite: Suite, workers: int):
    known(suite, entry(), entry(id="K-2", tool="plain.delete_*"))
    suite.test(PAYS)
    ended = suite.run(BASELINE, workers=workers)
    assert ended.status == 0
    assert "note: baseline entry K-2 matched no finding of this run" in ended.text
    assert "K-1 matched no" not in ended.text


@pytest.mark.parametrize("how", ["its test did not run", "tests were deselected", "its test was skipped"])
def test_nothing_is_called_unused_in_a_run_that_could_not_have_used_it(suite: Suite, how: str):
    where = {"its test did not run": "test_other.py::*", "its test was skipped": "*::test_skipped"}.get(how)
    known(suite, entry(), entry(id="K-2", tool="plain.delete_*", test=where and f'"{where}"'))
    suite.test(PAYS + "\n@pytest.mark.skip\ndef test_skipped(mcp_audit): pass\n\ndef test_plain(): pass\n")
    ended = suite.run(BASELINE, *(["-k", "agent or skipped"] if how == "tests were deselected" else []))
    assert ended.status == 0
    assert "matched no finding" not in ended.text


def test_swallowing_and_xfail_make_no_difference_to_what_is_known(suite: Suite):
    known(suite, entry(tool="plain.delete_*"))
    suite.test("\n@pytest.mark.xfail" + PAYS)
    assert suite.run(BASELINE).status == 1


def test_an_assertion_of_a_test_can_be_known_by_the_test(suite: Suite):
    known(suite, entry(rule='"test_inner.py:8"', tool=None, test='"*::test_agent"'))
    suite.test(PAYS.replace("GET, PAY)", "GET)") + '    mcp_audit.calls.never("plain.get_*")\n')
    assert suite.run(BASELINE).status == 0


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["option", "ini"])
def test_a_mistake_in_the_baseline_is_a_usage_error_with_file_and_line(suite: Suite, source: str):
    known(suite, entry(), entry(id="K-2", expires="soon"))
    if source == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_baseline = known.yaml\n")
    suite.test(PAYS)
    ended = suite.run(*([BASELINE] if source == "option" else []))
    assert ended.status == 4
    assert "known.yaml:4:" in ended.text
    assert "expires must be a day such as 2027-02-25, not 'soon'" in ended.text


def test_a_baseline_that_does_not_exist_is_a_usage_error(suite: Suite):
    suite.test(PAYS)
    assert suite.run("--mcp-governance-baseline=nowhere.yaml").status == 4


@SERIAL_AND_PARALLEL
def test_the_header_names_the_baseline_and_how_much_it_knows(suite: Suite, workers: int):
    known(suite, entry(), entry(id="K-2", expires=GONE))
    suite.test(PAYS)
    assert re.search(r"baseline known\.yaml sha256:[0-9a-f]{12} \(2 known, 1 expired\)", suite.run(BASELINE).text)


# -- under a floor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def change(suite: Suite) -> Suite:
    """A change of a repository whose branch `base` holds policy and baseline."""
    known(suite, entry())
    git(suite.folder, "init", "-q", "-b", "base")
    git(suite.folder, "add", "governance.policy.yaml", "mcp.json", "known.yaml")
    git(suite.folder, "commit", "-q", "-m", "base")
    git(suite.folder, "checkout", "-q", "-b", "change")
    suite.test(PAYS)
    return suite


@pytest.mark.parametrize(
    "form",
    [
        "known.yaml",
        *(f"git:{name}:known.yaml" for name in ("HEAD", "@", "change", "refs/heads/change", "HEAD~0", "@{0}")),
    ],
)
def test_under_a_floor_a_baseline_of_the_change_is_a_usage_error_that_names_the_remedy(change: Suite, form: str):
    ended = change.run(FLOOR, f"--mcp-governance-baseline={form}")
    assert ended.status == 4
    assert "which the change under test can edit. Name it as git:REV:PATH" in ended.text


@pytest.mark.parametrize("setting", ["mcp_governance_baseline = FILE", "addopts = --mcp-governance-baseline=FILE"])
def test_under_a_floor_only_the_command_line_names_a_baseline(change: Suite, setting: str):
    change.write("pytest.ini", f"[pytest]\n{setting.replace('FILE', 'git:base:known.yaml')}\n")
    assert change.run().status == 0
    ended = change.run(FLOOR)
    assert ended.status == 4
    assert "only the command line" in ended.text


@SERIAL_AND_PARALLEL
def test_under_a_floor_a_baseline_from_another_revision_is_used_as_it_is_there(change: Suite, workers: int):
    known(change, entry(), entry(id="K-2", tool="plain.delete_*"))
    ended = change.run(FLOOR, "--mcp-governance-baseline=git:base:known.yaml", workers=workers)
    assert ended.status == 0
    change.test(PAYS.replace("PAY)", "PAY, DELETE)"))
    assert change.run(FLOOR, "--mcp-governance-baseline=git:base:known.yaml", workers=workers).status == 1


def test_under_a_floor_a_baseline_outside_the_repository_is_used(
    change: Suite, tmp_path_factory: pytest.TempPathFactory
):
    elsewhere = tmp_path_factory.mktemp("org") / "known.yaml"
    elsewhere.write_text((change.folder / "known.yaml").read_text())
    assert change.run(FLOOR, f"--mcp-governance-baseline={elsewhere}").status == 0


# -- `mcp-governance baseline` ---------------------------------------------------------------------------------------


def command(ended: Ended, *options: str) -> tuple[int, str]:
    said = CliRunner().invoke(baseline_command, [str(ended.folder / "governance-report.html"), *options])
    return said.exit_code, said.output


@SERIAL_AND_PARALLEL
def test_a_baseline_from_a_report_is_refused_until_someone_answers_for_it_and_then_lets_its_findings_pass(
    suite: Suite, workers: int
):
    suite.test(PAYS + PAYS.replace("PAY)", "DELETE, DELETE)").replace("test_agent", "test_other"))
    code, _ = command(suite.run(workers=workers), f"--out={suite.folder / 'known.yaml'}")
    assert code == 0
    text = (suite.folder / "known.yaml").read_text()
    assert text.count("- id: K-") == 2
    assert text.count(f"expires: {TODAY + timedelta(days=90)}") == 2
    ended = suite.run(BASELINE, workers=workers)
    assert ended.status == 4
    assert re.search(r"known\.yaml:12:3: owner is empty", ended.text)
    filled = text.replace("  owner:\n", "  owner: payables\n").replace("  ticket:\n", "")
    suite.write("known.yaml", filled.replace("  reason:\n", "  reason: before the gate\n"))
    assert suite.run(BASELINE, workers=workers).status == 0


def test_a_baseline_with_owner_ticket_reason_and_end_can_be_used_as_it_is(suite: Suite):
    suite.test(PAYS)
    out = f"--out={suite.folder / 'known.yaml'}"
    words = ("--owner=payables", "--ticket=GRC-7", "--reason=before the gate", f"--expires={SOON}")
    assert command(suite.run(), out, *words)[0] == 0
    assert suite.run(BASELINE).status == 0
    assert command(suite.run(), out, *words)[0] == 2  # nothing is overwritten


def test_a_report_that_contradicts_itself_gives_no_baseline(suite: Suite):
    suite.test(PAYS)
    ended = suite.run()
    report = suite.folder / "governance-report.html"
    report.write_bytes(report.read_bytes().replace(b"clerk-1", b"clerk-2", 1))
    code, said = command(ended)
    assert code == 2
    assert "TAMPERED" in said


def test_an_end_further_away_than_a_year_is_refused(suite: Suite):
    suite.test(PAYS)
    code, said = command(suite.run(), f"--expires={TODAY + timedelta(days=400)}")
    assert code == 2
    assert "a year ahead" in said


def test_a_run_without_findings_gives_an_empty_baseline(suite: Suite):
    suite.test(PAYS.replace("GET, PAY)", "GET)"))
    code, said = command(suite.run())
    assert code == 0
    assert "known: []" in said
