"""The fixtures `mcp_audit` and `mcp_audit_session`, and two that a suite overrides: servers and policy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin.lifecycle import LIFECYCLE, RUNNING, fail_for_error, terms_of
from pytest_mcp_governance.plugin.options import DEFAULT_SERVERS

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.audit import Audit
    from pytest_mcp_governance.plugin.servers import Server


@pytest.fixture(scope="session")
def mcp_audit_servers(pytestconfig: pytest.Config) -> dict[str, Server]:
    """The MCP servers of this suite: name -> {"command", "args", "env", "cwd"}; from mcp.json at rootdir.

    A suite that overrides it may give server objects (FastMCP, MCPServer, Server) too; they run in the test's process.
    """
    from pytest_mcp_governance.plugin.servers import read_servers

    recording = pytestconfig.stash[LIFECYCLE].recording
    path = recording.settings.servers or pytestconfig.rootpath / DEFAULT_SERVERS
    if not path.exists():
        return {}
    try:
        return read_servers(path, os.environ)
    except GovernanceError as error:
        fail_for_error(recording, error)


@pytest.fixture(scope="session")
def mcp_audit_policy(pytestconfig: pytest.Config) -> Path | None:
    """The policy to judge by: a path, a policy's text, or None for NOT JUDGED."""
    from pytest_mcp_governance.plugin.sources import default_policy

    return default_policy(pytestconfig.stash[LIFECYCLE].settings, pytestconfig.rootpath)


@pytest.fixture(scope="session")
def mcp_audit_session(
    pytestconfig: pytest.Config, mcp_audit_servers: object, mcp_audit_policy: object
) -> Iterator[Audit]:
    """`mcp_audit` for agents that outlive a test: what they do belongs to the test that is running."""
    recording = pytestconfig.stash[LIFECYCLE].recording
    with recording.telling_mistakes():
        try:
            audit = recording.begin_session(mcp_audit_servers, mcp_audit_policy)
        except GovernanceError as error:
            fail_for_error(recording, error)
        yield audit
        recording.end_session()


@pytest.fixture
def mcp_audit(request: pytest.FixtureRequest, mcp_audit_servers: object, mcp_audit_policy: object) -> Iterator[Audit]:
    """This test's audit: every MCP message of its agents is recorded and judged; see docs/pytest-plugin.md."""
    recording = request.config.stash[LIFECYCLE].recording
    item = request.node
    with recording.telling_mistakes():
        try:
            running = recording.begin(item, terms_of(item), mcp_audit_servers, mcp_audit_policy)
        except GovernanceError as error:
            fail_for_error(recording, error)
        item.stash[RUNNING] = running
        yield running.audit
        try:
            running.judgement.at_teardown()
        except GovernanceError as error:
            fail_for_error(recording, error)
        except pytest.fail.Exception as found:
            if not recording.ending:
                raise
            recording.late_findings.append(f"{running.attempt.name}: {found.msg}")
        finally:
            for failure in running.audit.end():
                recording.add_problem(failure)
