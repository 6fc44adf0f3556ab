"""The files that `init` proposes, as texts: servers, policy, first test, pytest's settings and a CI job.

Pure: listings and proposals in, texts out, the same for the same. What a server says stands in them only where it is
plain, or escaped in a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_mcp_governance.adopt.entries import Server
from pytest_mcp_governance.adopt.listing import Listing
from pytest_mcp_governance.adopt.proposal import Limits, ToolProposal
from pytest_mcp_governance.evidence.safe_text import safe

AGENT = "first-agent"
TEST_NAME = "tests/test_governance_first.py"
_NAME_WIDTH = 40


def servers_text(servers: Mapping[str, Server]) -> str:
    """The mcp.json of these servers, without a credential."""
    return json.dumps({"mcpServers": {name: _entry(server) for name, server in servers.items()}}, indent=2) + "\n"


def policy_text(name: str, listings: Mapping[str, Listing], tools: Sequence[ToolProposal]) -> str:
    """The policy: what the servers call read-only is allowed, what is destructive is denied, all else is left out.

    Args:
        name: of the project's folder.
        listings: server -> what it offers.
        tools: a proposal for each of its tools.
    """
    identifier = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:60] or "project"
    lines = [
        "# Proposed by `mcp-governance init` from what the servers say of their own tools. Review it: it is yours.",
        "# What no rule allows is denied.",
        "governance: 1",
        f"policy: {json.dumps(f'{identifier}-agents')}",
        '# Say who answers for it: owner: {team: "…"}',
    ]
    if not any(tool.effect == "allow" for tool in tools):
        lines += [
            "# No server says of any tool that it only reads, so nothing is allowed yet. When you add a rule that",
            "# allows something, take this line out:",
            "kind: constraint",
        ]
    lines.append("rules:")
    ids = _Identifiers()
    for server, listing in listings.items():
        lines += _server_rules(server, listing, [tool for tool in tools if tool.server == server], ids)
    if not any(line.startswith("- id:") for line in lines):
        lines += ["", "# A policy has at least one rule; take this one out with the line above.", "- id: NOTHING-YET"]
        lines += ['  deny: ["*.*"]']
    return "\n".join(lines) + "\n"


def first_test_text(listings: Mapping[str, Listing], tools: Sequence[ToolProposal]) -> str:
    """A test file with an audited session for each server: it lists tools, and calls one where that is safe."""
    functions = [
        _test(server, listing, [tool for tool in tools if tool.server == server], name)
        for (server, listing), name in zip(listings.items(), _test_names(listings), strict=True)
    ]
    head = (
        '"""First audited sessions, one with each MCP server. Proposed by `mcp-governance init`: yours to change.\n\n'
        "Here the test is the agent. An agent of your own gets the `config` of `mcp_audit.gateway(agent=...)`.\n"
        '"""\n\nimport asyncio\n'
    )
    return "\n\n".join([head, *functions])


def ci_text(servers: Mapping[str, Server]) -> str:
    """A GitHub workflow that checks the lock file, runs the first test and keeps the report."""
    commands = {server.command.rpartition("/")[2] for server in servers.values()}
    needs = sorted({name for server in servers.values() for name in server.needs} - {"HOME", "PATH", "USER"})
    steps = [
        "    - uses: actions/checkout@v4",
        "    - uses: actions/setup-python@v5",
        '      with: {python-version: "3.12"}',
    ]
    if commands & {"npx", "npm", "node", "pnpm", "bunx", "yarn"}:
        steps += ["    - uses: actions/setup-node@v4", '      with: {node-version: "22"}']
    uv = " uv" if commands & {"uvx", "uv"} else ""
    steps += [
        f"    - run: pip install pytest pytest-mcp-governance{uv}",
        "    - run: mcp-governance lock --check",
        f"    - run: pytest {TEST_NAME}",
        "    - uses: actions/upload-artifact@v4",
        "      if: always()",
        "      with: {name: governance-report, path: governance-report.html}",
    ]
    env = [f"      {name}: ${{{{ secrets.{name} }}}}" for name in needs]
    return "\n".join(
        [
            "# Proposed by `mcp-governance init`. Add what your servers need to run.",
            "name: mcp-governance",
            "on: [pull_request]",
            "permissions: {contents: read}",
            "jobs:",
            "  audit:",
            "    runs-on: ubuntu-latest",
            *(["    env:", *env] if env else []),
            "    steps:",
            *steps,
            "",
        ]
    )


