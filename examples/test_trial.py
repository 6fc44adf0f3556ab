"""An agent on trial: the policy observes, so what it would deny happens, is recorded, and fails nothing."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from agents.sdk import observation

from pytest_mcp_governance import Audit


@pytest.fixture
def mcp_audit_policy() -> str:
    """Judge this module by the trial's policy, in place of governance.policy.yaml."""
    return "trial.policy.yaml"


@pytest.mark.mcp_governance(agent="auditor-9")
def test_a_trial_records_what_the_policy_would_deny(mcp_audit: Audit, workspace_root: Path) -> None:
    async def audit() -> list[str]:
        async with mcp_audit.connect("files") as files:
            paths = [str(workspace_root / name) for name in ("ledger/postings.csv", "vault/erp-token.txt")]
            results = [await files.call_tool("read_text_file", {"path": path}) for path in paths]
        return [observation(result).text for result in results]

    postings, token = anyio.run(audit)
    assert "INV-2027" in postings
    assert token.startswith("demo-erp-token"), "in observe mode the call goes through"
    assert [call.verdict for call in mcp_audit.calls] == ["allow", "observe"]
    assert mcp_audit.accesses.scopes == {"ap.ledger", "erp.token"}
