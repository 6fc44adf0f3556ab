"""The view model: frozen values that the page and the terminal show. From ledger records only.

Leaves out how records are read (collect.py), what is said about them (text.py) and how it looks (page.py).
A value that was withheld stands here as `Withheld`, never as an empty text.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_mcp_governance.evidence.reader import Withheld

Text = str | Withheld


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where and when a record was written: `t` as recorded, `us` microseconds since 1970, `m` ns in its segment."""

    ref: str
    segment: str
    seq: int
    t: str
    us: int
    m: int
    test: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Message:
    at: Stamp
    direction: str
    kind: str
    method: Text
    conn: str
    server: str
    agent: str
    tool: Text | None
    synthesised: bool
    about: str
    problems: tuple[str, ...]
    wire: Text
    is_base64: bool

    @property
    def is_answer(self) -> bool:
        """Whether it answers the message that it is about; any other may go back to one as well."""
        return bool(self.about) and self.kind in ("result", "error", "invalid")


@dataclass(frozen=True, slots=True)
class Decision:
    at: Stamp
    moment: str
    rule: str
    clause: str
    verdict: str
    effect: str
    about: str
    reason: Text


@dataclass(frozen=True, slots=True)
class Access:
    at: Stamp
    agent: str
    server: str
    tool: Text | None
    scope: str
    scope_class: str
    status: str
    data: Text
    how: str
    about: str
    fields: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Screen:
    """A picture bound to a message: a `screen`, or an `image` that a tool answered with.

    `digest` is empty when the capture failed.
    """

    at: Stamp
    kind: str
    media_type: str
    size: int
    digest: Text
    about: str
    agent: str
    moment: str
    url: Text
    title: Text
    offset_ms: float | None
    masked: bool
    failed: bool
    reason: Text

    @property
    def is_screen(self) -> bool:
        """It was taken of a browser, and not answered by a tool."""
        return self.kind == "screen" and not self.failed


@dataclass(frozen=True, slots=True)
class Context:
    at: Stamp
    kind: str
    agent: str
    text: Text


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    `number` counts in the order shown, `calls` are the numbers of the calls it is about. `about` is the message
    that it names; a finding that names none, such as an expectation that was not met, is about its test. `known` is
    the entry of the suite's baseline that speaks of it, `known_entry` what that says.
    """

    at: Stamp
    number: int
    state: str
    mode: str
    rule: str
    clause: str
    controls: tuple[str, ...]
    refs: tuple[str, ...]
    expected: bool
    reason: Text
    agent: str
    server: str
    tool: Text | None
    scope: str
    source: str
    detail: tuple[tuple[str, Text], ...]
    calls: tuple[int, ...]
    concluded: bool = True
    about: Message | None = None
    known: str = ""
    known_entry: tuple[tuple[str, Text], ...] = ()

    @property
    def counts(self) -> bool:
        """It fails the run: not expected by its test, and the policy enforces."""
        return not self.expected and self.mode != "observe"

    @property
    def shown_state(self) -> str:
        """The key of `text.STATES` under which it is shown."""
        if self.expected:
            return f"expected_{self.state}"
        return "observed" if self.mode == "observe" else self.state

    @property
    def is_by_server(self) -> bool:
        """It is about what a server sent of its own accord, not about a call of an agent."""
        return self.about is not None and self.about.direction == "s2c" and not self.about.is_answer


@dataclass(frozen=True, slots=True)
class Call:
    """A request with everything that was recorded about it.

    `continues` is the number of the call whose answer asked for the input that this one brings, 0 for none. `later` are
    the messages about it besides its answer: its task, its progress, its cancellation.
    """

    number: int
    request: Message
    answer: Message | None
    delivered: Message | None
    decisions: tuple[Decision, ...]
    accesses: tuple[Access, ...]
    screens: tuple[Screen, ...]
    contexts: tuple[Context, ...]
    findings: tuple[int, ...]
    previous: int
    state: str
    continues: int = 0
    later: tuple[Message, ...] = ()

    @property
    def decision(self) -> Decision | None:
        """The decision on the request itself."""
        return next((d for d in self.decisions if d.about == self.request.at.ref), None)

    @property
    def denied(self) -> bool:
        return any(d.verdict == "deny" and d.effect != "forward" for d in self.decisions)

    @property
    def duration_ms(self) -> float | None:
        """From the request to the answer by the recorder's own monotonic clock."""
        last = self.answer or self.delivered
        if last is None or last.at.segment != self.request.at.segment:
            return None
        return (last.at.m - self.request.at.m) / 1e6


@dataclass(frozen=True, slots=True)
class TestRun:
    """One attempt of one test; `outcome` is empty when it never ended."""

    __test__ = False
    name: str
    attempt: int
    nodeid: Text
    agent: str
    controls: tuple[str, ...]
    started: Stamp
    ended: Stamp | None
    outcome: str
    failure: Text
    mode: str
    policy: str


@dataclass(frozen=True, slots=True)
class PolicySource:
    name: str
    kind: str
    digest: str
    mode: str
    text: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Split at newlines only, so that numbers agree with those in findings."""
        return tuple(self.text.removesuffix("\n").split("\n")) if self.text else ()


@dataclass(frozen=True, slots=True)
class Server:
    """One MCP server as its sessions named it."""

    name: str
    transport: str
    title: str
    protocol: str
    command: str
    sessions: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected; `require` says that the run was to fail if any test was unaudited."""

    selected: tuple[str, ...]
    unaudited: int
    deselected: int
    collection: str
    require: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    at: Stamp
    what: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServerOutput:
    """A server's stderr, exit code, or a message that could not be passed on."""

    at: Stamp
    stream: str
    server: str
    agent: str
    text: Text
    code: str


@dataclass(frozen=True, slots=True)
class WithheldCount:
    """Values that the file commits to and does not disclose, counted as the verifier counts them.

    `of_pictures` of the `values` are digests, addresses and titles of the withheld `screens` and `images`.
    """

    values: int = 0
    of_pictures: int = 0
    screens: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A whole run, joined. Calls, findings and messages are in the order of their recorded times."""

    run: str
    calls: tuple[Call, ...]
    messages: tuple[tuple[Message, Decision | None], ...]
    findings: tuple[Finding, ...]
    accesses: tuple[Access, ...]
    screens: tuple[Screen, ...]
    contexts: tuple[Context, ...]
    tests: tuple[TestRun, ...]
    policies: tuple[PolicySource, ...]
    modes: tuple[str, ...]
    servers: tuple[Server, ...]
    selection: Selection | None
    gaps: tuple[Gap, ...]
    outputs: tuple[ServerOutput, ...]
    agents: tuple[str, ...]
    missing_segments: tuple[str, ...]
    producers: tuple[str, ...]
    platforms: tuple[str, ...]
    judged: bool
    outcomes: tuple[tuple[str, int], ...]
    missing_tests: tuple[str, ...]
    unfinished_tests: int
    withheld: WithheldCount
    records: int
    first: Stamp | None
    last: Stamp | None
    gate: str = "any"
    unaudited_servers: tuple[str, ...] = ()
