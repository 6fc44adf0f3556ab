"""What an MCP SDK result says, the same under SDK 1.x and 2.x."""

from __future__ import annotations

from mcp.types import CallToolResult

from agents.scripted import Observation


def observation(result: CallToolResult) -> Observation:
    """The text parts of a tool result, and whether it is an error."""
    text = "\n".join(part.text for part in result.content if part.type == "text")
    # `isError` in SDK 1.x as on the wire, `is_error` in SDK 2.x.
    is_error = getattr(result, "is_error", None) or getattr(result, "isError", False)
    return Observation(text, bool(is_error))
