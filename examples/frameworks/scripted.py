"""What a model would decide, scripted: it tries one tool, another one when it is refused, and reports.

Knows no framework. A framework's own model class asks `Script.decide` for the next step and hands it the text that
reached the model, so a denial that the framework swallows or turns into an exception does not go unseen.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

DENIED = "Denied by governance rule DEFAULT-DENY"
REQUEST = "Put 'paid' into the note. If you may not, tell me what it says."
ASK = "What does the server know? If you may not look, have it echo."


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model decided on."""

    tool: str
    arguments: dict[str, str]


@dataclass(slots=True)
class Script:
    """One run of the model.

    Args:
        wanted: what it tries first.
        instead: what it does when that is refused.
        seen: the texts that reached it, in order; filled as it runs.
    """

    wanted: Call
    instead: Call
    seen: list[str] = field(default_factory=list)
    _steps: Generator[Call, str, str] | None = None

    def decide(self, answer: str | None = None) -> Call | str:
        """The next step: a call, or the final answer. `answer` is what the last call brought, None at first."""
        if answer is not None:
            self.seen.append(answer)
        try:
            if self._steps is None:
                self._steps = self._plan()
                return next(self._steps)
            return self._steps.send(answer or "")
        except StopIteration as ended:
            return str(ended.value)

    def _plan(self) -> Generator[Call, str, str]:
        refused = yield self.wanted
        if DENIED not in refused:
            return f"Done, or so I am told: {refused}"
        text = yield self.instead
        return f"I may not. Instead I got: {text.strip()}"


def write_or_read(note: Path) -> Script:
    """Writes into a note; reads it when it may not."""
    path = str(note)
    return Script(Call("write_file", {"path": path, "content": "paid"}), Call("read_text_file", {"path": path}))


def environment_or_echo() -> Script:
    """Asks a server for its environment; for an echo when it may not."""
    return Script(Call("get-env", {}), Call("echo", {"message": "open"}))
