"""A server on the MCP SDK 2.x, revision 2026-07-28: it asks in rounds, and brings one result later, as a task.

Run by an interpreter that has `mcp>=2`. Every tool that runs is written to the file named in its argument.
"""

import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import Context
from mcp_types import InputRequiredResult, InputResponses, RequestParams

ran = Path(sys.argv[1])
QUESTIONS: dict[str, Any] = {
    "ask_user": {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": "who are you?", "requestedSchema": {"type": "object", "properties": {}}},
    },
    "ask_model": {
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "how much?"}}], "maxTokens": 10},
    },
    "ask_roots": {"method": "roots/list"},
}
TASK = {
    "taskId": "t-1",
    "createdAt": "2026-07-28T00:00:00Z",
    "lastUpdatedAt": "2026-07-28T00:00:00Z",
    "ttlMs": None,
}


def note(text: str) -> None:
    """The witness: a tool that ran says so here."""
    with ran.open("a") as file:
        file.write(text + "\n")


class TaskParams(RequestParams):
    """Params of the task methods."""

    task_id: str
    input_responses: InputResponses | None = None


class Tasks(Extension):
    """`report` becomes a task that asks once and then has its result."""

    identifier = "io.modelcontextprotocol/tasks"
    answered = False

    def methods(self) -> list[MethodBinding]:
        made = (("tasks/get", self.get), ("tasks/update", self.update), ("tasks/cancel", self.cancel))
        return [MethodBinding(name, TaskParams, handler) for name, handler in made]

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        if params.name != "report":
            return await call_next(ctx)
        note("report")
        return {"resultType": "task", "status": "working", **TASK}

    async def get(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        if not self.answered:
            asked = {"who": QUESTIONS["ask_user"]}
            return {"resultType": "complete", "status": "input_required", "inputRequests": asked, **TASK}
        iban = "DE89370400440532013000"
        result = {"content": [{"type": "text", "text": f"pay {iban}"}], "structuredContent": {"iban": iban}}
        return {"resultType": "complete", "status": "completed", "result": result, **TASK}

    async def update(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        self.answered = True
        return {"resultType": "complete"}

    async def cancel(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        return {"resultType": "complete"}


server = MCPServer("rounds", extensions=[Tasks()])


async def ask(ctx: Context, name: str) -> str | InputRequiredResult:
    responses = ctx.input_responses
    if not responses:
        note(f"{name} asked")
        return InputRequiredResult.model_validate(
            {"inputRequests": {"q": QUESTIONS[name]}, "requestState": f"{name} 1"}
        )
    note(f"{name} answered")
    return f"it was {ctx.request_state}"


@server.tool()
async def ask_user(ctx: Context) -> str | InputRequiredResult:
    return await ask(ctx, "ask_user")


@server.tool()
async def ask_model(ctx: Context) -> str | InputRequiredResult:
    return await ask(ctx, "ask_model")


@server.tool()
async def ask_roots(ctx: Context) -> str | InputRequiredResult:
    return await ask(ctx, "ask_roots")


@server.tool()
async def report() -> str:
    return "never: the extension makes it a task"


@server.resource("doc://notes")
def notes() -> str:
    return "notes"


if __name__ == "__main__":
    server.run()