PYTEST_TEXT = "[pytest]\ntestpaths = tests\n"
_KEPT_OUT = ("governance-report.html", "signing.pem")


def gitignore_text(there: str) -> str:
    """The .gitignore that keeps a run's report and a signing key out of a commit, with what it says already."""
    missing = [name for name in _KEPT_OUT if not {name, f"/{name}"} & set(there.split())]
    gap = "\n" if there and not there.endswith("\n") else ""
    return there + gap + "".join(f"{name}\n" for name in missing)


def extended_text(there: str, added: Mapping[str, Server]) -> str:
    """The mcp.json that is there, its own entries as they are, with servers added."""
    document = json.loads(there)
    document["mcpServers"] |= {name: _entry(server) for name, server in added.items()}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class _Identifiers:
    """Rule ids, each once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, server: str, word: str) -> str:
        base = f"{server.upper().strip('-_') or 'SERVER'}-{word}"
        made, number = base, 1
        while made in self._given:
            number += 1
            made = f"{base}-{number}"
        self._given.add(made)
        return made


def _server_rules(server: str, listing: Listing, tools: Sequence[ToolProposal], ids: _Identifiers) -> Iterator[str]:
    yield ""
    yield f"# {server}: {safe(listing.name, 60) or 'a server without a name'} {safe(listing.version, 30)}".rstrip()
    groups: dict[str, list[ToolProposal]] = {}
    for tool in tools:
        if tool.effect == "allow":
            groups.setdefault(json.dumps([tool.reason, tool.limits]), []).append(tool)
    for group in groups.values():
        yield f"# Allowed: {group[0].reason}."
        yield from _rule(ids.give(server, "READ"), "allow", group, group[0].limits)
    denied = [tool for tool in tools if tool.effect == "deny"]
    if denied:
        yield "# Denied, whatever another rule says: destructive by their own annotations."
        yield from _rule(ids.give(server, "DESTRUCTIVE"), "deny", denied, None)
    left = [tool for tool in tools if tool.effect == "leave"]
    if left:
        yield "# Left out, and so denied:"
        for tool in left:
            yield f"#   {safe(tool.name, _NAME_WIDTH)}: {tool.reason}"
    suggested = [tool for tool in left if tool.reads_by_name]
    if suggested:
        yield "# By their names these only read; a name proves nothing. If you know that they do:"
        yield from (f"# {line}" for line in _rule(ids.give(server, "READ"), "allow", suggested, None))
    extra = [f"{len(found)} {word}{'' if len(found) == 1 else 's'}" for found, word in _offers(listing) if found]
    if extra:
        yield f"# It offers {' and '.join(extra)} too; none is allowed (allow_resources, allow_prompts)."


def _offers(listing: Listing) -> tuple[tuple[Sequence[object], str], ...]:
    return (listing.resources, "resource"), (listing.prompts, "prompt")


def _rule(identifier: str, effect: str, tools: Sequence[ToolProposal], limits: Limits | None) -> Iterator[str]:
    yield f"- id: {identifier}"
    yield f"  {effect}:"
    for tool in tools:
        yield f"  - {json.dumps(f'{tool.server}.{tool.name}')}"
    if limits:
        yield "  args:"
        for key, operators in limits.items():
            inside = ", ".join(f"{operator}: {json.dumps(value)}" for operator, value in operators.items())
            yield f"    {json.dumps(key)}: {{{inside}}}"


def _chosen(tools: Sequence[ToolProposal]) -> ToolProposal | None:
    """The tool that the first test calls: of those that can be called safely, the one with the fewest arguments."""
    safe_ones = [tool for tool in tools if tool.call is not None]
    return min(safe_ones, key=lambda tool: len(tool.call or {}), default=None)


def _example(listing: Listing, tools: Sequence[ToolProposal]) -> str:
    """A call to fill in, as a comment, where none can be made that is safe; empty where no tool is allowed."""
    allowed = {tool.name for tool in tools if tool.effect == "allow"}
    calls = [
        (str(definition["name"]), _to_fill_in(definition))
        for definition in listing.tools
        if definition["name"] in allowed
    ]
    if not calls:
        return ""
    tool, arguments = min(calls, key=lambda call: len(call[1]))
    return (
        "            # No call is made: which one is harmless, only you know. Fill in, and take out idle_ok=True:\n"
        f"            # await session.call_tool({_quoted(tool)}, {_literal(arguments)})\n"
    )


def _to_fill_in(definition: Mapping[str, object]) -> dict[str, object]:
    """A tool's required arguments, each with a value of its type."""
    schema = definition.get("inputSchema")
    fields = schema if isinstance(schema, dict) else {}
    properties, required = fields.get("properties"), fields.get("required")
    known = properties if isinstance(properties, dict) else {}
    made: dict[str, object] = {}
    for key in required if isinstance(required, list) else ():
        kind = known.get(str(key))
        made[str(key)] = _BLANKS.get(str(kind.get("type")), "...") if isinstance(kind, dict) else "..."
    return made


