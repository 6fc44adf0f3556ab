"""OpenAI Agents SDK: one MCPServerStdio a server."""

import asyncio
import json

import pytest
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from scripted import ASK, REQUEST, Script


class ScriptedModel(Model):
    """A model that answers with whatever the script decides on next."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def get_response(self, system_instructions, input, *args, **kwargs) -> ModelResponse:
        last = input[-1] if isinstance(input, list) else {}
        step = self.script.decide(text_of(last["output"]) if last.get("type") == "function_call_output" else None)
        if isinstance(step, str):
            text = ResponseOutputText(type="output_text", text=step, annotations=[])
            output = ResponseOutputMessage(
                id="message", type="message", role="assistant", status="completed", content=[text]
            )
        else:
            output = ResponseFunctionToolCall(
                type="function_call",
                call_id=f"call-{len(input)}",
                name=step.tool,
                arguments=json.dumps(step.arguments),
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        # The SDK's Model asks for both ways; Runner.run, which the test uses, never takes this one.
        raise NotImplementedError("the test asks for whole responses")


def text_of(output) -> str:
    """The text of a tool's output, which is a text or a list of parts."""
    return output if isinstance(output, str) else "\n".join(part.get("text", "") for part in output)


@pytest.fixture(autouse=True)
def _no_traces() -> None:
    set_tracing_disabled(True)  # they go to a service


def test_an_openai_agent_reads_instead(mcp_audit, script: Script, reads_instead):
    async def run(gw):
        async with MCPServerStdio(gw.config["mcpServers"]["files"], client_session_timeout_seconds=60) as files:
            agent = Agent("clerk", model=ScriptedModel(script), mcp_servers=[files])
            return await Runner.run(agent, REQUEST)

    with mcp_audit.gateway("files", agent="openai-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        ended = asyncio.run(run(gw))
    reads_instead(ended.final_output)


def test_over_http_it_gets_the_url(mcp_audit, curious: Script, takes_an_echo):
    async def run(gw):
        async with MCPServerStreamableHttp({"url": gw.url("everything")}) as everything:
            agent = Agent("clerk", model=ScriptedModel(curious), mcp_servers=[everything])
            return await Runner.run(agent, ASK)

    with mcp_audit.gateway("everything", agent="openai-2", request=ASK) as gw, mcp_audit.expect_denied():
        ended = asyncio.run(run(gw))
    takes_an_echo(ended.final_output)
