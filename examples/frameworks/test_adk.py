"""Google's Agent Development Kit: one McpToolset a server."""

import asyncio
from collections.abc import AsyncGenerator

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from mcp import StdioServerParameters
from pydantic import SkipValidation
from scripted import ASK, REQUEST, Script


class ScriptedLlm(BaseLlm):
    """A model that answers with whatever the script decides on next."""

    script: SkipValidation[Script]

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> AsyncGenerator:
        last = llm_request.contents[-1].parts[-1]
        step = self.script.decide(text_of(last.function_response.response) if last.function_response else None)
        if isinstance(step, str):
            part = types.Part(text=step)
        else:
            part = types.Part(function_call=types.FunctionCall(name=step.tool, args=step.arguments))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def text_of(response: dict) -> str:
    """The text of a tool's answer as the model gets it."""
    return "\n".join(part["text"] for part in response["content"])


async def run(tools: McpToolset, script: Script, request: str) -> str:
    agent = LlmAgent(name="clerk", model=ScriptedLlm(model="scripted", script=script), tools=[tools])
    async with InMemoryRunner(agent, app_name="notes") as runner:
        session = await runner.session_service.create_session(app_name="notes", user_id="u")
        message = types.Content(role="user", parts=[types.Part(text=request)])
        answer = ""
        async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message):
            if event.is_final_response():
                answer = event.content.parts[0].text
        return answer


def test_an_adk_agent_reads_instead(mcp_audit, script: Script, reads_instead):
    with mcp_audit.gateway("files", agent="adk-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        parameters = StdioServerParameters(**gw.config["mcpServers"]["files"])
        tools = McpToolset(connection_params=StdioConnectionParams(server_params=parameters, timeout=60))
        answer = asyncio.run(run(tools, script, REQUEST))
    reads_instead(answer)


def test_over_http_it_gets_the_url(mcp_audit, curious: Script, takes_an_echo):
    with mcp_audit.gateway("everything", agent="adk-2", request=ASK) as gw, mcp_audit.expect_denied():
        tools = McpToolset(connection_params=StreamableHTTPConnectionParams(url=gw.url("everything")))
        answer = asyncio.run(run(tools, curious, ASK))
    takes_an_echo(answer)
