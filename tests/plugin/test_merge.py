"""`mcp-governance merge` over shards that real runs recorded: the merge gate of a pipeline, by exit code."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pytest_mcp_governance.cli.merge
import pytest_mcp_governance.cli.verify  # noqa: F401  # loaded before an inner run loads a part of it and drops it again
from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.source import ContainerSource
from tests.plugin.suites import Suite

TESTS = """
import os

def calls(mcp_audit, *tools):
    with mcp_audit.gateway("plain", agent="clerk", request="look it up") as gw:
        run_agent(gw.command("plain"), *tools)

def test_one(mcp_audit):
    calls(mcp_audit, GET)

def test_two(mcp_audit):
    calls(mcp_audit, GET, *([PAY] if os.environ.get("RED") else []))

@pytest.mark.parametrize("n", ["</script>", "b"])
def test_three(mcp_audit, n):
    calls(mcp_audit, GET)

def test_plain():
    pass
"""
CHOSEN = {1: "one", 2: "two", 3: "three", 4: "plain"}


class Pipeline:
    """Four test jobs without a secret, each with its artefact, and a merge job that has the key."""

    def __init__(self, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.suite, self._monkeypatch = suite, monkeypatch
        self.artefacts = suite.folder / "artefacts"
        self.key = SigningKey.generate()
        self.key_file = suite.folder / "merge.pem"
        suite.test(TESTS)

    def job(self, index: int, *, attempt: int = 1, red: bool = False) -> int:
        self._monkeypatch.setenv("MCP_GOVERNANCE_ATTEMPT", str(attempt))
        self._monkeypatch.setenv("RED", "1" if red else "")
        ended = self.suite.run(f"-k{CHOSEN[index]}", f"--mcp-governance-shard={index}/4", "--mcp-governance-group=771")
        artefact = self.artefacts / f"shard-{index}-{attempt}"
        shutil.copytree(ended.runs[-1].parent, artefact / "runs")
        shutil.copy(self.suite.folder / "governance-report.html", artefact)
        shutil.rmtree(self.suite.folder / ".mcp-governance")
        return ended.status

    def merge(self, *arguments: object) -> Result:
        self.key_file.write_bytes(self.key.to_pem())  # only now, and only here
        named = ("--sign", self.key_file, *arguments)
        return self.command("merge", self.artefacts, *named, "--out", self.suite.folder / "group.html")

    def command(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    @property
    def group(self) -> Path:
        return self.suite.folder / "group.html"


@pytest.fixture
def pipeline(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return Pipeline(suite, monkeypatch)


def test_all_green_is_0_and_verified_with_no_secret_in_any_shard(pipeline: Pipeline):
    assert [pipeline.job(index) for index in CHOSEN] == [0, 0, 0, 0]
    merged = pipeline.merge("--require", "passed", "--expect-shards", 4)
    assert merged.exit_code == 0, merged.output
    assert merged.output.startswith("VERIFIED: every shard is there")
    assert "shard      4/4, run" in merged.output
    assert "no audited test" in merged.output

    verified = pipeline.command("verify", pipeline.group, "--trust", pipeline.key.public.fingerprint)
    assert verified.exit_code == 0
    assert "group      771, 4 runs" in verified.output
    assert pipeline.command("verify", pipeline.group).exit_code == 4

    document = json.loads(pipeline.command("verify", pipeline.group, "--json").output)
    assert (document["group"], len(document["shards"])) == ("771", 4)
    assert document["tests"] == {"passed": 4}
    assert pipeline.key.public.fingerprint not in {shard["signer"] for shard in document["shards"]}


def test_the_groups_page_shows_every_shards_calls_under_its_shard(pipeline: Pipeline):
    for index in CHOSEN:
        pipeline.job(index, red=index == 2)
    assert pipeline.merge().exit_code == 0
    page = ContainerSource(pipeline.group.read_bytes()).view.decode()
    assert 'id="shards"' in page
    for test in ("shard-1: test_inner.py::test_one", "shard-2: test_inner.py::test_two"):
        assert test in page
    assert "shard-2/main/" in page
    assert "4 of 5 calls" not in page
    assert "1 of 5 calls broke the policy" in page
    assert "Recorded, not judged" not in page


def test_a_missing_artefact_makes_merge_3_and_the_group_report_says_so(pipeline: Pipeline):
    for index in (1, 2, 4):
        pipeline.job(index)
    merged = pipeline.merge()
    assert merged.exit_code == 3, merged.output
    assert merged.output.startswith("INCOMPLETE")
    assert "shard 3/4 is not here" in merged.output
    assert "Shard 3/4 is not here." in ContainerSource(pipeline.group.read_bytes()).view.decode()
    trusting = ("--trust", pipeline.key.public.fingerprint)
    assert pipeline.command("verify", pipeline.group, *trusting).exit_code == 3


def test_a_red_shard_run_again_until_green_makes_merge_require_passed_5(pipeline: Pipeline):
    assert [pipeline.job(1), pipeline.job(2, red=True), pipeline.job(3), pipeline.job(4)] == [0, 1, 0, 0]
    assert pipeline.job(2, attempt=2) == 0
    merged = pipeline.merge("--require", "passed")
    assert merged.exit_code == 5, merged.output
    assert "required: passed; shard 2/4 (run " in merged.output
    assert "superseded, and counted" in merged.output
    assert pipeline.merge().exit_code == 0


def test_a_second_attempt_without_the_first_is_3(pipeline: Pipeline):
    for index in CHOSEN:
        pipeline.job(index, attempt=2 if index == 2 else 1)
    merged = pipeline.merge()
    assert merged.exit_code == 3
    assert "attempt 1 of shard 2/4 is not here" in merged.output


def test_shards_chosen_by_paths_cannot_be_checked_and_the_message_says_how_to_choose(pipeline: Pipeline):
    pipeline.suite.test("def test_other(mcp_audit):\n    pass\n", name="test_other.py")
    pipeline.job(1)
    pipeline.suite.write("test_inner.py", TESTS.replace("test_two", "test_renamed"))
    merged = pipeline.merge()
    assert merged.exit_code == 3


# -- what is named, and what is there ----------------------------------------------------------------------------------


@pytest.fixture
def one(pipeline: Pipeline) -> Pipeline:
    pipeline.job(1)
    return pipeline


def reports(pipeline: Pipeline) -> tuple[Path, Path]:
    (run,) = (pipeline.artefacts / "shard-1-1" / "runs").glob("*/report.html")
    return pipeline.artefacts / "shard-1-1" / "governance-report.html", run


def test_a_report_and_its_run_folder_in_one_artefact_count_once(one: Pipeline):
    assert "shard 2/4 is not here" in one.merge().output  # and no "again"


def test_a_run_folder_is_merged_by_its_report(one: Pipeline):
    _, run = reports(one)
    assert "771, 1 run\n" in one.command("merge", run.parent, "--out", one.group).output


def test_a_report_named_twice_is_refused(one: Pipeline):
    copy, run = reports(one)
    result = one.command("merge", copy, run, "--out", one.group)
    assert result.exit_code == 2
    assert "Name each report once. Nothing was written." in result.output
    assert not one.group.exists()


def test_a_report_that_does_not_exist_is_a_missing_artefact(one: Pipeline):
    copy, _ = reports(one)
    result = one.command("merge", copy, one.artefacts / "shard-2.html", "--out", one.group)
    assert result.exit_code == 3
    assert "missing: " in result.output
    assert "shard-2.html does not exist" in result.output
    assert one.group.exists()


def test_a_run_that_was_not_closed_is_a_missing_artefact(one: Pipeline):
    _, run = reports(one)
    run.unlink()
    result = one.command("merge", one.artefacts, "--out", one.group)
    assert result.exit_code == 3
    assert "holds a run without a report: it was not closed" in result.output


def test_without_a_key_a_whole_group_is_0_and_says_that_nobody_can_trust_it(pipeline: Pipeline):
    for index in CHOSEN:
        pipeline.job(index)
    result = pipeline.command("merge", pipeline.artefacts, "--out", pipeline.group)
    assert result.exit_code == 0, result.output
    assert "A reader gets UNTRUSTED" in result.output
    assert pipeline.command("verify", pipeline.group).exit_code == 4


def test_with_trust_a_run_that_a_stranger_signed_is_4_and_nothing_is_written(one: Pipeline):
    result = one.merge("--trust", SigningKey.generate().public.fingerprint)
    assert result.exit_code == 4
    assert "UNTRUSTED" in result.output
    assert not one.group.exists()


def test_an_altered_report_is_1_by_name_and_nothing_is_written(one: Pipeline):
    copy, _ = reports(one)
    copy.write_bytes(copy.read_bytes().replace(b"</main>", b"</Main>"))
    result = one.command("merge", copy, "--out", one.group)
    assert result.exit_code == 1, result.output
    assert "governance-report.html is TAMPERED" in result.output
    assert not one.group.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing argument"),
        (["missing.html"], 3, "There is no report to merge"),
        (["."], 3, "holds no report of a run"),
        (["text.html"], 2, "no governance report"),
        (["text.html", "--sign", "missing.pem"], 2, "no such file"),
        (["text.html", "--require", "perfect"], 2, "Known: passed"),
        (["text.html", "--trust", "nobody"], 2, "--trust"),
        (["text.html", "--expect-shards", "0"], 2, "--expect-shards"),
    ],
)
def test_bad_input_to_merge_is_one_screen_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.html").write_text("hello")
    result = CliRunner().invoke(main, ["merge", *arguments])
    assert result.exit_code == code, result.output
    assert says in result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) < 24
    assert not (tmp_path / "governance-group.html").exists()
