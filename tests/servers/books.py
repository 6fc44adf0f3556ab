"""A real stdio MCP server for the tests: a small ledger of books. Works with SDK 1.26 and newer and with 2.x.

What it was really asked goes to the file named by BOOKS_LOG, one JSON object a line, for tests that compare the
evidence with the server's own record. `crash` ends the process; BOOKS_DIE=start ends it before it answers.
"""

import json
import os
import sys

if os.environ.get("BOOKS_DIE") == "start":
    sys.exit("books: the ledger is locked")

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:  # SDK 2.x
    from mcp.server import MCPServer as FastMCP

server = FastMCP("books")


def log(tool: str, **arguments: object) -> None:
    path = os.environ.get("BOOKS_LOG")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"tool": tool, "arguments": arguments}) + "\n")


@server.tool()
def get_vendor(id: str) -> str:
    """One vendor."""
    log("get_vendor", id=id)
    return json.dumps({"id": id, "name": "Acme"})


@server.tool()
def pay(amount: int) -> str:
    """Pay an amount in cents."""
    log("pay", amount=amount)
    return f"paid {amount}"


@server.tool()
def delete_vendor(id: str) -> str:
    """Remove a vendor."""
    log("delete_vendor", id=id)
    return f"deleted {id}"


@server.tool()
def crash() -> str:
    """End the server in the middle of a call."""
    log("crash")
    os._exit(3)


if __name__ == "__main__":
    server.run("stdio")
