"""`mcp-governance inventory`: what projects configure and declare, and what evidence never saw.

Leaves out the search (`adopt.inventory`).
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pytest_mcp_governance.adopt.inventory import Inventory, Thing, take_inventory
from pytest_mcp_governance.cli.usage import fail
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.report.escaping import code

_MOST = 200


@click.command("inventory")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option(
    "--evidence",
    multiple=True,
    metavar="REPORT|FOLDER",
    type=click.Path(path_type=Path),
    help="Reports or run folders that lie elsewhere. May be given several times.",
)
@click.option("--json", "form", flag_value="json", help="Print everything as JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@click.option("--fail-on-gap", is_flag=True, help="End with 1 where something was never seen in evidence.")
@click.pass_context
def command(
    context: click.Context, paths: tuple[Path, ...], evidence: tuple[Path, ...], form: str | None, fail_on_gap: bool
) -> None:
    """List agents, servers, tools and data scopes, and the governance gap.

    Searches folders, of one repository or many, for MCP configurations, policies, lock files, tests and evidence. The
    gap is what is configured or declared and was never seen in evidence that verifies. "Seen" means that at least one
    call of it was recorded; it does not mean that all were.
    """
    for path in paths:
        if not os.path.isdir(path):
            fail(f"{path} is no folder. Name folders of repositories.")
    for path in evidence:
        if not os.path.exists(path):
            fail(f"--evidence: {path} does not exist.")
    found = take_inventory(paths, evidence)
    if form == "json":
        more = {"gap": [asdict(t) for t in found.gap], "undeclared": [asdict(t) for t in found.undeclared]}
        click.echo(json.dumps(asdict(found) | more, indent=2))
    elif form == "markdown":
        click.echo("\n".join(_markdown(found)))
    else:
        _print(found)
    context.exit(int(fail_on_gap and bool(found.gap)))


def _print(found: Inventory) -> None:
    console = Console(highlight=False, soft_wrap=False)
    console.print(_counts(found))
    for title, things in _parts(found):
        console.print()
        if not things:
            console.print(f"[bold]{title}[/bold]: nothing")
            continue
        table = Table(
            "project", "what", "name", "where", title=title, title_justify="left", title_style="bold", expand=False
        )
        for thing in things[:_MOST]:
            places = ", ".join(thing.declared or (f"run {run}" for run in thing.seen))
            table.add_row(*(escape(safe(text)) for text in (thing.project, thing.kind, thing.name, places)))
        console.print(table)
        if len(things) > _MOST:
            console.print(f"and {len(things) - _MOST} more; --json lists all")
    uncounted = [entry for entry in found.evidence if not entry.counts]
    for entry in uncounted:
        console.print(escape(f"not counted: {safe(entry.path)} is {entry.outcome}"))
    for problem in found.problems[:_MOST]:
        console.print(escape(f"problem: {safe(problem)}"))


def _parts(found: Inventory) -> Iterator[tuple[str, tuple[Thing, ...]]]:
    yield "Governance gap: never seen in evidence", found.gap
    yield "Seen in evidence, declared nowhere", found.undeclared
    yield "Seen in evidence", tuple(thing for thing in found.things if thing.declared and thing.seen)


def _counts(found: Inventory) -> str:
    counted = sum(entry.counts for entry in found.evidence)
    return (
        f"{_number(len(found.configurations), 'configuration')}, {_number(len(found.policies), 'policy', 'policies')}, "
        f"{_number(counted, 'report')} that count{'s' if counted == 1 else ''} as evidence; "
        f"{_number(len(found.gap), 'thing')} never seen"
    )


def _markdown(found: Inventory) -> Iterable[str]:
    yield "## Inventory of agents"
    yield ""
    yield _counts(found)
    for title, things in _parts(found):
        yield ""
        yield f"### {title}"
        yield ""
        if not things:
            yield "Nothing."
            continue
        yield "| Project | What | Name | Where |"
        yield "|---|---|---|---|"
        for thing in things:
            places = ", ".join(thing.declared or (f"run {run}" for run in thing.seen))
            yield f"| {code(thing.project)} | {thing.kind} | {code(thing.name)} | {code(places)} |"
    if found.problems:
        yield ""
        yield "### Problems"
        yield ""
        for problem in found.problems:
            yield f"- {code(problem)}"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
