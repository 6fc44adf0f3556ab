"""What a message is about: which tool, resource or prompt it names, or which part of the protocol it serves.

Names the subject only; whether it is allowed is decided in `ruling`. A message whose shape does not fit its
method raises, because a half-read message cannot be allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.later import (
    TASK_METHODS,
    TASK_NOTIFICATIONS,
    brought,
    call_behind,
    is_status,
    task_named,
)

SubjectKind = Literal[
    "protocol", "tool", "resource", "prompt", "sampling", "elicitation", "roots", "task", "unknown", "unknown-task",
    "unsolicited",
]  # fmt: skip

_ALWAYS: Mapping[tuple[str, str], frozenset[str]] = {
    ("c2s", "request"): frozenset(
        {
            "initialize", "ping", "server/discover", "tools/list", "resources/list", "resources/templates/list",
            "prompts/list", "tasks/list", "logging/setLevel",
        }
    ),
    ("s2c", "request"): frozenset({"ping", "roots/list", "tasks/list"}),
    ("c2s", "notification"): frozenset(
        f"notifications/{name}" for name in ("initialized", "cancelled", "progress", "roots/list_changed")
    ),
    ("s2c", "notification"): frozenset(
        f"notifications/{name}"
        for name in (
            "cancelled", "progress", "message", "resources/updated", "resources/list_changed", "tools/list_changed",
            "prompts/list_changed", "elicitation/complete", "subscriptions/acknowledged",
        )
    ),
}  # fmt: skip
_ASKED: Mapping[str, SubjectKind] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
_URI_METHODS = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})


class Shapeless(ValueError):
    """A message whose members do not have the shape that its method requires."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What one message is about.

    `names` are tool or prompt names, resource URIs or root URIs. `arguments` is None where a rule's `args` do
    not apply. `asks` are the questions to the agent's side, or the answers to them, that travel inside. A "task" is
    a message about a task that a call of this test made; that call has its own subject.
    """

    kind: SubjectKind
    names: tuple[str, ...] = ()
    arguments: Mapping[str, object] | None = field(default=None, repr=False)
    asks: tuple[Subject, ...] = ()


PROTOCOL_SUBJECT = Subject("protocol")


def subject_of(event: Event, request: Event | None) -> Subject:
    """The subject of a message; of an answer, that of the request it answers.

    Raises:
        Shapeless: members of the wrong type, or empty where a name belongs.
    """
    if event.kind == "error":
        if request is None or event.direction == "c2s" or request.direction == "s2c" or request.kind != "request":
            return PROTOCOL_SUBJECT
        return subject_of(call_behind(request), None)
    if event.kind == "result":
        return _answer(event, request)
    method = event.method
    if method in TASK_NOTIFICATIONS and event.kind == "notification":
        return _task_notification(event)
    if method in _ALWAYS.get((event.direction, event.kind), ()):
        return PROTOCOL_SUBJECT
    if event.kind != "request" or method is None:
        return Subject("unknown")
    if method in TASK_METHODS:
        return _task(event)
    if event.direction == "s2c":
        kind = _ASKED.get(method)
        return Subject(kind) if kind else Subject("unknown")
    return _request(event, method)


def _request(event: Event, method: str) -> Subject:
    if method == "tools/call":
        params = _object(event.params, "params")
        name = _name(params.get("name"), "the tool's name")
        if event.tool is not None and event.tool != name:
            raise Shapeless("the message names two tools")
        return Subject("tool", (name,), _arguments(params), _responses(params))
    if method in _URI_METHODS:
        params = _object(event.params, "params")
        uri = _name(params.get("uri"), "the resource's URI")
        return Subject("resource", (uri,), {"uri": uri}, _responses(params))
    if method == "prompts/get":
        params = _object(event.params, "params")
        return Subject(
            "prompt",
            (_name(params.get("name"), "the prompt's name"),),
            _arguments(params),
            _responses(params),
        )
    if method == "completion/complete":
        return _completion(_object(event.params, "params"))
    if method == "subscriptions/listen":
        return _listen(_object(event.params, "params"))
    return Subject("unknown")


def _task(event: Event) -> Subject:
    params = _object(event.params, "params")
    _name(params.get("taskId"), "the task's id")
    # Only the call that made a task says what may be done with it: without it nothing is allowed.
    return Subject("task", asks=_responses(params)) if event.origin is not None else Subject("unknown-task")


def _task_notification(event: Event) -> Subject:
    if is_status(event.params):
        return PROTOCOL_SUBJECT
    _name(task_named(event.params), "the task's id")
    if event.origin is None:
        return Subject("unknown-task")
    call = subject_of(event.origin, None)
    return Subject(call.kind, call.names, call.arguments, _requests(event.params))


def _completion(params: Mapping[str, object]) -> Subject:
    ref = _object(params.get("ref"), "ref")
    if ref.get("type") == "ref/prompt":
        return Subject("prompt", (_name(ref.get("name"), "the prompt's name"),))
    if ref.get("type") == "ref/resource":
        uri = _name(ref.get("uri"), "the template's URI")
        return Subject("resource", (uri,), {"uri": uri})
    return Subject("unknown")


def _listen(params: Mapping[str, object]) -> Subject:
    wanted = _optional(params.get("notifications"), "notifications").get("resourceSubscriptions")
    wanted = [] if wanted is None else wanted
    if not isinstance(wanted, list):
        raise Shapeless("resourceSubscriptions is no list")
    uris = tuple(_name(uri, "the resource's URI") for uri in wanted)
    return Subject("resource", uris) if uris else PROTOCOL_SUBJECT


def _answer(event: Event, request: Event | None) -> Subject:
    if request is None or request.direction == event.direction:
        return Subject("unsolicited")
    if request.kind != "request":
        return PROTOCOL_SUBJECT  # a malformed request, which was flagged when it came
    call = call_behind(request)
    if call.method in TASK_METHODS:
        return Subject("unknown-task")
    if event.direction == "c2s":
        kind = _ASKED.get(call.method or "")
        if kind == "roots":
            return _roots(_object(event.result, "result"))
        return Subject(kind) if kind else PROTOCOL_SUBJECT
    asked = subject_of(call, None)
    inner = _requests(event.result)
    result = brought(event, request).result
    if result is not event.result:
        inner += _requests(result)
    return Subject(asked.kind, asked.names, asked.arguments, inner) if inner else asked


def _requests(result: object) -> tuple[Subject, ...]:
    """What an `input_required` result asks of the agent's side."""
    if not isinstance(result, dict) or not ("inputRequests" in result or result.get("resultType") == "input_required"):
        return ()
    asked = _optional(result.get("inputRequests"), "inputRequests")
    methods = [_object(question, "an input request").get("method") for question in asked.values()]
    return tuple(Subject(_ASKED.get(method, "unknown") if isinstance(method, str) else "unknown") for method in methods)


