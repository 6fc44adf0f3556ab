"""The clerk: an agent in a process of its own, on pydantic-ai, with a scripted model.

Knows its MCP servers only from the `mcpServers` file it is given, as any agent does; whether the
commands in there lead to the servers or to an audited gateway it cannot tell. Runs in its own
environment (`.servers/agent`), which does not have the plugin.

    python -m agents.clerk mcp.json INV-2041
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets import PrefixedToolset

from agents.scripted import Observation, Script, prepare_payment

START_PATIENCE_S = 60


def mcp_toolsets(config: Path) -> list[PrefixedToolset[None]]:
    """One toolset a server, its tools named `server_tool`.

    `pydantic_ai.mcp.load_mcp_toolsets` does this too, but waits 5 s for a server to start, which is short on
    a machine that runs several agents at once.
    """
    servers = json.loads(config.read_text(encoding="utf-8"))["mcpServers"]
    return [
        MCPToolset[None](
            StdioTransport(command=entry["command"], args=entry["args"]), id=name, init_timeout=START_PATIENCE_S
        ).prefixed(name)
        for name, entry in servers.items()
    ]


def scripted_model(script: Script) -> FunctionModel:
    """A model that answers with whatever the script decides on next."""

    async def decide(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        try:
            call = script.send(seen) if (seen := _last_observation(messages)) else next(script)
        except StopIteration as ended:
            return ModelResponse(parts=[TextPart(ended.value)])
        return ModelResponse(parts=[ToolCallPart(f"{call.server}_{call.tool}", call.arguments)])

    return FunctionModel(decide, model_name="scripted-clerk")


def _last_observation(messages: Sequence[ModelMessage]) -> Observation | None:
    for part in reversed(messages[-1].parts):
        if isinstance(part, ToolReturnPart):
            return Observation(_text(part), part.outcome != "success")
        if isinstance(part, RetryPromptPart):
            return Observation(part.model_response(), is_error=True)
    return None


def _text(part: ToolReturnPart) -> str:
    """A result's text; servers that answer with {"content": text} as structured content mean that text."""
    match part.content:
        case {"content": str(text)}:
            return text
        case _:
            return part.model_response_str(wrap_if_error=False)


async def main(config: str, invoice: str) -> str:
    agent = Agent(scripted_model(prepare_payment(invoice)), toolsets=mcp_toolsets(Path(config)), retries=3)
    async with agent:
        return (await agent.run(f"Prepare the payment of {invoice}.")).output


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:3])))
