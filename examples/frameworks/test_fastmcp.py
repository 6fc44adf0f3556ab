"""The FastMCP client: takes the gateway's configuration as it is."""

import asyncio

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from scripted import REQUEST, Script


def test_a_fastmcp_client_reads_instead(mcp_audit, script: Script, reads_instead):
    async def run(gw):
        async with Client(gw.config) as client:
            step = script.decide()
            while not isinstance(step, str):
                result = await client.call_tool(step.tool, step.arguments, raise_on_error=False)
                step = script.decide("\n".join(part.text for part in result.content))
            return step

    with mcp_audit.gateway("files", agent="fastmcp-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        answer = asyncio.run(run(gw))
    reads_instead(answer)


def test_without_raise_on_error_a_denial_is_an_exception_that_names_the_rule(mcp_audit, script: Script):
    async def run(gw):
        async with Client(gw.config) as client:
            step = script.decide()
            with pytest.raises(ToolError, match="Denied by governance rule DEFAULT-DENY"):
                await client.call_tool(step.tool, step.arguments)

    with mcp_audit.gateway("files", agent="fastmcp-2", request=REQUEST) as gw, mcp_audit.expect_denied():
        asyncio.run(run(gw))
