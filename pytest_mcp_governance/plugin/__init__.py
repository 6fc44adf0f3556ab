"""The pytest plugin: options, the marker, the fixtures; the hooks of a run are registered by `pytest_configure`.

Imports the standard library and pytest only, and little of that, because it is loaded in every test run; what records
is loaded with the first audited test.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin import options
from pytest_mcp_governance.plugin.fixtures import mcp_audit, mcp_audit_policy, mcp_audit_servers, mcp_audit_session
from pytest_mcp_governance.plugin.lifecycle import LIFECYCLE, MARKER_LINE, Lifecycle

__all__ = ["mcp_audit", "mcp_audit_policy", "mcp_audit_servers", "mcp_audit_session"]

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
    if config.pluginmanager.register(lifecycle, "mcp_governance_lifecycle") is None:
        # Half a plugin would record and never fail a run.
        raise pytest.UsageError(
            "mcp-governance: `-p no:mcp_governance_lifecycle` blocks the part of the plugin that fails runs; turn off "
            "the whole of it with `-p no:mcp_governance`"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int | None, int | None]:
    """The last word on the exit status, whatever other hooks made of it after the run was judged.

    A floor or a requirement on the command line is not met by a pytest that runs no test, such as addopts=--help.
    """
    status = yield
    lifecycle = config.stash.get(LIFECYCLE, None)
    tested = lifecycle is not None and lifecycle.tested
    if status == pytest.ExitCode.OK and not tested and not hasattr(config, "workerinput"):
        from pytest_mcp_governance.plugin.given import on_command_line

        if any(on_command_line(config, name) for name in ("floor", "require")):
            raise pytest.UsageError(
                "mcp-governance: pytest ends with success without having run a test, so there is nothing that the "
                "floor or --mcp-governance-require could hold for; look for an option such as --collect-only in addopts"
            )
    return status if lifecycle is None else lifecycle.gated(status)


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
    if settings.approved is not None:
        parts.append(f"compared with {settings.approved.source}")
    parts.append(f"{settings.report} report")
    parts.append(f"signing key {settings.signing_key}" if settings.signing_key else "no signing key")
    return printable(f"mcp-governance: {', '.join(parts)}")
