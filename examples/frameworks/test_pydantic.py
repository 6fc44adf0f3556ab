"""Pydantic AI: one MCPToolset for the gateway's whole configuration."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from scripted import ASK, REQUEST, Script


def scripted_model(script: Script) -> FunctionModel:
    """A model that answers with whatever the script decides on next."""

    async def decide(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        step = script.decide(last_answer(messages[-1]))
        part = TextPart(step) if isinstance(step, str) else ToolCallPart(step.tool, step.arguments)
        return ModelResponse(parts=[part])

    return FunctionModel(decide)


def last_answer(message: ModelMessage) -> str | None:
    """What a tool answered, as the model gets it; a server that answers {"content": text} means that text."""
    for part in message.parts:
        if isinstance(part, ToolReturnPart):
            match part.content:
                case {"content": str(text)}:
                    return text
                case _:
                    return part.model_response_str()
    return None


async def run(gw, script: Script, request: str):
    toolset = MCPToolset(gw.config, tool_error_behavior="failed", init_timeout=60)
    async with Agent(scripted_model(script), toolsets=[toolset]) as agent:
        return await agent.run(request)


def test_a_pydantic_agent_reads_instead(mcp_audit, script: Script, reads_instead):
    with mcp_audit.gateway("files", agent="pydantic-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        ended = asyncio.run(run(gw, script, REQUEST))
    reads_instead(ended.output)
    outcomes = [p.outcome for m in ended.all_messages() for p in m.parts if isinstance(p, ToolReturnPart)]
    assert outcomes == ["failed", "success"]


def test_over_http_the_line_is_the_same(mcp_audit, curious: Script, takes_an_echo):
    with mcp_audit.gateway("everything", agent="pydantic-2", request=ASK) as gw, mcp_audit.expect_denied():
        ended = asyncio.run(run(gw, curious, ASK))
    takes_an_echo(ended.output)
