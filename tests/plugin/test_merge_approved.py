"""A group of shards as the approved run, and a group that is compared with it: no shard alone can say what is new."""

from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.approval import read_approval
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.run.approved import from_json
from tests.plugin.suites import Suite
from tests.plugin.test_merge import CHOSEN, Pipeline


@pytest.fixture
def pipeline(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return Pipeline(suite, monkeypatch)


def approval(pipeline: Pipeline) -> Path:
    return pipeline.suite.folder / "governance.approved.json"


def test_a_group_is_approved_as_a_whole_and_the_next_group_says_what_is_new(pipeline: Pipeline):
    for index in CHOSEN:
        pipeline.job(index)
    assert pipeline.merge().exit_code == 0
    trusting = ("--trust", pipeline.key.public.fingerprint)
    approved = pipeline.command("approve", pipeline.group, *trusting, "--out", approval(pipeline))
    assert approved.exit_code == 0, approved.output
    assert "Approving group 771 (VERIFIED)" in approved.output
    summary = from_json(read_approval(approval(pipeline).read_bytes()).summary)
    assert len(summary.tests) == 4
    assert summary.agents["clerk"].tools == {"plain.get_vendor"}

    same = pipeline.merge("--approved", approval(pipeline))
    assert "since approved run 771" in same.output and "nothing changed" in same.output

    pipeline.job(2, attempt=2, red=True)
    merged = pipeline.merge("--approved", approval(pipeline))
    assert merged.exit_code == 0, merged.output  # it is information, and fails nothing
    assert "new tools: clerk: plain.pay" in merged.output
    assert "more findings: unexpected, blocked: 1, was 0" in merged.output
    assert "fewer tests" not in merged.output
    page = ContainerSource(pipeline.group.read_bytes()).view.decode()
    section = page.partition('id="since"')[2].partition("</section>")[0]
    assert "plain.pay" in section
    assert pipeline.command("verify", pipeline.group, *trusting).exit_code == 0


def test_a_group_that_lacks_a_shard_is_not_approved(pipeline: Pipeline):
    pipeline.job(1)
    assert pipeline.merge().exit_code == 3
    trusting = ("--trust", pipeline.key.public.fingerprint)
    refused = pipeline.command("approve", pipeline.group, *trusting, "--out", approval(pipeline))
    assert refused.exit_code == 3
    assert not approval(pipeline).exists()


def test_an_approval_that_cannot_be_used_stops_the_merge_before_anything_is_written(pipeline: Pipeline):
    pipeline.job(1)
    approval(pipeline).write_text("{}")
    merged = pipeline.merge("--approved", approval(pipeline))
    assert merged.exit_code == 2
    assert "--approved" in merged.output
    assert not pipeline.group.exists()
