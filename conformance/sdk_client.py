"""The client of the comparison, on the MCP SDK 2.x: does what each of the official suite's client scenarios asks for.

`python sdk_client.py URL` connects to the suite's own server; with `--recorded FOLDER` through the recorder. The suite
appends the URL, and names scenario, revision and context in MCP_CONFORMANCE_* variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from recorded import recorded

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
ARGUMENTS = {"add_numbers": {"a": 5, "b": 3}}


async def accept(context: Any, params: Any) -> types.ElicitResult:
    """Accept a form as it is: with its defaults, and yes where it asks for one."""
    asked = params.requested_schema.get("properties", {})
    content = {name: field.get("default", True) for name, field in asked.items()}
    return types.ElicitResult(action="accept", content=content)


async def act(url: str) -> None:
    mode = "legacy" if REVISION <= "2025-11-25" else REVISION
    async with Client(url, mode=mode, elicitation_callback=accept, read_timeout_seconds=20) as client:
        tools = (await client.list_tools()).tools
        for name, arguments in calls(tools):
            # What a tool answers is the suite's business; this client goes on, as an agent does.
            with contextlib.suppress(Exception):
                await client.call_tool(name, arguments)


def calls(tools: list[types.Tool]) -> list[tuple[str, dict[str, Any]]]:
    """The calls that the scenario is about."""
    if "toolCalls" in CONTEXT:
        return [(call["name"], call["arguments"]) for call in CONTEXT["toolCalls"]]
    if SCENARIO.startswith("json-schema-2020-12"):
        focal, echo = tools
        (argument,) = echo.input_schema["properties"]
        return [(echo.name, {argument: focal.input_schema})]
    return [(tool.name, ARGUMENTS.get(tool.name, {})) for tool in tools]


def main(*arguments: str) -> None:
    if arguments[0] == "--recorded":
        folder = Path(tempfile.mkdtemp(dir=arguments[1])) / "evidence"
        with recorded(arguments[-1], folder) as url:
            asyncio.run(act(url))
    else:
        asyncio.run(act(arguments[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
