"""The pytest plugin: options, the marker, the fixtures; the hooks of a run are registered by `pytest_configure`.

Imports the standard library and pytest only, and little of that, because it is loaded in every test run; what records
is loaded with the first audited test.
"""

from __future__ import annotations

import os

import pytest

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin import options
from pytest_mcp_governance.plugin.fixtures import mcp_audit, mcp_audit_policy, mcp_audit_servers
from pytest_mcp_governance.plugin.lifecycle import LIFECYCLE, MARKER_LINE, Lifecycle

__all__ = ["mcp_audit", "mcp_audit_policy", "mcp_audit_servers"]

_HEADER: pytest.StashKey[str] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER_LINE)
    settings = options.read_settings(config)
    if settings.configured and not hasattr(config, "workerinput"):
        config.stash[_HEADER] = _check(settings)
    lifecycle = Lifecycle(config, settings)
    config.stash[LIFECYCLE] = lifecycle
    config.pluginmanager.register(lifecycle, "mcp_governance_lifecycle")


def pytest_report_header(config: pytest.Config) -> str | None:
    return config.stash.get(_HEADER, None)


def _check(settings: options.Settings) -> str:
    from pytest_mcp_governance.plugin.servers import read_servers
    from pytest_mcp_governance.plugin.shards import read_shard
    from pytest_mcp_governance.plugin.terminal import printable

    parts = []
    if settings.policy is not None:
        parts.append(f"policy {options.check_policy_file(settings.policy)}")
    if settings.servers is not None:
        try:
            parts.append(f"{len(read_servers(settings.servers, os.environ))} servers")
        except GovernanceError as error:
            raise pytest.UsageError(f"mcp-governance: {error}") from None
    if settings.mode is not None:
        parts.append(f"mode {settings.mode}")
    parts += settings.gating.parts()
    shard = read_shard(settings.shard, settings.group, os.environ)
    if shard is not None:
        parts.append(f"shard {shard}")
    parts.append(f"{settings.report} report")
    parts.append(f"signing key {settings.signing_key}" if settings.signing_key else "no signing key")
    return printable(f"mcp-governance: {', '.join(parts)}")
