"""The message as the policy sees it: one parsed copy of one received line.

Holds no wire text and decides nothing; `engine` reads it, the recorder makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["c2s", "s2c"]
Kind = Literal["request", "result", "error", "notification", "invalid"]


@dataclass(frozen=True, slots=True)
class Event:
    """One received message, strictly parsed.

    Args:
        ref: the message's record, "<segment>/<seq>".
        direction: "c2s" from the agent, "s2c" from the server.
        kind: what the message is; "invalid" where the strict parse failed.
        method: the method, for an answer that of its request; None where there is none.
        conn: the connection, minted by the recorder.
        server: the server's configured name.
        agent: the agent that the connection's token names; None for an unknown agent.
        tool: the tool of a `tools/call` or of its answer.
        params, result, error: the parsed members, None where absent.
        problems: codes of what the strict parse refused; empty for a sound message.
        origin: for a message about a task, the request that made it; None where the recorder knows no such task.
    """

    ref: str
    direction: Direction
    kind: Kind
    method: str | None
    conn: str
    server: str
    agent: str | None
    tool: str | None = None
    params: object = field(default=None, repr=False)
    result: object = field(default=None, repr=False)
    error: object = field(default=None, repr=False)
    problems: tuple[str, ...] = ()
    origin: Event | None = field(default=None, repr=False)
