"""A text from outside the change under test is read as it stands there, and what is wrong is said with the remedy."""

import subprocess
from pathlib import Path

import pytest

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.run.outside import read_outside


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    done = subprocess.run(["git", "-C", str(folder), *names, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text("as committed: é\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"ok\xff")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    (tmp_path / "policies" / "p.yaml").write_text("as changed\n", encoding="utf-8")
    return tmp_path


def test_a_revision_gives_the_committed_text_and_its_commit_not_the_working_tree(repository: Path):
    found = read_outside("git:main:policies/p.yaml", folder=repository)
    assert found.text == "as committed: é\n"
    assert found.commit == git(repository, "rev-parse", "main")
    assert found.path is None


def test_a_path_in_a_revision_starts_at_the_top_of_the_repository(repository: Path):
    assert read_outside("git:HEAD:policies/p.yaml", folder=repository / "policies").text == "as committed: é\n"


def test_a_file_is_read_from_where_the_setting_stands(repository: Path):
    found = read_outside("policies/p.yaml", folder=repository)
    assert (found.text, found.commit, found.path) == ("as changed\n", None, repository / "policies" / "p.yaml")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("git:main", "not of the form git:REV:PATH"),
        ("git::p.yaml", "not of the form git:REV:PATH"),
        ("git:--output=x:p.yaml", "not of the form git:REV:PATH"),
        ("git:main:/etc/passwd", "not of the form git:REV:PATH"),
        ("git:nowhere:policies/p.yaml", "shallow CI checkout"),
        ("git:main:p.yaml", "is no file in main"),
        ("git:main:policies", "is no file in main"),
        ("git:main:binary", "not UTF-8 at byte 2"),
        ("absent.yaml", "cannot be read: No such file"),
        ("policies", "cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(repository: Path, spec: str, said: str):
    with pytest.raises(ConfigurationError, match=said):
        read_outside(spec, folder=repository)


def test_outside_a_repository_a_revision_is_refused_with_gits_reason(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_outside("git:main:p.yaml", folder=tmp_path)


@pytest.mark.parametrize("kind", ["tag", "branch"])
def test_a_name_that_a_tag_or_branch_could_take_over_is_refused_and_its_full_name_is_not(repository: Path, kind: str):
    git(repository, "update-ref", "refs/remotes/origin/main", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    assert read_outside("git:origin/main:policies/p.yaml", folder=repository).commit == git(
        repository, "rev-parse", "refs/remotes/origin/main"
    )
    git(repository, kind, "origin/main", "HEAD")
    for revision in ("origin/main", "origin/main~0"):
        with pytest.raises(ConfigurationError, match=r"'origin/main' can mean .* refs/remotes/origin/main"):
            read_outside(f"git:{revision}:policies/p.yaml", folder=repository)
    found = read_outside("git:refs/remotes/origin/main:policies/p.yaml", folder=repository)
    assert found.commit == git(repository, "rev-parse", "main~1")


def test_a_tag_on_the_same_commit_leaves_no_doubt(repository: Path):
    git(repository, "tag", "-a", "-m", "one", "main", "main")
    assert read_outside("git:main:policies/p.yaml", folder=repository).commit == git(repository, "rev-parse", "HEAD")


def test_a_tag_that_looks_like_the_short_name_of_a_commit_is_refused(repository: Path):
    short = git(repository, "rev-parse", "--short=8", "HEAD")
    assert read_outside(f"git:{short}:policies/p.yaml", folder=repository).commit
    git(repository, "tag", short)
    with pytest.raises(ConfigurationError, match="can mean different things"):
        read_outside(f"git:{short}:policies/p.yaml", folder=repository)
