"""What a run had, as far as an approval keeps it: agents, tools, data scopes, servers, tests, policies, findings.

From clear fields only, so that nothing which a report may withhold gets into a file that is committed. Read from
records, written to an approval and read back. Leaves out comparing (`compare`) and signing (`approve`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.recount import STATES, Recount

NO_CLEAR_NAME = "(name not in the clear)"
MAX_POLICY_BYTES = 262_144
_METHODS = frozenset({"resources/read", "resources/subscribe", "prompts/get", "completion/complete"})
Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AgentUse:
    """What one agent called, or tried to, and the data scopes that it accessed, or tried to."""

    tools: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """One policy source; `text` is None where the run's file does not hold it."""

    sha256: str
    name: str
    kind: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Effective:
    """What some tests were judged by: the mode and the sources, which are AND-ed."""

    sha256: str
    mode: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run had.

    Args:
        agents: name to what it used.
        classes: data scope to its class, "" where it has none.
        servers: names of the servers that were connected to.
        tests: clear name of each audited test that ran, to what it was judged by; None for no policy.
        findings: state to counts of enforce, observe (unexpected each) and expected.
        signer: fingerprint of the key that signed the run where somebody confirmed it, else "".
        shard: which part of the suite the run was, such as "2/4"; "" for the whole.
    """

    agents: Mapping[str, AgentUse] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    servers: frozenset[str] = frozenset()
    tests: Mapping[str, Effective | None] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    signer: str = ""
    shard: str = ""

    @property
    def policies(self) -> tuple[Effective, ...]:
        """What the tests were judged by, each once, the one of most tests first."""
        counted: dict[Effective, int] = defaultdict(int)
        for policy in self.tests.values():
            if policy is not None:
                counted[policy] += 1
        return tuple(sorted(counted, key=lambda policy: (-counted[policy], policy.sha256, policy.mode)))


def summarise(records: Iterable[Record], blob: Callable[[str], bytes | None], *, signer: str = "") -> Summary:
    """What a run had, from its records.

    Args:
        records: all of them, main's first.
        blob: gives the bytes of a blob by its SHA-256 in hex, None where it is not there.
        signer: fingerprint of the run's key, where it is confirmed.
    """
    gathered, counted = _Gathered(blob), Recount()
    for record in records:
        counted.add(record)
        gathered.take(record)
    return Summary(
        agents={name: gathered.agent(name) for name in sorted(gathered.agents)},
        classes=dict(sorted(gathered.classes.items())),
        servers=frozenset(gathered.servers),
        tests=gathered.judged(),
        findings=counted.findings,
        signer=signer,
        shard=gathered.shard,
    )


def combined(parts: Sequence[Summary]) -> Summary:
    """What several runs had together, such as the shards of a group. Each keeps its own signer, so none is named."""
    agents: dict[str, AgentUse] = {}
    for name, use in (pair for part in parts for pair in part.agents.items()):
        known = agents.get(name, AgentUse())
        agents[name] = AgentUse(known.tools | use.tools, known.scopes | use.scopes)
    return Summary(
        agents=dict(sorted(agents.items())),
        classes={scope: kind for part in parts for scope, kind in part.classes.items()},
        servers=frozenset().union(*(part.servers for part in parts)),
        tests={name: policy for part in parts for name, policy in part.tests.items()},
        findings={
            state: {
                column: sum(part.findings.get(state, {}).get(column, 0) for part in parts)
                for column in ("enforce", "observe", "expected")
            }
            for state in STATES
        },
    )


class _Gathered:
    """Takes record by record; fields of the wrong type count as absent."""

    def __init__(self, blob: Callable[[str], bytes | None]) -> None:
        self.agents: set[str] = set()
        self.classes: dict[str, str] = {}
        self.servers: set[str] = set()
        self.shard = ""
        self._blob = blob
        self._tools: dict[str, set[str]] = defaultdict(set)
        self._scopes: dict[str, set[str]] = defaultdict(set)
        self._policies: dict[str, Effective | None] = {}
        self._ran: set[str] = set()

    def take(self, record: Record) -> None:
        kind, agent = record.get("type"), _text(record, "agent")
        if agent and kind in ("msg", "context", "access", "finding", "session"):
            self.agents.add(agent)
        if kind == "msg" and record.get("direction") == "c2s" and record.get("kind") == "request":
            self._call(agent, record)
        elif kind == "access" and (scope := _text(record, "scope")):
            self._scopes[agent].add(scope)
            self.classes[scope] = _text(record, "class") or self.classes.get(scope, "")
        elif kind == "session" and (server := _text(record, "server")):
            self.servers.add(server)
        elif kind == "policy":
            self._policies[_text(record, "test")] = self._policy(record)
        elif kind == "test" and record.get("phase") == "end" and record.get("outcome") != "skipped":
            self._ran.add(_text(record, "test"))
        elif kind == "selection":
            self.shard = _shard(record.get("shard")) or self.shard

    def agent(self, name: str) -> AgentUse:
        return AgentUse(frozenset(self._tools[name]), frozenset(self._scopes[name]))

    def judged(self) -> dict[str, Effective | None]:
        whole_run = self._policies.get("")
        return {name: self._policies.get(name, whole_run) for name in sorted(self._ran) if name}

    def _call(self, agent: str, record: Record) -> None:
        server, method = _text(record, "server"), _text(record, "method")
        if "tool" in record:
            self._tools[agent].add(f"{server}.{_text(record, 'tool') or NO_CLEAR_NAME}")
        elif method in _METHODS:
            self._tools[agent].add(f"{server} {method}")

    def _policy(self, record: Record) -> Effective | None:
        digest, listed = record.get("sha256"), record.get("sources")
        if not isinstance(digest, str):
            return None
        sources = [self._source(entry) for entry in (listed if isinstance(listed, list) else ())]
        return Effective(
            digest, _text(record, "mode"), tuple(sorted(sources, key=lambda s: (s.kind, s.name, s.sha256)))
        )

    def _source(self, entry: object) -> Source:
        said = entry if isinstance(entry, dict) else {}
        digest = _text(said, "blob")
        data = self._blob(digest)
        text = None
        if data is not None and len(data) <= MAX_POLICY_BYTES:
            text = data.decode("utf-8", "replace")
        return Source(digest, _text(said, "name"), _text(said, "kind"), text)


def to_json(summary: Summary) -> dict[str, object]:
    """The summary as an approval holds it: each policy and each text once."""
    policies = summary.policies
    sources = sorted({s for p in policies for s in p.sources}, key=lambda s: (s.kind, s.name, s.sha256))
    number = {policy: n for n, policy in enumerate(policies)}
    return {
        "agents": {
            name: {"tools": sorted(use.tools), "scopes": sorted(use.scopes)} for name, use in summary.agents.items()
        },
        "classes": dict(summary.classes),
        "servers": sorted(summary.servers),
        "sources": [{"sha256": s.sha256, "name": s.name, "kind": s.kind, "text": s.text} for s in sources],
        "policies": [
            {"sha256": p.sha256, "mode": p.mode, "sources": [sources.index(s) for s in p.sources]} for p in policies
        ],
        "tests": {name: None if policy is None else number[policy] for name, policy in summary.tests.items()},
        "findings": {state: dict(row) for state, row in summary.findings.items()},
        "signer": summary.signer,
        "shard": summary.shard,
    }


def from_json(data: Mapping[str, object]) -> Summary:
    """Read what `to_json` wrote. Fields that it does not know are ignored.

    Raises:
        EvidenceError: anything else.
    """
    try:
        sources = [_read_source(entry) for entry in _list(data, "sources")]
        policies = [_read_policy(entry, sources) for entry in _list(data, "policies")]
        return Summary(
            agents={name: _read_agent(use) for name, use in _object(data, "agents").items()},
            classes={name: _string(value) for name, value in _object(data, "classes").items()},
            servers=frozenset(map(_string, _list(data, "servers"))),
            tests={
                name: None if number is None else policies[_index(number, policies)]
                for name, number in _object(data, "tests").items()
            },
            findings={state: _read_counts(_object(data, "findings").get(state)) for state in STATES},
            signer=_string(data.get("signer")),
            shard=_string(data.get("shard")),
        )
    except (_WrongError, KeyError) as error:
        raise EvidenceError(f"its summary is not of a form that this version knows ({error})") from None


class _WrongError(Exception):
    """Names the part of a summary that is not as it should be."""


def _read_agent(use: object) -> AgentUse:
    said = use if isinstance(use, dict) else {}
    return AgentUse(frozenset(map(_string, _list(said, "tools"))), frozenset(map(_string, _list(said, "scopes"))))


def _read_source(entry: object) -> Source:
    said = entry if isinstance(entry, dict) else {}
    text = said.get("text")
    digest, name, kind = (_string(said.get(key)) for key in ("sha256", "name", "kind"))
    return Source(digest, name, kind, None if text is None else _string(text))


def _read_policy(entry: object, sources: list[Source]) -> Effective:
    said = entry if isinstance(entry, dict) else {}
    used = tuple(sources[_index(number, sources)] for number in _list(said, "sources"))
    return Effective(_string(said.get("sha256")), _string(said.get("mode")), used)


def _read_counts(row: object) -> dict[str, int]:
    said = row if isinstance(row, dict) else {}
    columns = ("enforce", "observe", "expected")
    return {column: _count(said.get(column)) for column in columns}


def _index(number: object, among: list[Source] | list[Effective]) -> int:
    if number.__class__ is not int or not 0 <= int(str(number)) < len(among):
        raise _WrongError("a number that names nothing")
    return int(str(number))


def _count(value: object) -> int:
    if value.__class__ is not int:
        raise _WrongError("findings")
    return int(str(value))


def _list(data: Mapping[str, object], name: str) -> list[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise _WrongError(name)
    return value


def _object(data: Mapping[str, object], name: str) -> dict[str, object]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise _WrongError(name)
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongError("a text")
    return value


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def _shard(value: object) -> str:
    if isinstance(value, dict):
        return f"{value.get('index')}/{value.get('total')}"
    return value if isinstance(value, str) else ""
