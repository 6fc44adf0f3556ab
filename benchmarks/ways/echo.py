"""An SDK server with one tool that answers with what it was given: over stdio, or over HTTP at the port it is told."""

import sys

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:  # SDK 2.x
    from mcp.server import MCPServer as FastMCP

server = FastMCP("echo")


@server.tool()
def echo(text: str) -> str:
    """The same text."""
    return text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import uvicorn

        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
    else:
        server.run()
