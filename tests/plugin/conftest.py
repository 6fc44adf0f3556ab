"""The fixture that gives a test an inner suite."""

import sys
from collections.abc import Iterator

import pytest

from pytest_mcp_governance.plugin.shards import VARIABLES
from tests.plugin.suites import Suite


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    for name in (
        "MCP_GOVERNANCE_SIGNING_KEY",
        "MCP_GOVERNANCE_CHALLENGE",
        "CI",
        *VARIABLES,
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
        "GITHUB_WORKSPACE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(pytester.path)
    yield Suite(pytester)
    sys.modules.pop("scripted", None)
