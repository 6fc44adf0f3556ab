"""`--mcp-governance-keep-days`: a date that is signed with the run and told wherever the report goes."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.statements import read_bundle
from tests.plugin.suites import Ended, Suite

OPTION = "--mcp-governance-keep-days"
READS = """
def test_reads(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk") as gw:
        run_agent(gw.command("plain"), GET)
"""


def closed(ended: Ended) -> dict[str, object]:
    (run,) = ended.runs
    return dict(read_bundle((run / "close.sigstore.json").read_bytes()).predicate)


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_the_date_is_signed_shown_and_told_on_the_ticket(suite: Suite, workers: int):
    suite.test(READS)
    ended = suite.run(f"{OPTION}=30", workers=workers)
    assert ended.status == 0
    said = closed(ended)
    date = (datetime.fromisoformat(str(said["finishedOn"])) + timedelta(days=30)).astimezone(UTC).date().isoformat()
    assert said["keep_until"] == date
    assert f"<dt>Keep until</dt><dd>{date}</dd>" in ended.page
    assert ended.verified()[0] == 0
    told = CliRunner().invoke(main, ["attach", str(suite.folder / "governance-report.html")])
    assert f"**Keep until:** {escaped(date)}, as signed in the report" in told.output


def escaped(date: str) -> str:
    from pytest_mcp_governance.report.escaping import prose

    return prose(f"{date},").removesuffix(",")


def test_an_ini_setting_does_the_same_and_without_one_there_is_no_date(suite: Suite):
    suite.test(READS)
    assert "keep_until" not in closed(suite.run())
    suite.write("pytest.ini", "[pytest]\nmcp_governance_keep_days = 7\n")
    ended = suite.run()
    assert read_bundle((ended.runs[-1] / "close.sigstore.json").read_bytes()).predicate["keep_until"]


@pytest.mark.parametrize("value", ["0", "-1", "ten", "1e3", "36501", "99999999999", "\u0661"])
def test_what_is_no_number_of_days_stops_pytest_before_any_test(suite: Suite, value: str):
    suite.test(READS)
    ended = suite.run(f"{OPTION}={value}")
    assert ended.status == 4
    assert "keep_days" in ended.text
    assert not ended.runs
