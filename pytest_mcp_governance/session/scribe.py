"""What one connection writes into the ledger: its messages, its beginning and end, what came beside.

Leaves out when it is written and what follows from it: that order is `relay`'s.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import LedgerWriteError
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.session.strict import parse
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.upstream import Transport
from pytest_mcp_governance.session.wire import Direction, Message, storable

_IMAGE_TYPE = re.compile(r"image/[a-z0-9.+-]{1,40}")


@dataclass(slots=True)
class Facts:
    """What a connection tells about itself, for its `session` closed record."""

    client: dict[str, str] | None = None
    server_info: dict[str, str] | None = None
    protocol: str | None = None
    tools: list[object] = field(default_factory=list)
    calls: int = 0

    def learn(self, message: Message) -> None:
        """Note what an initialize exchange or a tool listing says."""
        if message.method == "initialize" and message.parsed.kind == "request":
            params = message.parsed.fields.get("params")
            self.client = _name_and_version(params, "clientInfo")
        result = message.parsed.fields.get("result")
        if not isinstance(result, dict) or message.request is None:
            return
        if message.method in ("initialize", "server/discover"):
            self.server_info = _name_and_version(result, "serverInfo")
            version = result.get("protocolVersion")
            self.protocol = version[:32] if isinstance(version, str) else None
        if message.method == "tools/list" and isinstance(result.get("tools"), list):
            params = message.request.event.params
            if not (isinstance(params, dict) and params.get("cursor")):
                self.tools = []  # a new listing; pages that follow belong to it
            self.tools.extend(result["tools"])

    def fields(self) -> dict[str, object]:
        """The known ones, as fields of the record."""
        known = {"client": self.client, "server_info": self.server_info, "protocol": self.protocol}
        found: dict[str, object] = {k: v for k, v in known.items() if v is not None}
        if self.tools:
            text = json.dumps(self.tools, sort_keys=True)
            found["tools_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        return found | {"calls": self.calls}


@dataclass(frozen=True, slots=True)
class Connection:
    """One way from an agent to a server: its id, minted by the recorder, its gateway, agent, server and transport.

    `digest` is the SHA-256 (hex) of how the server is reached or started.
    """

    id: str
    gateway: str
    agent: str
    server: str
    digest: str
    transport: Transport


class _ExchangeRef(str):
    """The ref of an HTTP exchange's record, which may be over only in a later run; `run` counts them."""

    run: int

    def __new__(cls, ref: str, run: int) -> "_ExchangeRef":
        made = super().__new__(cls, ref)
        made.run = run
        return made


