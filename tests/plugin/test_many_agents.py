"""Twenty agents at once, in threads, tasks and processes, over servers of every kind; the full size is in `fleet`."""

from pathlib import Path

import pytest

from tests.plugin import fleet
from tests.session.over_http import served


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fleet.Plan, int, str]:
    folder = tmp_path_factory.mktemp("fleet")
    with served(folder) as http:
        plan = fleet.small(folder, http)
        process = fleet.run(folder, plan)
    return folder, plan, process.returncode, process.stdout + process.stderr


def test_every_call_is_in_evidence_once_with_its_agent_in_its_servers_order(
    ended: tuple[Path, fleet.Plan, int, str],
) -> None:
    """One agent is killed half-way and one ends its server; the rest is whole."""
    folder, plan, status, text = ended
    assert status == 0, text
    by_server = fleet.check(folder, plan)
    assert sum(by_server.values()) == plan.expected == 20 * 20 - 10 - 9
    assert set(by_server) == set(plan.tools)
