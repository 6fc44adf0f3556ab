"""Which tests there are, what each is called in the evidence, and how an attempt at one ended.

Starts nothing and writes nothing. An attempt is one run of setup, call and teardown; a rerun is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from pytest_mcp_governance.plugin.lifecycle import is_audited

_ENCODING = ("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Selection:
    """What was collected and what of it was selected; names without parameters, sorted.

    `collection` is SHA-256 (hex) over the sorted names of all audited tests that were collected, each with a newline:
    the names that shards selected hash to it when together they are the whole.
    """

    selected: tuple[str, ...]
    unaudited: tuple[str, ...]
    deselected: int
    collection: str


@dataclass(frozen=True, slots=True)
class Attempt:
    name: str
    nodeid: str
    number: int


def full_node_id(item: pytest.Item) -> str:
    """The node id as collected; pytest-xdist appends its group to `item.nodeid` in some modes."""
    return f"{item.parent.nodeid}::{item.name}" if item.parent is not None else item.nodeid


def test_names(items: Iterable[pytest.Item]) -> dict[str, str]:
    """Full node id -> clear name: without `[…]`, whose text can be anything, and `#n` in its place."""
    parametrised: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for item in items:
        nodeid = full_node_id(item)
        callspec = getattr(item, "callspec", None)
        suffix = f"[{callspec.id}]" if callspec is not None else ""
        if suffix and nodeid.endswith(suffix):
            parametrised.setdefault(nodeid.removesuffix(suffix), []).append(nodeid)
        else:
            names[nodeid] = nodeid
    for base, nodeids in parametrised.items():
        names.update((nodeid, f"{base}#{n}") for n, nodeid in enumerate(sorted(set(nodeids)), start=1))
    return names


test_names.__test__ = False  # type: ignore[attr-defined]  # a user's `from … import *` must not collect it


def may_bring_a_policy(item: pytest.Item) -> bool:
    """Whether a mark or an overridden fixture may give an audited test a policy of its own; unknown counts as yes."""
    if not is_audited(item):
        return False
    if any(mark.kwargs.get("policy") is not None for mark in item.iter_markers("mcp_governance")):
        return True
    info = getattr(item, "_fixtureinfo", None)  # pytest tells nobody else which definitions a test would get
    definitions = getattr(info, "name2fixturedefs", {}).get("mcp_audit_policy") if info is not None else None
    return definitions is None or len(definitions) > 1


def selection(collected: Sequence[pytest.Item], selected: Sequence[pytest.Item]) -> Selection:
    names = test_names(collected)
    audited = [item for item in selected if is_audited(item)]
    everything = {names[full_node_id(item)] for item in collected if is_audited(item)}
    return Selection(
        selected=_sorted_names(audited, names),
        unaudited=_sorted_names([item for item in selected if not is_audited(item)], names),
        deselected=len(collected) - len(selected),
        collection=hashlib.sha256("".join(f"{name}\n" for name in sorted(everything)).encode(*_ENCODING)).hexdigest(),
    )


def _sorted_names(items: Iterable[pytest.Item], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(names.get(full_node_id(item), item.nodeid) for item in items))


def outcome(reports: Sequence[pytest.TestReport]) -> str:
    """One word for an attempt: a failed call, then an error in setup or teardown, then what the call came to."""
    phases = {report.when: report for report in reports}
    call = phases.get("call")
    if call is not None and call.failed:
        return "failed"
    if any(report.failed for report in phases.values()):
        return "error"
    deciding = call or phases.get("setup")
    if deciding is None or (call is None and not deciding.skipped):
        return "error"  # nothing reported, or interrupted before the call did: that is no pass
    if hasattr(deciding, "wasxfail"):
        return "xfailed" if deciding.skipped else "xpassed"
    return "skipped" if deciding.skipped else "passed"


def failure_text(reports: Sequence[pytest.TestReport]) -> str | None:
    """What pytest prints for the phases that failed, also where xfail turned the failure into a skip."""
    texts = [report.longreprtext for report in reports if report.failed or hasattr(report, "wasxfail")]
    return "\n\n".join(text for text in texts if text) or None
