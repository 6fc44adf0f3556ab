"""A real MCP server over HTTP, on whichever SDK its interpreter has: `python over_http.py LOG [json|stateless|sse] …`.

Prints the port it listens on. LOG gets one JSON object for every HTTP request, its headers and body as they came, and
one for every client that hung up before its answer was complete. `cert=FILE` makes it serve https.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from mcp.types import SamplingMessage, TextContent
from pydantic import BaseModel

try:
    from mcp.server.fastmcp import Context, FastMCP

    NEWER = False
except ImportError:
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as FastMCP

    NEWER = True


class Answer(BaseModel):
    colour: str


def make(options: dict[str, object]) -> Any:
    server = FastMCP("over-http", **options)

    @server.tool()
    def get_vendor(id: str) -> str:
        """A vendor."""
        return f"vendor {id}"

    @server.tool()
    def delete_vendor(id: str) -> str:
        """Delete a vendor."""
        return f"deleted {id}"

    @server.tool()
    def get_much(size: int) -> str:
        """A long text."""
        return "x" * size

    @server.tool()
    async def get_slowly(ctx: Context, steps: int, pause_s: float = 0.0) -> str:
        """Progress, and then a result."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps)
            await asyncio.sleep(pause_s)
        return "done"

    @server.tool()
    async def get_sampled(ctx: Context) -> str:
        """Ask the client's model."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text="what is up?"))
        made = await ctx.session.create_message(messages=[message], max_tokens=10)
        return f"sampled {made.content.text}"

    @server.tool()
    async def get_elicited(ctx: Context) -> str:
        """Ask the user."""
        made = await ctx.elicit("which colour?", Answer)
        return f"elicited {made.action} {made.data.colour if made.action == 'accept' else ''}"

    return server


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Witness:
    """What reached the server, written down before the server sees it."""

    def __init__(self, app: Any, log: str) -> None:
        self._app = app
        self._log = log

    def say(self, **fields: object) -> None:
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = b""
        complete = False

        async def heard() -> dict[str, Any]:
            nonlocal body
            event = await receive()
            if event["type"] == "http.disconnect" and not complete:
                self.say(left=scope["method"])
            body += event.get("body", b"")
            if event["type"] == "http.request" and not event.get("more_body"):
                headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
                self.say(method=scope["method"], headers=headers, body=body.decode())
            return event

        async def said(event: dict[str, Any]) -> None:
            nonlocal complete
            complete = complete or (event["type"] == "http.response.body" and not event.get("more_body"))
            await send(event)

        if scope["method"] != "POST":
            headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
            self.say(method=scope["method"], headers=headers, body="")
            await self._app(scope, receive, said)
        else:
            await self._app(scope, heard, said)


def main() -> None:
    log, *modes = sys.argv[1:]
    named = dict(mode.split("=", 1) for mode in modes if "=" in mode)
    options: dict[str, object] = {}
    if "json" in modes:
        options["json_response"] = True
    if "stateless" in modes:
        options["stateless_http"] = True
    if NEWER:
        app = make({}).sse_app() if "sse" in modes else make({}).streamable_http_app(**options)
    else:
        app = make(options).sse_app() if "sse" in modes else make(options).streamable_http_app()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    tls = {"ssl_certfile": named["cert"]} if "cert" in named else {}
    config = uvicorn.Config(Witness(app, log), log_level="warning", **tls)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
