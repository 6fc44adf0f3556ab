"""LangChain and LangGraph: langchain-mcp-adapters opens one connection a call, all of them in the evidence."""

import asyncio

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from pydantic import SkipValidation
from scripted import ASK, REQUEST, Script


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers with whatever the script decides on next."""

    script: SkipValidation[Script]

    def _generate(self, messages: list[BaseMessage], *args: object, **kwargs: object) -> ChatResult:
        last = messages[-1]
        step = self.script.decide(str(last.text) if isinstance(last, ToolMessage) else None)
        if isinstance(step, str):
            message = AIMessage(step)
        else:
            call = {"name": step.tool, "args": step.arguments, "id": f"call-{len(messages)}"}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(self, tools: object, **kwargs: object) -> "ScriptedChatModel":
        return self

    @property
    def _llm_type(self) -> str:
        return "scripted"


async def run(gw, script: Script, request: str) -> list[BaseMessage]:
    client = MultiServerMCPClient(gw.servers)
    agent = create_agent(ScriptedChatModel(script=script), await client.get_tools())
    return (await agent.ainvoke({"messages": [("user", request)]}))["messages"]


def test_a_langchain_agent_reads_instead(mcp_audit, script: Script, reads_instead):
    with mcp_audit.gateway("files", agent="langchain-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        messages = asyncio.run(run(gw, script, REQUEST))
    reads_instead(messages[-1].text)
    refused = next(message for message in messages if isinstance(message, ToolMessage))
    assert refused.status == "error"


def test_over_http_the_line_is_the_same(mcp_audit, curious: Script, takes_an_echo):
    with mcp_audit.gateway("everything", agent="langchain-2", request=ASK) as gw, mcp_audit.expect_denied():
        messages = asyncio.run(run(gw, curious, ASK))
    takes_an_echo(messages[-1].text)
