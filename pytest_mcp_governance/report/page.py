"""The signed page: `render(reader, facts) -> bytes`, everything before the container's marker.

One template, one style sheet, one script, both pinned by hash in the content security policy. Every template
expression is made harmless by default (`finalize`); markup comes only from this package. Same evidence and
facts give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined
from markupsafe import Markup, escape

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.reader import Records

from . import caveats, clock, hostile, since, text, wiretext
from .access import column_of, matrix
from .collect import collect
from .facts import RunFacts
from .model import Evidence, Selection
from .rules import rules_of, source_link
from .shards import GroupFacts
from .shots import shots_of
from .summary import summary_of
from .timeline import timeline

MARKER = b"<!--mcp-governance-evidence-v1-->"
MAX_PROTOCOL_ROWS = 1_000
MAX_LATER = 50
MAX_OUTPUT_ROWS = 200
MAX_DIFFERENCES = 500
TEXT_BUDGET = 24 * 1024 * 1024  # of requests, answers and wire text; later calls show their record's number
_UNSAFE_IN_CSS = re.compile(r"[^A-Za-z0-9 :.+/-]")


def render(reader: Records, facts: RunFacts, group: GroupFacts | None = None) -> bytes:
    """The page of a run or group, from `<!doctype html>` to just before the container's marker, body left open.

    Args:
        reader: the run's evidence, already without what is to be withheld.
        facts: what the closing run knows beside it; of a group, what whoever merges it knows.
        group: its shards, where `reader` reads several runs as one.

    Raises:
        EvidenceError: the page would contain the container's own marker.
    """
    evidence = collect(reader)
    if group is not None:
        evidence = replace(evidence, selection=_selected(group))
    page = _environment().get_template("page.html.j2").render(_context(evidence, reader, facts, group))
    view = page.encode("utf-8")
    if MARKER in view:
        raise EvidenceError("The page holds the container's marker; nothing that is recorded may put it there.")
    return view


def draw(template: str, facts: RunFacts, values: Mapping[str, object]) -> bytes:
    """A page without a script, from another template, in the same style.

    Raises:
        EvidenceError: the page would contain the container's own marker.
    """
    css, footer = _asset("page.css"), _page_footer(facts)
    policy = f"default-src 'none'; style-src {_pin(css)} {_pin(footer)}; base-uri 'none'; form-action 'none'"
    fixed = {"csp": policy, "css": Markup(css), "footer_css": Markup(footer), "facts": facts}
    view = _environment().get_template(template).render(fixed | dict(values)).encode("utf-8")
    if MARKER in view:
        raise EvidenceError("The page holds the container's marker; nothing that is recorded may put it there.")
    return view


def _selected(group: GroupFacts) -> Selection:
    """What the shards selected together; what each of them deselected is what others ran."""
    return Selection(group.selected, sum(row.unaudited for row in group.rows), 0, group.collection)


def _context(evidence: Evidence, reader: Records, facts: RunFacts, group: GroupFacts | None) -> Mapping[str, object]:
    run = summary_of(evidence, status=facts.status, judged=facts.judged)
    css, script, footer = _asset("page.css"), _asset("page.js"), _page_footer(facts)
    return {
        "csp": _policy(script, css, footer),
        "css": Markup(css),
        "script": Markup(script),
        "footer_css": Markup(footer),
        "e": evidence,
        "run": run,
        "facts": facts,
        "group": group,
        "matrix": matrix(evidence, run),
        "timeline": timeline(evidence),
        "rules": rules_of(evidence),
        "source_link": lambda source: source_link(evidence, source),
        "shots": shots_of(evidence, reader.blob),
        "texts": _Texts(TEXT_BUDGET),
        "when": _when(evidence),
        "limits": caveats.limits(run, evidence, facts),
        "incomplete": caveats.incomplete_reasons(run, evidence, facts),
        "opened": _opened(reader.open) if group is None else _opened_by_all(group),
        "max_protocol_rows": MAX_PROTOCOL_ROWS,
        "max_later": MAX_LATER,
        "max_output_rows": MAX_OUTPUT_ROWS,
        "MOST_ON_PAGE": since.MOST_ON_PAGE,
        "MAX_ITEMS": MAX_DIFFERENCES,
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pytest_mcp_governance.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        show=hostile.show,
        prose=hostile.prose,
        identifier=hostile.identifier,
        clock=lambda us: clock.clock(us, fine=True),
        n=text.number,
        column=column_of,
        how=lambda how: text.HOW.get(how, how),
        as_is=Markup,
    )
    made.globals.update(text=text, caveats=caveats, wire=wiretext, day=clock.day, keys=_keys, grouped=_grouped)
    return made


def _harmless(value: object) -> object:
    """What a template prints unless it says otherwise: numbers, our own markup, spelled-out text."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return hostile.plain(value)
    if isinstance(value, int):
        return value
    if type(value) is Undefined:  # what `{{ x if condition }}` is without an else; names are StrictUndefined
        return ""
    raise TypeError(f"A template printed {type(value).__name__}; print text or an integer.")


