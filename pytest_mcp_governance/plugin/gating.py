"""What a run's gate was told to fail, decided once: serially, or by the controller, which tells its workers.

Holds settings only; what they come to is gate.py's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_mcp_governance.plugin.gate import Gate
    from pytest_mcp_governance.plugin.given import Given
    from pytest_mcp_governance.plugin.outside import Outside

SHARED = "mcp_governance"  # key in xdist's workerinput and workeroutput


@dataclass(frozen=True, slots=True)
class Gating:
    """The gate's settings.

    Attributes:
        gate: which unexpected findings fail.
        asked: somebody asked for that gate, so that there has to be a policy to judge by.
        require: every selected test must be audited.
        floor: the policy that every audited test is judged by as well.
        bound: require or floor was typed on the command line, so nothing in the change may get round it.
    """

    gate: Gate = "any"
    asked: bool = False
    require: bool = False
    floor: Outside | None = None
    bound: bool = False

    @property
    def needs_policy(self) -> bool:
        """A gate that was asked for has nothing to look at without a policy; `off` asks for none."""
        return self.asked and self.gate != "off"

    @property
    def watches_collection(self) -> bool:
        """Whether the tests that were collected matter although none of them may be audited."""
        return self.require or self.needs_policy or self.bound

    def for_workers(self) -> dict[str, object]:
        """As pytest-xdist can carry it. Texts go along: a worker that read them again could read others."""
        return asdict(self)

    def parts(self) -> list[str]:
        """What the header line says of it."""
        parts = [*([f"gate {self.gate}"] if self.asked else []), *(["every test audited"] if self.require else [])]
        if self.floor is not None:
            caveat = f" ({self.floor.caveat})" if self.floor.caveat else ""
            parts.append(f"floor {self.floor.name} sha256:{self.floor.sha256[:12]}{caveat}")
        return parts

    def stated(self) -> dict[str, object]:
        """What the open statement says of it, signed before any test runs."""
        return {"gate": self.gate} | ({"floor": self.floor.stated()} if self.floor is not None else {})


def read_gating(config: pytest.Config, given: Mapping[str, Given | None], gate: Gate | None) -> Gating:
    """Read the gate's settings in the process that decides on them.

    Args:
        given: the settings that take a text.
        gate: the one that was asked for.

    Raises:
        pytest.UsageError: a text from outside that cannot be used, or a setting in the change's own files that would
            relax a run with a floor.
    """
    from pytest_mcp_governance.plugin.given import flag, on_command_line

    gating = Gating(
        gate=gate or "any",
        asked=gate is not None,
        require=flag(config, "require"),
        bound=any(on_command_line(config, name) for name in ("require", "floor")),
    )
    floor = given["floor"]
    if floor is None:
        return gating
    from pytest_mcp_governance.plugin.outside import read_floor

    chosen = given["gate"]
    if gating.gate != "any" and chosen is not None and not chosen.from_command_line:
        raise pytest.UsageError(
            f"mcp-governance: the configuration sets the gate to {gating.gate}, but the run has a floor, which nothing "
            f"in the change under test may relax. Type --mcp-governance-gate={gating.gate} on the command line, or "
            "take it out of ini file, addopts and PYTEST_ADDOPTS"
        )
    return replace(gating, floor=read_floor(floor, config))


def told_by_controller(config: pytest.Config) -> Gating | None:
    """A worker's gating, from the controller alone; None in any other process."""
    told = getattr(config, "workerinput", {}).get(SHARED)
    if not told:
        return None
    fields = dict(told["gating"])
    if fields["floor"] is not None:
        from pytest_mcp_governance.plugin.outside import Outside

        fields["floor"] = Outside(**fields["floor"])
    return Gating(**fields)
