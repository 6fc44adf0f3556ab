"""The browser agent: a small agent loop over the MCP SDK's own client, with a scripted model.

Runs inside the test's process and, like the clerk, knows its server only from an `mcpServers` mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from agents.scripted import Script
from agents.sdk import observation

PATIENCE_S = 90


def run_browser_agent(config: Mapping[str, Any], script: Script) -> str:
    """Let the script drive the one server named `browser` in `config`; return its final answer.

    Raises:
        TimeoutError: no answer within 90 s.
    """
    return anyio.run(_run, config, script)


async def _run(config: Mapping[str, Any], script: Script) -> str:
    server = StdioServerParameters.model_validate(config["mcpServers"]["browser"])
    with anyio.fail_after(PATIENCE_S):
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            return await _drive(session, script)


async def _drive(session: ClientSession, script: Script) -> str:
    try:
        call = next(script)
        while True:
            call = script.send(observation(await session.call_tool(call.tool, call.arguments)))
    except StopIteration as ended:
        return str(ended.value)
