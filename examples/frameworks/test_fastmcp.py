"""The FastMCP client: takes the gateway's configuration as it is."""

import asyncio

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from scripted import ASK, REQUEST, Script


async def run(gw, script: Script) -> str:
    async with Client(gw.config) as client:
        step = script.decide()
        while not isinstance(step, str):
            result = await client.call_tool(step.tool, step.arguments, raise_on_error=False)
            step = script.decide("\n".join(part.text for part in result.content))
        return step


def test_a_fastmcp_client_reads_instead(mcp_audit, script: Script, reads_instead):
    with mcp_audit.gateway("files", agent="fastmcp-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        answer = asyncio.run(run(gw, script))
    reads_instead(answer)


def test_over_http_the_line_is_the_same(mcp_audit, curious: Script, takes_an_echo):
    with mcp_audit.gateway("everything", agent="fastmcp-3", request=ASK) as gw, mcp_audit.expect_denied():
        answer = asyncio.run(run(gw, curious))
    takes_an_echo(answer)


def test_without_raise_on_error_a_denial_is_an_exception_that_names_the_rule(mcp_audit, script: Script):
    async def run(gw):
        async with Client(gw.config) as client:
            step = script.decide()
            with pytest.raises(ToolError, match="Denied by governance rule DEFAULT-DENY"):
                await client.call_tool(step.tool, step.arguments)

    with mcp_audit.gateway("files", agent="fastmcp-2", request=REQUEST) as gw, mcp_audit.expect_denied():
        asyncio.run(run(gw))
