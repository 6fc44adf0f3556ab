"""What a run's gate was told to fail, decided once: serially, or by the controller, which tells its workers.

Holds settings only; what they come to is gate.py's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_mcp_governance.plugin.gate import Gate

SHARED = "mcp_governance"  # key in xdist's workerinput and workeroutput


@dataclass(frozen=True, slots=True)
class Gating:
    """The gate's settings.

    Attributes:
        gate: which unexpected findings fail.
        asked: somebody asked for that gate, so that there has to be a policy to judge by.
        require: every selected test must be audited.
    """

    gate: Gate = "any"
    asked: bool = False
    require: bool = False

    @property
    def needs_policy(self) -> bool:
        """A gate that was asked for has nothing to look at without a policy; `off` asks for none."""
        return self.asked and self.gate != "off"

    @property
    def watches_collection(self) -> bool:
        """Whether the tests that were collected matter although none of them may be audited."""
        return self.require or self.needs_policy

    def for_workers(self) -> dict[str, object]:
        """As pytest-xdist can carry it."""
        return asdict(self)

    def parts(self) -> list[str]:
        """What the header line says of it."""
        return [*([f"gate {self.gate}"] if self.asked else []), *(["every test audited"] if self.require else [])]

    def stated(self) -> dict[str, object]:
        """What the open statement says of it, signed before any test runs."""
        return {"gate": self.gate}


def told_by_controller(config: pytest.Config) -> Gating | None:
    """A worker's gating, from the controller alone; None in any other process."""
    told = getattr(config, "workerinput", {}).get(SHARED)
    fields: Mapping[str, object] = told["gating"] if told else {}
    return Gating(**fields) if fields else None  # type: ignore[arg-type]  # what for_workers made
