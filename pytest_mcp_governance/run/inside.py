"""The runs in a report file: the one, or each of a group's, as sources of their own. Leaves out checking."""

from collections.abc import Iterable

from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.group import is_group
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import ContainerSource, NestedSource, Source
from pytest_mcp_governance.run.approved import Summary, combined, summarise


def sources_in(source: ContainerSource) -> tuple[Source, ...]:
    """The runs of a report, each by its own paths; those of a group sorted by run id."""
    if not is_group(source.paths()):
        return (source,)
    runs = sorted({found[0] for found in map(names.nested, source.paths()) if found is not None})
    return tuple(NestedSource(source, run) for run in runs)


def summary_of_runs(sources: Iterable[Source], *, signer: str = "") -> Summary:
    """What some runs had together.

    Args:
        sources: the runs, each on its own: refs of one say nothing in another.
        signer: fingerprint of the key of a single run, where it is confirmed.

    Raises:
        EvidenceError: one cannot be read.
    """
    readers = [EvidenceReader(source) for source in sources]
    found = [summarise(reader.records(), reader.blob, signer=signer) for reader in readers]
    return found[0] if len(found) == 1 else combined(found)
