"""`--mcp-governance-shard` and `-group`: what a run says of itself as one of several, and nothing where it is none."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.plugin.shards import MAX_SHARDS, read_ci, read_shard
from tests.plugin.suites import Ended, Suite

AUDITED = """
@pytest.mark.parametrize("n", [3, 1, 2])
def test_reads(mcp_audit, n):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)

def test_plain():
    pass
"""
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "771",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_REPOSITORY": "acme/books",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_SERVER_URL": "https://github.com",
}
GITLAB = {"GITLAB_CI": "true", "CI_PIPELINE_ID": "88", "CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "4"}
CIRCLE = {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "w-1", "CIRCLE_NODE_INDEX": "0", "CIRCLE_NODE_TOTAL": "3"}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_BUILD_ID": "b-1",
    "BUILDKITE_PARALLEL_JOB": "1",
    "BUILDKITE_PARALLEL_JOB_COUNT": "2",
    "BUILDKITE_RETRY_COUNT": "1",
}


def opened(ended: Ended) -> dict[str, object]:
    (run,) = ended.runs
    statement = EvidenceReader(FolderSource(run)).open
    assert statement is not None
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    return predicate


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        (GITLAB, (2, 4, "88", 1)),
        (CIRCLE, (1, 3, "w-1", 1)),
        (BUILDKITE, (2, 2, "b-1", 2)),
        (GITLAB | {"MCP_GOVERNANCE_ATTEMPT": "3"}, (2, 4, "88", 3)),
    ],
    ids=["gitlab", "circleci", "buildkite", "explicit attempt"],
)
def test_a_ci_that_says_both_numbers_says_the_shard(environ, shard):
    found = read_shard(None, None, environ)
    assert found is not None
    assert (found.index, found.total, found.group, found.attempt) == shard


@pytest.mark.parametrize(
    "environ",
    [
        {},
        GITHUB,
        {k: v for k, v in GITLAB.items() if k != "CI_NODE_INDEX"},
        {k: v for k, v in GITLAB.items() if k != "CI_NODE_TOTAL"},
        {k: v for k, v in GITLAB.items() if k != "GITLAB_CI"},
        {k: v for k, v in CIRCLE.items() if k != "CIRCLE_WORKFLOW_ID"},
        GITLAB | {"CI_NODE_INDEX": "5"},
        CIRCLE | {"CIRCLE_NODE_INDEX": "3"},
        GITLAB | {"CI_NODE_TOTAL": "four"},
    ],
)
def test_nothing_is_guessed_from_half_of_it(environ):
    assert read_shard(None, None, environ) is None


def test_github_gives_group_and_attempt_but_never_the_shard():
    found = read_shard("2/4", None, GITHUB)
    assert found is not None
    assert str(found) == "2/4 of group 771, attempt 2"


def test_what_is_asked_for_goes_before_what_the_ci_says():
    found = read_shard("1/9", "mine", GITLAB)
    assert found is not None
    assert (found.index, found.total, found.group) == (1, 9, "mine")


@given(st.text(max_size=12))
def test_any_text_is_a_shard_within_its_bounds_or_an_error(text):
    try:
        found = read_shard(text, "g", {})
    except ConfigurationError:
        return
    assert found is not None
    assert 1 <= found.index <= found.total <= MAX_SHARDS
    assert text == f"{found.index}/{found.total}"


@given(st.integers(1, MAX_SHARDS), st.integers(1, MAX_SHARDS))
def test_every_shard_of_its_total_can_be_said(index, total):
    if index > total:
        index, total = total, index
    assert read_shard(f"{index}/{total}", "g", {}) is not None


@given(st.dictionaries(st.sampled_from(sorted({*GITHUB, *GITLAB, *CIRCLE, *BUILDKITE})), st.text(max_size=20)))
def test_no_environment_breaks_reading_it(environ):
    for flag in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE"):
        said = read_ci(environ | {flag: "true"})
        assert said["provider"] in ("github", "gitlab", "circleci", "buildkite")
        with contextlib.suppress(ConfigurationError):  # a group that is no visible ASCII
            read_shard(None, None, environ | {flag: "true"})


def test_what_the_ci_says_of_the_job_carries_no_secret():
    assert read_ci(GITHUB) == {
        "provider": "github",
        "run": "771",
        "attempt": 2,
        "repository": "acme/books",
        "ref": "refs/pull/7/merge",
        "url": "https://github.com/acme/books/actions/runs/771",
    }
    said = read_ci(GITLAB | {"CI_JOB_URL": "https://user:token@gitlab.example/a/b?private_token=x#y"})
    assert said["url"] == "https://gitlab.example/a/b"
    assert "url" not in read_ci(GITLAB | {"CI_JOB_URL": "javascript:alert(1)"})
    assert read_ci({}) == {}


# -- as a run records it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--mcp-governance-shard=0/4", "--mcp-governance-group=g"], "the shard is '0/4'; it must be such as 2/4"),
        (["--mcp-governance-shard=5/4", "--mcp-governance-group=g"], "it must be such as 2/4"),
        (["--mcp-governance-shard=two", "--mcp-governance-group=g"], "it must be such as 2/4"),
        (["--mcp-governance-shard=1/4"], "a shard needs its group"),
        (["--mcp-governance-group=g"], "a group needs its shard"),
        (["--mcp-governance-shard=1/4", "--mcp-governance-group=a b"], "visible ASCII"),
    ],
)
def test_a_shard_that_cannot_be_used_stops_before_any_test(suite: Suite, args: list[str], says: str):
    suite.test("def test_plain(): pass\n")
    ended = suite.run(*args)
    assert ended.status == 4
    assert says in ended.text
    assert not (suite.folder / ".mcp-governance").exists()


def test_an_attempt_that_is_no_number_stops_before_any_test(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_GOVERNANCE_ATTEMPT", "second")
    suite.test("def test_plain(): pass\n")
    ended = suite.run()
    assert ended.status == 4
    assert "MCP_GOVERNANCE_ATTEMPT is 'second'" in ended.text


def test_shard_and_ci_are_in_the_signed_opening_and_the_selection(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    for name, value in GITHUB.items():
        monkeypatch.setenv(name, value)
    suite.write("pytest.ini", "[pytest]\nmcp_governance_shard = 2/4\n")
    suite.test(AUDITED)
    ended = suite.run()
    shard = {"index": 2, "total": 4, "group": "771", "attempt": 2}
    assert ended.status == 0, ended.text
    assert opened(ended)["shard"] == shard
    assert opened(ended)["ci"]["repository"] == "acme/books"  # type: ignore[index]  # a mapping
    (selection,) = ended.of_type("selection")
    assert selection["shard"] == shard
    assert "shard 2/4 of group 771, attempt 2" in ended.text


def test_a_run_that_is_no_shard_says_nothing_of_shards(suite: Suite):
    suite.test(AUDITED)
    ended = suite.run()
    assert not {"shard", "ci"} & opened(ended).keys()
    assert "shard" not in ended.of_type("selection")[0]


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_the_collection_is_that_of_all_audited_tests_whatever_was_selected(suite: Suite, workers: int):
    names = [f"test_inner.py::test_reads#{n}" for n in (1, 2, 3)]
    suite.test(AUDITED)
    ended = suite.run("-k", "reads and 2", workers=workers)
    (selection,) = ended.of_type("selection")
    assert selection["collection"] == hashlib.sha256("".join(f"{n}\n" for n in names).encode()).hexdigest()
    assert selection["selected"] == [names[1]]
    assert (selection["deselected"], selection["unaudited"]) == (3, 0)


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_a_shard_without_an_audited_test_is_accounted_for(suite: Suite, workers: int):
    suite.test(AUDITED)
    ended = suite.run("-k", "plain", "--mcp-governance-shard=2/2", "--mcp-governance-group=g", workers=workers)
    assert ended.status == 0, ended.text
    report = verify(ended.runs[0])
    assert (report.status, report.tests) == ("complete", {})
    (selection,) = ended.of_type("selection")
    assert (selection["selected"], selection["unaudited"]) == ([], 1)
    assert "no audited test was selected here" in ended.text
    assert "NOT JUDGED" not in ended.text


def test_a_shard_in_which_no_test_at_all_was_selected_keeps_pytests_exit_status(suite: Suite):
    suite.test(AUDITED)
    ended = suite.run("-k", "nothing", "--mcp-governance-shard=2/2", "--mcp-governance-group=g")
    assert ended.status == 5
    assert verify(ended.runs[0]).status == "complete"


def test_a_shard_that_the_ci_names_is_accounted_for_where_the_suite_has_audited_tests(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
):
    for name, value in GITLAB.items():
        monkeypatch.setenv(name, value)
    suite.test(AUDITED)
    assert opened(suite.run("-k", "plain"))["shard"]["index"] == 2  # type: ignore[index]  # a mapping


def test_a_suite_without_audited_tests_records_nothing_in_any_ci(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    for name, value in GITLAB.items():
        monkeypatch.setenv(name, value)
    suite.test("def test_plain(): pass\n")
    ended = suite.run()
    assert ended.status == 0
    assert not (suite.folder / ".mcp-governance").exists()
    assert "mcp governance" not in ended.text


def test_only_collecting_records_no_shard(suite: Suite):
    suite.test(AUDITED)
    suite.run("--collect-only", "--mcp-governance-shard=1/2", "--mcp-governance-group=g")
    assert not (suite.folder / ".mcp-governance").exists()


def test_a_shard_that_could_not_be_collected_is_missing_and_not_empty(suite: Suite):
    suite.test(AUDITED)
    ended = suite.run("nowhere.py", "--mcp-governance-shard=1/2", "--mcp-governance-group=g")
    assert ended.status == 4
    assert not (suite.folder / ".mcp-governance").exists()