_BLANKS: Mapping[str, object] = {"integer": 1, "number": 1, "boolean": False}


def _test(server: str, listing: Listing, tools: Sequence[ToolProposal], name: str) -> str:
    tool = _chosen(tools)
    first = _quoted(str(listing.tools[0]["name"])) if listing.tools else None
    quoted = _quoted(server)
    idle = "" if tool else ", idle_ok=True"
    does = [
        "            listed = await session.list_tools()\n" if first else "            await session.send_ping()\n",
        f"            await session.call_tool({_quoted(tool.name)}, {_literal(tool.call or {})})\n"
        if tool
        else _example(listing, tools),
        "            return [tool.name for tool in listed.tools]\n" if first else "            return []\n",
    ]
    claims = [f"    assert {first} in tools\n" if first else "    assert tools == []\n"]
    if tool:
        claims += [
            f"    assert mcp_audit.calls.only({_quoted(f'{server}.{tool.name}')})\n",
            '    assert [call.verdict for call in mcp_audit.calls] == ["allow"]\n',
        ]
    return "".join(
        [
            f"def {name}(mcp_audit):\n",
            "    async def agent():\n",
            f'        async with mcp_audit.connect({quoted}, agent="{AGENT}"{idle}) as session:\n',
            *does,
            "\n    tools = asyncio.run(agent())\n",
            *claims,
        ]
    )


def _literal(arguments: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in arguments.items()) + "}"


def _quoted(value: object) -> str:
    """A Python literal in ASCII, in double quotes where that is plain."""
    text = ascii(value)
    return (
        f'"{text[1:-1]}"'
        if isinstance(value, str) and text[0] == "'" and '"' not in text and "\\" not in text
        else text
    )


def _test_names(listings: Mapping[str, Listing]) -> list[str]:
    made: list[str] = []
    for server in listings:
        base = "test_" + re.sub(r"[^a-z0-9]+", "_", server.lower()).strip("_")
        name, number = base, 1
        while name in made:
            number += 1
            name = f"{base}_{number}"
        made.append(name)
    return made


def _entry(server: Server) -> dict[str, object]:
    made: dict[str, object] = {"command": server.command, "args": list(server.args)}
    if server.env:
        made["env"] = dict(server.env)
    if server.cwd is not None:
        made["cwd"] = server.cwd
    return made
