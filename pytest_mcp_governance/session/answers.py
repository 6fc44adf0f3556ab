"""Messages that the recorder makes itself when it blocks: what the agent, or the server, is told instead.

MCP 2025-11-25 "Tools / Error handling" and JSON-RPC 2.0 section 5.1. Every one is recorded as synthesised.
"""

import json

from pytest_mcp_governance.session.wire import Message, Request

DENIED = -32001
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603


def refusal(message: Message, text: str) -> bytes | None:
    """The answer to a refused request, or None where nobody waits for one (a notification, an answer).

    Args:
        message: the message that is not forwarded.
        text: what the asking side may know: rule, place and reason.
    """
    if message.method is not None and message.parsed.kind == "request" and message.id is not None:
        return _refuse(message.method, message.id, text)
    if message.parsed.kind != "invalid" and not message.problems:
        return None
    ids = _waiting_ids(message.parsed.value)
    answers = [_error(id_, INVALID_REQUEST, text) for id_ in ids]
    if isinstance(message.parsed.value, list):
        return _encode(answers) if answers else None
    return _encode(answers[0]) if answers else None


def replacement(request: Request, text: str) -> bytes:
    """What the asking side gets in the place of a withheld answer to its `request`."""
    event = request.event
    # A task's result is that of the call that made it, and reaches the model like one.
    behind = event.origin if event.method == "tasks/result" and event.origin is not None else event
    return _refuse(behind.method or "", request.id, text)


def failure(request: Request, text: str) -> bytes:
    """What the asking side gets where its forwarded `request` finds no answer: a JSON-RPC error, for a call too.

    Unlike a refusal it says nothing to the model: nobody knows whether the call had its effect.
    """
    return _encode(_error(request.id, INTERNAL_ERROR, text))


def _refuse(method: str, id_: int | str, text: str) -> bytes:
    if method != "tools/call":
        return _encode(_error(id_, DENIED, text))
    # An isError result reaches the model; a JSON-RPC error raises out of the frameworks' clients.
    result = {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}
    return _encode({"jsonrpc": "2.0", "id": id_, "result": result})


def _error(id_: int | str, code: int, text: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": text}}


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _waiting_ids(value: object) -> list[int | str]:
    items = value if isinstance(value, list) else [value]
    # Whoever sends an answer waits for nothing.
    asked = [item for item in items if isinstance(item, dict) and not {"result", "error"} & item.keys()]
    found = [item.get("id") for item in asked]
    return [i for i in found if isinstance(i, int | str) and not isinstance(i, bool)]
