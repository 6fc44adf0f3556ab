"""What a proxy made of SDK 2.x pieces costs: its server in front, its client behind, every call made anew.

Records nothing and judges nothing. Run as a stdio server, with the command of the server behind it as arguments.
"""

import asyncio
import sys
import warnings

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def main() -> None:
    behind = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    async with stdio_client(behind) as (read, write), ClientSession(read, write) as client:
        await client.initialize()

        async def list_tools(_context, _params):  # type: ignore[no-untyped-def]  # the SDK's own types, handed through
            return await client.list_tools()

        async def call_tool(_context, params):  # type: ignore[no-untyped-def]  # as above
            return await client.call_tool(params.name, params.arguments)

        server = Server("proxy", on_list_tools=list_tools, on_call_tool=call_tool)
        async with stdio_server() as (front, back):
            await server.run(front, back, server.create_initialization_options())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
