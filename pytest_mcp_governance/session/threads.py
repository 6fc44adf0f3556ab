"""What a message goes back to where no id says it: the call that made a task, the round before, the page before.

Spans the connections of one test attempt, because an agent may open one for every call. Remembers only what was passed
on; knows nothing of whether it was allowed.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import replace

from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.later import TASK_METHODS, TASK_NOTIFICATIONS, task_made, task_named
from pytest_mcp_governance.session.wire import Direction, Message

# Past this many the oldest are forgotten: a message about a forgotten task is one about an unknown task, and denied.
MOST_REMEMBERED = 10_000

_ASKING = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_LISTS = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list", "tasks/list"})


class Threads:
    """The threads of one test attempt."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[Hashable, Event | None] = OrderedDict()
        self._refs: OrderedDict[Hashable, str] = OrderedDict()

    def in_another_run(self) -> "Threads":
        """The same tasks, seen from a run in which the calls that made them are on no record."""
        after = Threads()
        after._tasks.update((key, replace(call, ref="") if call else None) for key, call in self._tasks.items())
        return after

    def follow(self, message: Message, *, conn: str, server: str, agent: str) -> Message:
        """The message with what it goes back to; its problems where it takes the name of another call's task.

        Args:
            message: a classified message.
            conn, server, agent: its connection and who speaks on it.
        """
        if message.problems:
            return message
        whose = (agent, server)
        if message.request is not None:
            return self._answer(message, conn, whose)
        params = message.parsed.fields.get("params")
        if not isinstance(params, dict):
            return message
        if message.method in TASK_METHODS or message.method in TASK_NOTIFICATIONS:
            maker: Direction = _other(message.direction) if message.id is not None else message.direction
            call = self._task(task_named(params), conn, (*whose, maker))
            if call is None:
                return message
            return replace(message, earlier=call.ref or None, origin=call, tool=call.tool)
        if message.method in _ASKING and ("requestState" in params or "inputResponses" in params):
            state = _state(params)
            before = self._refs.get((*whose, state)) if state else None
            before = before or self._refs.get((*whose, *_questions(message.method, params, "inputResponses")))
            return replace(message, earlier=before, state_sha256=state)
        if message.method in _LISTS and isinstance(params.get("cursor"), str):
            return replace(message, earlier=self._refs.get((*whose, message.method, params["cursor"])))
        return message

    def passed_on(self, message: Message, *, conn: str, server: str, agent: str) -> None:
        """Remember what an answer that reached the other side will be referred to by."""
        result = message.parsed.fields.get("result")
        if message.request is None or message.problems or not isinstance(result, dict):
            return
        call, whose = message.request.event, (agent, server)
        if message.method in _LISTS:
            if isinstance(result.get("nextCursor"), str):
                self._remember((*whose, message.method, result["nextCursor"]), call.ref)
            return
        task = task_made(result)
        if task is not None and message.method not in TASK_METHODS:
            maker = (*whose, message.direction)
            self._keep_task((conn, *maker, task), call)
            anywhere = (None, *maker, task)
            # The same id from two processes of one server: without its connection nobody knows which is meant.
            same = anywhere not in self._tasks or _same(self._tasks[anywhere], call)
            self._keep_task(anywhere, call if same else None)
        if message.method in _ASKING and ("requestState" in result or "inputRequests" in result):
            state = _state(result)
            if state:
                self._remember((*whose, state), call.ref)
            params = call.params if isinstance(call.params, dict) else {}
            asked = {**params, "inputResponses": result.get("inputRequests")}
            self._remember((*whose, *_questions(message.method, asked, "inputResponses")), call.ref)

    def _answer(self, message: Message, conn: str, whose: tuple[str, str]) -> Message:
        assert message.request is not None
        result = message.parsed.fields.get("result")
        call = message.request.event
        if not isinstance(result, dict) or message.method in TASK_METHODS:
            return message
        task = task_made(result)
        if task is not None:
            known = self._tasks.get((conn, *whose, message.direction, task))
            if known is not None and not _same(known, call):
                return replace(message, problems=("duplicate-task",))
        state = _state(result)
        return replace(message, state_sha256=state) if state else message

    def _task(self, task: str | None, conn: str, maker: tuple[str, str, Direction]) -> Event | None:
        if task is None:
            return None
        here = self._tasks.get((conn, *maker, task))
        return here if here is not None else self._tasks.get((None, *maker, task))

    def _keep_task(self, key: Hashable, call: Event | None) -> None:
        self._tasks[key] = call
        if len(self._tasks) > MOST_REMEMBERED:
            self._tasks.popitem(last=False)

    def _remember(self, key: Hashable, ref: str) -> None:
        self._refs[key] = ref
        if len(self._refs) > MOST_REMEMBERED:
            self._refs.popitem(last=False)


def _state(holder: Mapping[str, object]) -> str | None:
    state = holder.get("requestState")
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(state, str) else None


def _questions(method: str | None, params: Mapping[str, object], member: str) -> tuple[object, ...]:
    """What a round without state is known by: the request, and which questions were asked."""
    asked = params.get(member)
    subject = params.get(_ASKING[method]) if method in _ASKING else None
    return method, subject if isinstance(subject, str) else None, frozenset(asked if isinstance(asked, dict) else ())


def _same(one: Event | None, other: Event) -> bool:
    return one is not None and (one.ref == other.ref or (one.method, one.params) == (other.method, other.params))


def _other(direction: Direction) -> Direction:
    return "s2c" if direction == "c2s" else "c2s"
