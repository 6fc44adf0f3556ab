"""Which shard of which group this run is, and which CI job it runs in: from options, ini and the CI's own variables.

It records the shard and chooses no test. Nothing is guessed: half of a shard's numbers is no shard. Leaves out what
becomes of the shards (`mcp-governance merge`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.options import ATTEMPT_VARIABLE

MAX_SHARDS = MAX_ATTEMPTS = 10_000
_SHARD = re.compile(r"([1-9]\d{0,4})/([1-9]\d{0,4})")
_GROUP = re.compile(r"[!-~]{1,128}")
_NUMBER = re.compile(r"\d{1,6}")
_MAX_VALUE = 500


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` (from 1) of `total` in a group of runs; `attempt` counts from 1 how often this shard was run."""

    index: int
    total: int
    group: str
    attempt: int

    def __str__(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.index}/{self.total} of group {self.group}{again}"

    def fields(self) -> dict[str, object]:
        """As the open statement says it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Provider:
    """A CI, by its variables. `first` is the number that its first shard has; `attempts_before` counts from 0."""

    name: str
    present: str
    run: str
    repository: tuple[str, ...]
    ref: tuple[str, ...]
    url: tuple[str, ...]
    index: str = ""
    total: str = ""
    first: int = 1
    attempt: str = ""
    attempts_before: str = ""


# https://docs.github.com/actions/reference/variables, https://docs.gitlab.com/ci/variables/predefined_variables,
# https://circleci.com/docs/variables, https://buildkite.com/docs/pipelines/environment-variables
# The repository is named, never its address for cloning: that may carry a password.
_PROVIDERS = (
    _Provider(
        "github", "GITHUB_ACTIONS", "GITHUB_RUN_ID", ("GITHUB_REPOSITORY",), ("GITHUB_REF",), (),
        attempt="GITHUB_RUN_ATTEMPT",
    ),
    _Provider(
        "gitlab", "GITLAB_CI", "CI_PIPELINE_ID", ("CI_PROJECT_PATH",), ("CI_COMMIT_REF_NAME",), ("CI_JOB_URL",),
        index="CI_NODE_INDEX", total="CI_NODE_TOTAL",
    ),
    _Provider(
        "circleci", "CIRCLECI", "CIRCLE_WORKFLOW_ID", ("CIRCLE_PROJECT_USERNAME", "CIRCLE_PROJECT_REPONAME"),
        ("CIRCLE_BRANCH",), ("CIRCLE_BUILD_URL",), index="CIRCLE_NODE_INDEX", total="CIRCLE_NODE_TOTAL", first=0,
    ),
    _Provider(
        "buildkite", "BUILDKITE", "BUILDKITE_BUILD_ID",
        ("BUILDKITE_ORGANIZATION_SLUG", "BUILDKITE_PIPELINE_SLUG"), ("BUILDKITE_BRANCH",), ("BUILDKITE_BUILD_URL",),
        index="BUILDKITE_PARALLEL_JOB", total="BUILDKITE_PARALLEL_JOB_COUNT", first=0,
        attempts_before="BUILDKITE_RETRY_COUNT",
    ),
)  # fmt: skip
VARIABLES = (
    ATTEMPT_VARIABLE,
    "GITHUB_SERVER_URL",
    *(
        name
        for p in _PROVIDERS
        for name in (p.present, p.run, *p.repository, *p.ref, *p.url, p.index, p.total, p.attempt, p.attempts_before)
        if name
    ),
)


def read_shard(spec: str | None, group: str | None, environ: Mapping[str, str]) -> Shard | None:
    """Which shard this run is; None where nothing says so.

    Args:
        spec: such as `2/4`; None to take the CI's own numbers, where it has both.
        group: what all shards of one pipeline share; None to take the CI's run.
        environ: the environment.

    Raises:
        ConfigurationError: a value that cannot be used, a shard without its group, or a group without a shard.
    """
    provider = _provider(environ)
    named = group or (environ.get(provider.run) if provider is not None else None)
    numbers = _numbers(spec) if spec is not None else _own_numbers(provider, environ)
    if numbers is None:
        if group is not None:
            raise ConfigurationError("a group needs its shard: add --mcp-governance-shard, such as 2/4")
        return None
    if not named:
        if spec is None:
            return None
        raise ConfigurationError(
            "a shard needs its group, by which `mcp-governance merge` knows the shards of one pipeline from those of "
            "another: add --mcp-governance-group, such as the pipeline's number"
        )
    if _GROUP.fullmatch(named) is None:
        raise ConfigurationError(f"the group is {named[:80]!r}; it must be 1 to 128 visible ASCII characters")
    return Shard(*numbers, named, read_attempt(environ))


def read_attempt(environ: Mapping[str, str]) -> int:
    """How often this job was run, from 1: as MCP_GOVERNANCE_ATTEMPT says, else as the CI counts; 1 where neither does.

    Raises:
        ConfigurationError: MCP_GOVERNANCE_ATTEMPT is no number from 1 to 10,000.
    """
    given = environ.get(ATTEMPT_VARIABLE)
    if given:
        number = _number(given)
        if not number or number > MAX_ATTEMPTS:
            raise ConfigurationError(f"{ATTEMPT_VARIABLE} is {given[:80]!r}; it must be from 1 to {MAX_ATTEMPTS}")
        return number
    provider = _provider(environ)
    counted = _number(environ.get(provider.attempt, "")) if provider is not None else None
    before = _number(environ.get(provider.attempts_before, "")) if provider is not None else None
    return counted or (before + 1 if before is not None else 1)


def read_ci(environ: Mapping[str, str]) -> dict[str, object]:
    """What the CI says of this job: provider, run, attempt, repository, ref, url. Empty outside of a known CI."""
    provider = _provider(environ)
    if provider is None:
        return {}
    said: dict[str, object] = {
        "provider": provider.name,
        "run": environ.get(provider.run, ""),
        "attempt": read_attempt(environ),
        "repository": "/".join(environ.get(name, "") for name in provider.repository).strip("/"),
        "ref": "/".join(environ.get(name, "") for name in provider.ref),
        "url": _url(provider, environ),
    }
    return {key: value[:_MAX_VALUE] if isinstance(value, str) else value for key, value in said.items() if value}


def stated(shard: Shard | None, environ: Mapping[str, str]) -> dict[str, object]:
    """What the open statement says of shard and CI, signed before any test runs."""
    said: dict[str, object] = {}
    if shard is not None:
        said["shard"] = shard.fields()
    if ci := read_ci(environ):
        said["ci"] = ci
    return said


def _url(provider: _Provider, environ: Mapping[str, str]) -> str:
    if provider.name == "github":
        names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
        server, repository, run = (environ.get(name, "") for name in names)
        url = f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
    else:
        url = environ.get(provider.url[0], "")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    # A user name, a password and a query can be secrets; the page of the run needs none of them.
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme in ("http", "https") and host else ""


def _provider(environ: Mapping[str, str]) -> _Provider | None:
    return next((p for p in _PROVIDERS if environ.get(p.present, "").lower() in ("true", "1")), None)


def _numbers(spec: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(spec)
    index, total = (int(match[1]), int(match[2])) if match is not None else (0, 0)
    if not 1 <= index <= total <= MAX_SHARDS:
        raise ConfigurationError(
            f"the shard is {spec[:80]!r}; it must be such as 2/4: the number of this shard, from 1, and how many there "
            f"are, at most {MAX_SHARDS}"
        )
    return index, total


def _own_numbers(provider: _Provider | None, environ: Mapping[str, str]) -> tuple[int, int] | None:
    if provider is None or not provider.index:
        return None
    place, total = _number(environ.get(provider.index, "")), _number(environ.get(provider.total, ""))
    if place is None or total is None:
        return None
    index = place - provider.first + 1
    return (index, total) if 1 <= index <= total <= MAX_SHARDS else None


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and text.isascii() else None
