"""What an audited test says of itself in JUnit files and in whatever else reads pytest's user properties.

Counts, names and digests, never a value that a call carried. A rerun's last attempt speaks for the test, because
JUnit has one entry a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_mcp_governance.plugin.terminal import printable

if TYPE_CHECKING:
    import pytest

    from pytest_mcp_governance.session.control import EndedTest

PREFIX = "mcp_governance"
Properties = list[tuple[str, str | int]]


def of_attempt(
    ended: EndedTest, *, run: str, segment: str, attempt: int, policy: str, agents: tuple[str, ...]
) -> Properties:
    """The properties of one attempt at a test.

    Args:
        ended: what its recorder counted.
        run: run id.
        segment: whose records hold it.
        attempt: from 1.
        policy: SHA-256 of the effective policy; empty where nothing judged it.
        agents: names of the agents that the test gave a connection.
    """
    unexpected = [f for f in ended.findings if not f["expected"] and f["mode"] != "observe"]
    told: dict[str, str | int] = {
        "findings": len(unexpected),
        "calls": ended.calls,
        "denied": ended.denied,
        "agents": printable(", ".join(agents)),
        "policy": f"sha256:{policy}" if policy else "none",
        "attempt": attempt,
        "evidence": f"{run}/{segment}",
    }
    if unexpected:
        rules = dict.fromkeys(f"{f['rule']} {f['state']}" for f in unexpected)
        told["rules"] = printable(", ".join(rules))
    return [(f"{PREFIX}.{key}", value) for key, value in told.items()]


def name_the_run(config: pytest.Config, run: str) -> None:
    """Put the run's id on the suite of a JUnit file that is still to be written.

    pytest's own `record_testsuite_property` is a fixture, and the controller of pytest-xdist sets up none; the plugin
    that writes the file has a method of the same meaning. It writes before the run is closed, hence without its digest.
    """
    if config.getoption("xmlpath", default=None):
        for plugin in config.pluginmanager.get_plugins():
            add = getattr(plugin, "add_global_property", None)
            if callable(add):
                add(f"{PREFIX}.run", run)
