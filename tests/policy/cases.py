"""What the policy tests share: a file system without disk, messages, and a judge from text."""

from collections.abc import Mapping, Sequence

from pytest_mcp_governance.policy.engine import Decision, Finding, Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.model import Policy
from pytest_mcp_governance.policy.verdicts import Mode

TOKEN = "ghp_" + "a1B2" * 9
BOOKS = """\
governance: 1
policy: read-only-books
rules:
- {id: READ, allow: ["books.get_*", "books.list_*"]}
"""


class Links:
    """Symlinks as a mapping from path to target; relative paths are taken from /rootdir."""

    def __init__(self, links: Mapping[str, str] | None = None) -> None:
        self.links = dict(links or {})
        self.asked: list[str] = []

    def real_path(self, path: str, *, root: str | None = None) -> str:
        self.asked.append(path)
        parts: list[str] = []
        pending = [*reversed((path if path.startswith("/") else f"{root or '/rootdir'}/{path}").split("/"))]
        for _ in range(1000):
            if not pending:
                return "/" + "/".join(parts)
            part = pending.pop()
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                target = self.links.get("/" + "/".join([*parts, part]))
                if target is None:
                    parts.append(part)
                else:
                    parts, pending = [], [*pending, *reversed(target.split("/"))]
        raise OSError("too many links")


class Broken:
    """A resolver that fails."""

    def real_path(self, path: str, *, root: str | None = None) -> str:
        raise OSError(f"no such place: {path}")


def policy(text: str, name: str = "test.policy.yaml") -> Policy:
    return load_policy(text, name=name)


def rules(*lines: str, head: str = "") -> str:
    """A policy text of these rules."""
    return "\n".join(["governance: 1", "policy: test", head, "rules:", *(f"- {line}" for line in lines)])


class Bench:
    """A judge with a counter for refs."""

    def __init__(
        self,
        *texts: str,
        mode: Mode | None = None,
        links: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.links = Links(links)
        policies = [policy(text) for text in texts]
        self.judge = Judge(policies, mode=mode, resolver=self.links, known_secrets=secrets)
        self._seq = 0

    def ref(self) -> str:
        self._seq += 1
        return f"main/{self._seq}"

    def ask(self, method: str, params: object = None, *, server: str = "books", agent: str | None = "a-1") -> Event:
        return Event(self.ref(), "c2s", "request", method, "c1", server, agent, None, params)

    def call_event(self, target: str, arguments: object = None, *, agent: str | None = "a-1") -> Event:
        server, _, tool = target.partition(".")
        params = {"name": tool, "arguments": {} if arguments is None else arguments}
        return Event(self.ref(), "c2s", "request", "tools/call", "c1", server, agent, tool, params)

    def call(self, target: str, arguments: object = None, *, agent: str | None = "a-1") -> Decision:
        return self.decide(self.call_event(target, arguments, agent=agent))

    def decide(self, event: Event, request: Event | None = None) -> Decision:
        decision = self.judge.decide(event, request)
        self.judge.recorded(event, decision, self.ref())
        return decision

    def answer_event(self, request: Event, result: object, *, error: object = None) -> Event:
        direction = "s2c" if request.direction == "c2s" else "c2s"
        kind = "result" if error is None else "error"
        return Event(
            self.ref(), direction, kind, request.method, request.conn, request.server, request.agent, request.tool,
            None, result, error,
        )  # fmt: skip

    def answer(self, request: Event, result: object, *, error: object = None) -> Decision:
        return self.decide(self.answer_event(request, result, error=error), request)

    def exchange(self, target: str, arguments: object, result: object) -> tuple[Decision, Decision]:
        request = self.call_event(target, arguments)
        return self.decide(request), self.answer(request, result)


def text_result(text: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": text}]}


def rules_of(findings: Sequence[Finding]) -> list[str]:
    return [finding.rule for finding in findings]