class _Texts:
    """Spends the page's budget of long texts: `take(text)` says whether it may still be shown."""

    def __init__(self, budget: int) -> None:
        self._left = budget

    def take(self, value: object, important: bool) -> bool:
        size = min(len(value), hostile.SHOWN_BYTES) if isinstance(value, str) else 0
        if not important and size > self._left:
            return False
        self._left -= size
        return True


def _policy(script: str, *styles: str) -> str:
    """The content security policy of the page: nothing from anywhere, script and styles by hash."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_pin(script)}",
            "style-src " + " ".join(_pin(s) for s in styles),
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _pin(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return files("pytest_mcp_governance.report").joinpath("assets", name).read_text("utf-8")


def _page_footer(facts: RunFacts) -> str:
    """Run and open digest at the foot of every printed sheet."""
    opened = f" - opened as {facts.open_digest}" if facts.open_digest else ""
    line = _UNSAFE_IN_CSS.sub("", f"{facts.kind} {facts.run}{opened}")
    return f'@page{{@bottom-left{{content:"{line}"}}}}'


def _when(evidence: Evidence) -> str:
    if evidence.first is None or evidence.last is None:
        return "no record"
    return clock.span(evidence.first.t, evidence.first.us, evidence.last.t, evidence.last.us)


def _opened(statement: object) -> tuple[tuple[str, str], ...]:
    """Source, pipeline, shard and challenge as the open statement names them: (label, text) pairs."""
    predicate = statement.get("predicate") if isinstance(statement, Mapping) else None
    if not isinstance(predicate, Mapping):
        return ()
    labels = {
        "source": "Source",
        "ci": "Pipeline",
        "shard": "Shard",
        "challenge": "Challenge",
        "gate": "Gate",
        "floor": "Floor",
        "baseline": "Baseline",
    }
    found = ((label, _stated(predicate.get(key))) for key, label in labels.items())
    return tuple((label, said) for label, said in found if said)


def _opened_by_all(group: GroupFacts) -> tuple[tuple[str, str], ...]:
    """What the open statements of the shards name, each different thing once; which shard it is has its own table."""
    said = (pair for row in group.rows for pair in _opened(row.opened) if pair[0] != "Shard")
    return tuple(dict.fromkeys(said))


def _stated(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return ""
    said = []
    for key, item in value.items():
        if key == "dirty":
            said.append("with local changes" if item else "no local changes")
        elif isinstance(item, (str, int)) and item != "":
            said.append(f"{key} {item}")
    return ", ".join(said)


def _keys(values: object) -> Markup:
    """Names as one attribute value, a line each, for the script to split."""
    names = values if isinstance(values, (list, tuple, set, frozenset)) else ()
    return Markup("\n").join(escape(hostile.plain(str(v))) for v in sorted(set(names)))


def _grouped(digest: str) -> str:
    """A hex digest in groups of eight, to compare by eye."""
    return " ".join(digest[i : i + 8] for i in range(0, len(digest), 8))
