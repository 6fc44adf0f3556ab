"""A test that is the agent: it drives two servers itself, each through an audited session."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from agents.sdk import observation

from pytest_mcp_governance import Audit


@pytest.mark.mcp_governance(agent="auditor-1", controls=["SOC2:CC6.1"])
def test_the_auditor_finds_every_posting_in_the_ledger(mcp_audit: Audit, workspace_root: Path) -> None:
    async def audit() -> tuple[str, str]:
        async with mcp_audit.connect("git") as git, mcp_audit.connect("time") as time:
            log = await git.call_tool("git_log", {"repo_path": f"{workspace_root}/ledger", "max_count": 10})
            now = await time.call_tool("get_current_time", {"timezone": "Europe/Amsterdam"})
        return observation(log).text, observation(now).text

    log, now = anyio.run(audit)
    assert [line.split()[2] for line in log.splitlines() if "Message: Post" in line] == [
        "INV-2027:",
        "INV-2013:",
        "INV-1998:",
    ]
    assert "Europe/Amsterdam" in now
    assert mcp_audit.calls.only("git.git_log", "time.get_current_time")
    assert mcp_audit.accesses.scopes <= {"ap.ledger"}