def _responses(params: Mapping[str, object]) -> tuple[Subject, ...]:
    """What a retried request answers to such questions; the answer's shape says which question it was."""
    given = _optional(params.get("inputResponses"), "inputResponses")
    return tuple(_response(_object(response, "an input response")) for response in given.values())


def _response(response: Mapping[str, object]) -> Subject:
    if sum(key in response for key in ("roots", "action", "role")) > 1:
        raise Shapeless("an input response answers two kinds of question at once")
    if "roots" in response:
        return _roots(response)
    if "action" in response:
        return Subject("elicitation")
    return Subject("sampling" if "role" in response else "unknown")


def _roots(result: Mapping[str, object]) -> Subject:
    roots = result.get("roots")
    if not isinstance(roots, list):
        raise Shapeless("the answer has no list of roots")
    return Subject("roots", tuple(_name(_object(root, "a root").get("uri"), "the root's URI") for root in roots), {})


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Shapeless(f"{what} is no object")
    return value


def _arguments(params: Mapping[str, object]) -> Mapping[str, object]:
    return _optional(params.get("arguments"), "arguments")


def _optional(value: object, what: str) -> Mapping[str, object]:
    return {} if value is None else _object(value, what)


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise Shapeless(f"{what} is missing, empty or no text")
    return value
