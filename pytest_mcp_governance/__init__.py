"""Public names of pytest-mcp-governance, each imported when it is first used.

pytest imports this package in every run in which the plugin is installed, so nothing is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_mcp_governance.errors import (
        CaptureError,
        ConfigurationError,
        EvidenceError,
        FindingsError,
        GovernanceError,
        KeyFileError,
        LedgerWriteError,
        PolicyError,
        RecorderError,
        ServerError,
        SetupError,
    )
    from pytest_mcp_governance.evidence.verify import verify
    from pytest_mcp_governance.plugin.audit import Audit, Gateway
    from pytest_mcp_governance.policy.loader import load_policy

__all__ = [
    "Audit",
    "CaptureError",
    "ConfigurationError",
    "EvidenceError",
    "FindingsError",
    "Gateway",
    "GovernanceError",
    "KeyFileError",
    "LedgerWriteError",
    "PolicyError",
    "RecorderError",
    "ServerError",
    "SetupError",
    "load_policy",
    "verify",
]

_HOMES = {
    "Audit": "plugin.audit",
    "Gateway": "plugin.audit",
    "load_policy": "policy.loader",
    "verify": "evidence.verify",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
