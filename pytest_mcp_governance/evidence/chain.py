"""Whether runs that continue one another are all there: what their open and close statements say of each other.

A run that continues another names that one's records by number and root; a run that was continued names its successor.
Leaves out whether each run is what it claims to be (see `verify`), which has to be known first.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import names, statements
from pytest_mcp_governance.evidence.outcome import Outcome, Problem
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import MAX_LINE_BYTES, Source, join
from pytest_mcp_governance.evidence.target import open_target


@dataclass(frozen=True, slots=True)
class Link:
    """What a run's statements say of its place among others."""

    run: str
    started_on: str
    opened: str
    closed: str
    lines: object
    root: object
    continues: Mapping[str, object] | None
    continued_by: Mapping[str, object] | None
    previous: object


def check_chain(targets: Sequence[str | os.PathLike[str]]) -> tuple[Problem, ...]:
    """What is wrong between the runs of some reports and run folders, given in any order.

    Args:
        targets: the runs, each of which `verify` has found whole; groups are no links of a chain.

    Returns:
        Missing links are INCOMPLETE; a run that names other records or another successor than there are is TAMPERED.
    """
    links: list[Link] = []
    problems: list[Problem] = []
    for target in targets:
        try:
            links.append(_link(open_target(target)))
        except EvidenceError as error:
            problems.append(Problem(Outcome.MALFORMED, safe(f"{target} is no link of a chain: {error}", 1_000)))
    links.sort(key=lambda link: link.started_on)
    return (*problems, *_twice(links), *_between(links))


def _twice(links: Sequence[Link]) -> Iterator[Problem]:
    seen: set[str] = set()
    for link in links:
        if link.opened in seen:
            yield Problem(Outcome.MALFORMED, f"run {link.run} is given twice")
        seen.add(link.opened)


def _between(links: Sequence[Link]) -> Iterator[Problem]:
    by_open = {link.opened: link for link in links}
    for number, link in enumerate(by_open.values()):
        if link.continues is not None:
            yield from _before(link, link.continues, by_open.get(str(link.continues.get("open"))))
        elif number and link.previous not in {other.closed for other in links if other.closed}:
            named = f"; the run before it has the close digest {safe(str(link.previous), 64)}" if link.previous else ""
            text = f"run {link.run} neither continues another run that is given nor names one as the run before{named}"
            yield Problem(Outcome.INCOMPLETE, text)
        if link.continued_by is not None and str(link.continued_by.get("open")) not in by_open:
            text = f"run {safe(str(link.continued_by.get('run')), 100)}, which continues run {link.run}, is missing"
            yield Problem(Outcome.INCOMPLETE, text)


def _before(link: Link, named: Mapping[str, object], before: Link | None) -> Iterator[Problem]:
    if before is None:
        text = f"run {safe(str(named.get('run')), 100)}, which run {link.run} continues, is missing"
        yield Problem(Outcome.INCOMPLETE, text)
        return
    if (named.get("lines"), named.get("root")) != (before.lines, before.root):
        text = f"run {link.run} continues other records than run {before.run} has"
        yield Problem(Outcome.TAMPERED, text)
    if before.closed and before.continued_by != {"run": link.run, "open": link.opened}:
        yield Problem(Outcome.TAMPERED, f"run {before.run} does not name run {link.run} as the one that continues it")


def _link(source: Source) -> Link:
    paths = source.paths()
    if names.OPEN not in paths:
        raise EvidenceError("it is not one run")
    opened = statements.read_bundle(join(source.chunks(names.OPEN), MAX_LINE_BYTES))
    close = statements.read_bundle(join(source.chunks(names.CLOSE), MAX_LINE_BYTES)) if names.CLOSE in paths else None
    lines, root = _listed(close.predicate) if close is not None else (None, None)
    key = statements.read_key(opened.predicate.get("segmentKey"))
    if close is None and key is not None:
        main = EvidenceReader(source).summarise("main", key)
        lines, root = main.lines, main.root
    return Link(
        run=safe(str(opened.predicate.get("run")), 100),
        started_on=str(opened.predicate.get("startedOn")),
        opened=opened.digest,
        closed=close.digest if close is not None else "",
        lines=lines,
        root=root,
        continues=_object(opened.predicate.get("continues")),
        continued_by=_object(close.predicate.get("continuedBy")) if close is not None else None,
        previous=opened.predicate.get("previous"),
    )


def _listed(predicate: Mapping[str, object]) -> tuple[object, object]:
    segments = predicate.get("segments")
    for entry in segments if isinstance(segments, list) else ():
        if isinstance(entry, dict) and entry.get("name") == "main":
            return entry.get("lines"), entry.get("root")
    return None, None


def _object(value: object) -> Mapping[str, object] | None:
    return value if isinstance(value, dict) else None
