"""Claude Agent SDK: the SDK is real, the program that it starts is a stand-in, which shows what it was told."""

import asyncio
import json
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query
from scripted import REQUEST, Script

STAND_IN = Path(__file__).with_name("claude_stand_in.py")


def options_for(gw, **more) -> ClaudeAgentOptions:
    """Only audited servers, and nothing beside them."""
    return ClaudeAgentOptions(
        mcp_servers=gw.config["mcpServers"],
        strict_mcp_config=True,  # no servers of the user, the project or a plugin
        setting_sources=[],  # no settings, hooks and agents of theirs either
        tools=[],  # no built-in tools: what they do is no MCP
        allowed_tools=["mcp__files"],
        **more,
    )


def test_what_the_sdk_starts_knows_the_audited_servers_and_no_others(
    mcp_audit, script: Script, note: Path, reads_instead
):
    async def run(gw):
        options = options_for(gw, cli_path=STAND_IN, env={"NOTE": str(note)})
        return [message async for message in query(prompt=REQUEST, options=options)]

    with mcp_audit.gateway("files", agent="claude-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        messages = asyncio.run(run(gw))
        config = gw.config
    (result,) = [message for message in messages if isinstance(message, ResultMessage)]
    said = json.loads(result.result)
    script.seen += said["seen"]
    reads_instead(said["answer"])

    given = said["arguments"]
    assert json.loads(given[given.index("--mcp-config") + 1]) == config
    assert "--strict-mcp-config" in given
    assert "--setting-sources=" in given
    assert given[given.index("--tools") + 1] == ""
