"""What it looks like: the view model, the page and the figures for the terminal. From records only.

`render` is imported when it is called, so that figures for the terminal need no template engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .facts import RunFacts
from .summary import AgentSummary, FindingCount, RunSummary, Verdict, summarise

if TYPE_CHECKING:
    from pytest_mcp_governance.evidence.reader import Records

    from .shards import GroupFacts

__all__ = ["AgentSummary", "FindingCount", "RunFacts", "RunSummary", "Verdict", "render", "summarise"]


def render(reader: Records, facts: RunFacts, group: GroupFacts | None = None) -> bytes:
    """The page of a run or group: see :func:`pytest_mcp_governance.report.page.render`."""
    from .page import render as rendered

    return rendered(reader, facts, group)
