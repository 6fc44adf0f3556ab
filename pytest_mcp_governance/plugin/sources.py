"""Which policies a test is judged by and in which mode. Reads files; understands nothing in them.

Sources are AND-ed, so adding one never widens; a marker is always added, never put in the place of another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.errors import ConfigurationError, PolicyError
from pytest_mcp_governance.plugin.marker import Terms
from pytest_mcp_governance.plugin.options import DEFAULT_POLICY, Mode, Settings


@dataclass(frozen=True, slots=True)
class PolicySource:
    name: str
    kind: Literal["file", "marker", "inline", "floor"]
    text: str


def default_policy(settings: Settings, rootdir: Path) -> Path | None:
    """Option or ini, then `governance.policy.yaml` at rootdir, else None: nothing is judged."""
    if settings.policy is not None:
        return settings.policy
    found = rootdir / DEFAULT_POLICY
    return found if found.exists() else None


def policy_sources(value: object, terms: Terms, settings: Settings, rootdir: Path) -> tuple[PolicySource, ...]:
    """Bring together what the fixture `mcp_audit_policy` gave, the option, the test's marks and the floor.

    Raises:
        PolicyError: a file that cannot be read.
        ConfigurationError: a fixture value that is neither None, a path nor a policy's text.
    """
    sources = [] if value is None else [_from_fixture(value, rootdir)]
    if settings.policy_from_option and settings.policy is not None:
        # The fixture may be overridden; whoever runs the suite with the option must not be ignored.
        option = _from_file(settings.policy, "file", rootdir)
        if option not in sources:
            sources.append(option)
    sources += [_from_file(path, "marker", rootdir) for path in terms.policies]
    floor = settings.gating.floor
    if floor is not None:
        # Last, so that of two that refuse a call the suite's own is named; whatever the others say, it applies.
        sources.append(PolicySource(floor.name, "floor", floor.text))
    return tuple(sources)


def tighter_mode(terms: Terms, settings: Settings, sources: Sequence[PolicySource]) -> Mode | None:
    """What the mark or the option adds to the policies' own mode; the strictest wins.

    Raises:
        ConfigurationError: the mark or the option says observe where a policy, or the option, enforces. Going on
            in enforce mode would surprise who asked for less, and relaxing would open the gate from outside.
    """
    if "observe" in (terms.mode, settings.mode):
        enforcing = [source.name for source in sources if _own_mode(source) == "enforce"]
        if terms.mode == "observe" and settings.mode == "enforce":
            enforcing.append("--mcp-governance-mode")
        if enforcing and terms.mode != "enforce":
            asked = "the marker's mode" if terms.mode == "observe" else "--mcp-governance-mode"
            raise ConfigurationError(
                f"{asked} is observe, but {' and '.join(enforcing)} says enforce; a mode can only be tightened. "
                "To try a policy without blocking, write `mode: observe` into it"
            )
    return "enforce" if "enforce" in (terms.mode, settings.mode) else None


def _own_mode(source: PolicySource) -> Mode:
    from pytest_mcp_governance.policy.loader import load_policy

    return load_policy(source.text, name=source.name, kind=source.kind).mode


def _from_fixture(value: object, rootdir: Path) -> PolicySource:
    if isinstance(value, str) and "\n" in value:
        return PolicySource("mcp_audit_policy", "inline", value)
    if isinstance(value, str | os.PathLike) and str(value):
        return _from_file(rootdir / Path(value), "file", rootdir)
    raise ConfigurationError(
        "the fixture mcp_audit_policy must give a path, a policy's text of more than one line, or None; got "
        f"{type(value).__name__}"
    )


def _from_file(path: Path, kind: Literal["file", "marker"], rootdir: Path) -> PolicySource:
    name = path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else path.name
    try:
        return PolicySource(name, kind, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyError(f"not UTF-8 at byte {error.start}", file=name, hint="Save it as UTF-8.") from None
    except OSError as error:
        sought = "A mark's policy lies beside the test's file" if kind == "marker" else "It was looked for at"
        raise PolicyError(f"cannot be read: {error.strerror}", file=name, hint=f"{sought}: {path}") from None
