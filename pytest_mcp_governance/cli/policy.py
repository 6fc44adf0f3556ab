"""`mcp-governance policy …`: the commands about a policy itself, each in `cli/policy_<name>.py`."""

import click

from pytest_mcp_governance.cli import LazyGroup


@click.group("policy", cls=LazyGroup, lazily=("diff", "lint"), prefix="policy_")
def command() -> None:
    """Compare and check policies, without running a test."""
