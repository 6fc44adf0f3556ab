"""Results that come later than the answer: tasks, and questions that an answer asks first.

Says which part of a message is the result that a call was made for; whether it is allowed is `engine`'s. Which call
made a task is the recorder's to find (`Event.origin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_mcp_governance.policy.events import Event

# MCP 2025-11-25 "Tasks" and the tasks extension of 2026-07-28.
TASK_METHODS = frozenset({"tasks/get", "tasks/result", "tasks/cancel", "tasks/update"})
TASK_NOTIFICATIONS = frozenset({"notifications/tasks", "notifications/tasks/status"})

_STATE_OF_TASK = frozenset(
    {
        "taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttl", "ttlMs", "pollInterval",
        "pollIntervalMs", "_meta", "resultType",
    }
)  # fmt: skip
_NO_RESULT_YET = _STATE_OF_TASK | {"task", "inputRequests", "requestState"}


def task_made(result: object) -> str | None:
    """The id of the task that an answer announces in the place of a result, None where it announces none."""
    if not isinstance(result, dict):
        return None
    task = result if result.get("resultType") == "task" else result.get("task")
    task_id = task.get("taskId") if isinstance(task, dict) else None
    return task_id if isinstance(task_id, str) and task_id else None


def task_named(params: object) -> str | None:
    """The task that a message of a task method is about."""
    task_id = params.get("taskId") if isinstance(params, dict) else None
    return task_id if isinstance(task_id, str) and task_id else None


def is_status(params: object) -> bool:
    """Whether a notification about a task says nothing but where the task stands."""
    return isinstance(params, dict) and _STATE_OF_TASK.issuperset(params)


def call_behind(request: Event) -> Event:
    """The request whose result an answer to `request` brings: for a task, the call that made it."""
    return request.origin if request.method in TASK_METHODS and request.origin is not None else request


def brought(event: Event, request: Event | None) -> Event:
    """The answer as the call behind it sees it: its result, its error, or a mere message where neither is there yet.

    Args:
        event: an answer, or a notification about a task.
        request: what it answers, None for a notification.
    """
    method = event.method if request is None else request.method
    state = event.params if event.kind == "notification" else event.result
    call = event.origin if request is None else call_behind(request)
    if event.kind == "error" or not isinstance(state, Mapping):
        return event
    about_task = method in TASK_METHODS | TASK_NOTIFICATIONS
    if about_task and method != "tasks/result":
        if "result" in state:
            return replace(event, kind="result", result=state["result"], tool=call.tool if call else None)
        # Where a task stands is a message about the call, as an error is, and not the data that was asked for.
        return replace(event, kind="error", error=state)
    waiting = task_made(state) is not None or state.get("resultType") == "input_required" or "inputRequests" in state
    if waiting and _NO_RESULT_YET.issuperset(state):
        return replace(event, kind="error", error=state)
    return event
