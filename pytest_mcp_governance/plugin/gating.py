"""What a run's gate was told to fail, decided once: serially, or by the controller, which tells its workers.

Holds settings only; what they come to is gate.py's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
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
        baseline: the findings that the suite knows of.
        today: the day, in UTC, on which they are held against their end; one for all workers.
        challenge: a reader's nonce, which the run answers.
        bound: require or floor was typed on the command line, so nothing in the change may get round it.
    """

    gate: Gate = "any"
    asked: bool = False
    require: bool = False
    floor: Outside | None = None
    baseline: Outside | None = None
    today: str = ""
    challenge: str = ""
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
        if self.baseline is not None:
            parts.append(f"baseline {self.baseline.name} sha256:{self.baseline.sha256[:12]} ({self._entries()})")
        return [*parts, *([f"challenge {self.challenge}"] if self.challenge else [])]

    def _entries(self) -> str:
        from pytest_mcp_governance.plugin.outside import load_known

        assert self.baseline is not None
        baseline = load_known(self.baseline, self.today)
        expired = f", {len(baseline.expired)} expired" if baseline.expired else ""
        return f"{len(baseline.entries)} known{expired}"

    def known(self) -> tuple[str, str]:
        """Name and text of the baseline, as a recorder takes them."""
        return (self.baseline.name, self.baseline.text) if self.baseline is not None else ("", "")

    def stated(self) -> dict[str, object]:
        """What the open statement says of it, signed before any test runs."""
        told: dict[str, object] = {"gate": self.gate}
        told |= {"floor": self.floor.stated()} if self.floor is not None else {}
        told |= {"baseline": self.baseline.stated()} if self.baseline is not None else {}
        return told | ({"challenge": self.challenge} if self.challenge else {})


def read_gating(config: pytest.Config, given: Mapping[str, Given | None], gate: Gate | None) -> Gating:
    """Read the gate's settings in the process that decides on them.

    Args:
        given: the settings that take a text.
        gate: the one that was asked for.

    Raises:
        pytest.UsageError: a text from outside that cannot be used, or a setting in the change's own files that would
            relax a run with a floor, or with a requirement on the command line.
    """
    from pytest_mcp_governance.plugin.given import flag, on_command_line, read_challenge

    gating = Gating(
        gate=gate or "any",
        asked=gate is not None,
        require=flag(config, "require"),
        challenge=read_challenge(config),
        bound=any(on_command_line(config, name) for name in ("require", "floor")),
    )
    if gating.bound or given["floor"] is not None:
        _refuse_what_relaxes(gating, given, config)
    if given["floor"] is None and given["baseline"] is None:
        return gating
    from pytest_mcp_governance.plugin import outside

    if given["floor"] is not None:
        gating = replace(gating, floor=outside.read_floor(given["floor"], config))
    if given["baseline"] is not None:
        today = datetime.now(UTC).date().isoformat()
        gating = replace(gating, baseline=outside.read_baseline(given["baseline"], config, today), today=today)
    return gating


def _refuse_what_relaxes(gating: Gating, given: Mapping[str, Given | None], config: pytest.Config) -> None:
    """Nothing in the change under test may relax a run that has a floor, or whose command line requires audits."""
    gate, baseline = given["gate"], given["baseline"]
    bound = "the run has a floor" if given["floor"] is not None else "--mcp-governance-require was typed"
    typed = "on the command line, or take it out of ini file, addopts and PYTEST_ADDOPTS"
    if gating.gate != "any" and gate is not None and not gate.from_command_line:
        raise pytest.UsageError(
            f"mcp-governance: the configuration sets the gate to {gating.gate}, but {bound}, which nothing in the "
            f"change under test may relax. Type --mcp-governance-gate={gating.gate} {typed}"
        )
    if baseline is None:
        return
    if not baseline.from_command_line:
        raise pytest.UsageError(
            f"mcp-governance: the configuration names a baseline, but {bound}, so only the command line may. "
            f"Type --mcp-governance-baseline={baseline.value} {typed}"
        )
    from pytest_mcp_governance.plugin.outside import of_the_change

    if of_the_change(baseline, config):
        raise pytest.UsageError(
            f"mcp-governance: {bound}, but the baseline is {baseline.value}, which the change under test "
            "can edit. Name it as git:REV:PATH of another revision, such as git:origin/main:governance.baseline.yaml, "
            "or as a file outside the working tree"
        )


def told_by_controller(config: pytest.Config) -> Gating | None:
    """A worker's gating, from the controller alone; None in any other process."""
    told = getattr(config, "workerinput", {}).get(SHARED)
    if not told:
        return None
    fields = dict(told["gating"])
    for name in ("floor", "baseline"):
        if fields[name] is not None:
            from pytest_mcp_governance.plugin.outside import Outside

            fields[name] = Outside(**fields[name])
    return Gating(**fields)