class Scribe:
    """Writes the records of one connection."""

    def __init__(self, trial: Trial, connection: Connection) -> None:
        self.facts = Facts()
        self.is_open = False
        self._runs_before: list[str] = []
        self._trial = trial
        self._at = connection

    def learn(self, message: Message) -> None:
        """Note what a message tells about the connection."""
        self.facts.learn(message)

    def images(self, message: Message, ref: str) -> None:
        """Record the images of a result as blobs of their own."""
        for media_type, data in _images(message.parsed.fields.get("result")):
            fields = {"kind": "image", "media_type": media_type, "size": len(data), "masked": False}
            bound = {"sha256": self._trial.commit_blob(data), "ref": ref, "agent": self._at.agent}
            self._trial.record("blob", fields | bound)

    def passed_on(self) -> None:
        """Record that the connection outlives the run; what its next messages say stands in the next one."""
        if self.is_open:
            self.session("passed-on")

    def taken_over(self, trial: Trial, run: str) -> None:
        """Write into another run from now on, after `run`, and record there that the connection is older."""
        self._trial = trial
        self._runs_before.append(run)
        if self.is_open:
            self.facts.calls = 0
            self.session("taken-over")

    def message(
        self,
        message: Message,
        at: Mapping[str, object] | None = None,
        carried: Mapping[str, object] | None = None,
    ) -> str:
        """Record a received message as it came; return its ref.

        Args:
            message: the message.
            at: fields of its transport.
            carried: run and ref of its record in the run before, where it was received in that one.
        """
        fields: dict[str, object] = {
            "direction": message.direction,
            "kind": "invalid" if message.problems else message.parsed.kind,
            "conn": self._at.id,
            "server": self._at.server,
            "agent": self._at.agent,
            "source": self._at.transport,
            "origin": "received" if carried is None else "carried",
        }
        if carried is not None:
            fields["carried"] = dict(carried)
        fields |= self._names(message.method, message.tool)
        if message.id is not None:
            fields["id"] = message.id if isinstance(message.id, int) else Committed(storable(message.id))
        if message.request is not None:
            fields["ref"] = message.request.ref
        if message.problems:
            fields["problems"] = list(message.problems)
        return self._trial.record("msg", fields | self._here(at or {}) | _wire(message.raw))

    def synthesised(self, raw: bytes, direction: Direction, *, method: str | None, tool: str | None, ref: str) -> None:
        """Record a message that the recorder made itself, in answer to or in the place of the one with `ref`."""
        fields: dict[str, object] = {
            "direction": direction,
            "kind": parse(raw).kind,
            "conn": self._at.id,
            "server": self._at.server,
            "agent": self._at.agent,
            "source": self._at.transport,
            "origin": "synthesised",
            "ref": ref,
        }
        self._trial.record("msg", fields | self._names(method, tool) | _wire(raw))

    def session(self, state: str) -> None:
        """Record that the connection opened, closed, or goes on from one run into the next."""
        fields: dict[str, object] = {
            "state": state,
            "conn": self._at.id,
            "gateway": self._at.gateway,
            "transport": self._at.transport,
            "server": self._at.server,
            "agent": self._at.agent,
            "command_sha256": self._at.digest,
        }
        self.is_open = state != "closed"
        self._trial.record("session", fields | ({} if state == "opened" else self._facts()))

    def exchange(self, state: str, fields: Mapping[str, object]) -> str:
        """Record a step of an HTTP exchange on this connection; return its ref."""
        at = self._at
        where = {"conn": at.id, "gateway": at.gateway, "transport": at.transport, "server": at.server}
        found = self._trial.record("session", {"state": state, **where, "agent": at.agent, **self._here(fields)})
        return _ExchangeRef(found, len(self._runs_before))

    def _here(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Fields of a transport; a ref into a run before this one names that run, because refs are a run's own."""
        found: dict[str, object] = {}
        for name, value in fields.items():
            if isinstance(value, _ExchangeRef) and value.run < len(self._runs_before):
                found["carried"] = {"run": self._runs_before[value.run], "ref": str(value)}
            else:
                found[name] = value
        return found

    def _facts(self) -> dict[str, object]:
        """What the two sides say of themselves stands in the clear, and is text of theirs: secrets in it are masked."""
        said = self.facts.fields()
        for key, value in said.items():
            if isinstance(value, str) and key != "tools_sha256":
                said[key] = self._trial.masked(value)
            elif isinstance(value, dict):
                said[key] = {name: self._trial.masked(str(text)) for name, text in value.items()}
        return said

    def lost(self, reason: str) -> None:
        """Record that the recorder itself may have lost something on this connection."""
        with contextlib.suppress(LedgerWriteError):
            self._trial.record("gap", {"what": f"connection {self._at.id}", "count": 1, "reason": reason})

    def _names(self, method: str | None, tool: str | None) -> dict[str, object]:
        fields: dict[str, object] = {}
        named = (("method", method, self._trial.plain_method), ("tool", tool, self._trial.plain_tool))
        for key, value, plain in named:
            if value is not None:
                fields[key] = plain(value) or Committed(storable(value))
        return fields

    def io(self, stream: str, *, text: str | None = None, code: int | None = None, asked: bool | None = None) -> None:
        """Record what came beside the messages: stderr, an exit status, a failed forward."""
        fields: dict[str, object] = {"stream": stream, "conn": self._at.id, "server": self._at.server}
        if text is not None:
            fields["text"] = Committed(text)
        if code is not None:
            fields["code"] = code
        if asked is not None:
            fields["asked"] = asked
        with contextlib.suppress(LedgerWriteError):
            self._trial.record("io", fields)


def _wire(raw: bytes) -> dict[str, object]:
    try:
        return {"wire": Committed(raw.decode("utf-8"))}
    except UnicodeDecodeError:
        return {"wire_b64": Committed(base64.b64encode(raw).decode())}


def _name_and_version(holder: object, key: str) -> dict[str, str] | None:
    info = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(info, dict):
        return None
    return {k: str(storable(v))[:128] for k in ("name", "version") if isinstance(v := info.get(k), str)}


def _images(result: object) -> list[tuple[str, bytes]]:
    content = result.get("content") if isinstance(result, dict) else None
    found = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "image" and isinstance(part.get("data"), str):
            named = str(part.get("mimeType"))
            media_type = named if _IMAGE_TYPE.fullmatch(named) else "application/octet-stream"
            with contextlib.suppress(binascii.Error, ValueError):
                found.append((media_type, base64.b64decode(part["data"], validate=True)))
    return found
