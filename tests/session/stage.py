"""One recorder for many tests: each plays a scene between an agent and a real server, then reads what was recorded."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.source import FolderSource
from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import SERVERS, Agent, begin, open_gateway

Handler = Callable[[Mapping[str, object]], dict[str, object]]
SAMPLED: dict[str, object] = {
    "role": "assistant",
    "content": {"type": "text", "text": "four"},
    "model": "m",
    "stopReason": "endTurn",
}
ACCEPTED: dict[str, object] = {"action": "accept", "content": {"name": "ada"}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {
        **{name: {} for name in ("elicitation", "sampling", "roots")},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    },
}
ALL_CAPABILITIES = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": True}}


class Peer(Agent):
    """An agent that answers what its server asks, and keeps everything that reached it."""

    def __init__(self, command: list[str], *, modern: bool = False) -> None:
        super().__init__(command)
        self.modern = modern
        self.meta = MODERN if modern else {}
        self.got: list[dict[str, object]] = []
        self.handlers: dict[str, Handler] = {
            "sampling/createMessage": lambda _: SAMPLED,
            "elicitation/create": lambda _: ACCEPTED,
            "roots/list": lambda _: {"roots": [{"uri": "file:///srv/ap", "name": "ap"}]},
            "ping": lambda _: {},
        }

    def read(self) -> dict[str, object]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the connection closed"
        read = json.loads(line)
        if isinstance(read, list):  # the refusal of a batch
            self.got += read
            return dict(read[-1])
        message: dict[str, object] = read
        self.got.append(message)
        if "method" in message and "id" in message:
            params = message.get("params")
            result = self.handlers[str(message["method"])](params if isinstance(params, dict) else {})
            self.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())
        return message

    def ask(self, method: str, **params: object) -> dict[str, object]:
        """Send a request and return its answer, past everything else: both sides count their ids from 0."""
        self._id += 1
        sent = {**params, **({"_meta": self.meta} if self.modern else {})}
        self.send(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": sent}).encode())
        return self.answer(self._id)

    def answer(self, id_: int) -> dict[str, object]:
        """The answer to a request that was sent, which may have come already."""
        while True:
            for message in self.got:
                if "method" not in message and message.get("id") == id_:
                    return message
            self.read()

    def tell(self, method: str, **params: object) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def start(self, protocol: str = "2025-11-25") -> None:
        info = {"name": "raw", "version": "1"}
        self.ask("initialize", protocolVersion=protocol, capabilities=ALL_CAPABILITIES, clientInfo=info)
        self.tell("notifications/initialized")

    def heard(self, method: str) -> list[dict[str, object]]:
        return [message for message in self.got if message.get("method") == method]


@dataclass
class Scene:
    """One test attempt: its agent, what the server itself saw, and, once it is over, what was recorded."""

    name: str
    peer: Peer
    ran: Path
    received: Path
    recorder: Recorder
    config: RecorderConfig
    findings: list[dict[str, object]] = field(default_factory=list)

    @property
    def tools_run(self) -> list[str]:
        """What the server's own log says."""
        return self.ran.read_text().split("\n")[:-1] if self.ran.exists() else []

    def server_got(self) -> list[dict[str, object]]:
        """Every line that the server was given."""
        return [json.loads(line) for line in self.received.read_text().splitlines()] if self.received.exists() else []

    def records(self, type_: str, **wanted: object) -> list[Record]:
        """Records of this scene, values disclosed."""
        reader = EvidenceReader(FolderSource(self.config.run_dir))
        mine = [r for r in reader.records() if r["type"] == type_ and r.get("test") == self.name]
        shown = [{k: reader.reveal(v) for k, v in r.items()} | {"record": f"{r['seg']}/{r['seq']}"} for r in mine]
        return [r for r in shown if all(r.get(k) == v for k, v in wanted.items())]

    def message(self, **wanted: object) -> Record:
        """The one message like this."""
        found = self.records("msg", **wanted)
        assert len(found) == 1, [(m.get("method"), m["direction"], m["kind"]) for m in found]
        return found[0]

    def decision(self, message: Record) -> Record:
        (found,) = self.records("decision", ref=message["record"])
        return found


class Stage:
    """A recorder and the scenes that it records, one after another."""

    def __init__(self, recorder: Recorder, config: RecorderConfig, folder: Path) -> None:
        self._recorder = recorder
        self._config = config
        self._folder = folder
        self._scenes = 0

    @contextmanager
    def scene(self, server: str, *policies: str, modern: bool = False, name: str = "srv") -> Iterator[Scene]:
        """Play: the agent is connected inside the block, everything is recorded when it ends."""
        self._scenes += 1
        title = f"test_{self._scenes}"
        ran, received = (self._folder / f"{title}.{kind}" for kind in ("ran", "in"))
        begin(self._recorder, *policies, name=title)
        gateway, commands = open_gateway(self._recorder, {name: entry(server, ran, received)})
        peer = Peer(commands[name], modern=modern)
        scene = Scene(title, peer, ran, received, self._recorder, self._config)
        try:
            yield scene
        finally:
            peer.leave()
            self._recorder.close_gateway(gateway)
            scene.findings = self._recorder.conclude()
            self._recorder.end_test(outcome="passed", failure=None)


def entry(server: str, ran: Path, received: Path) -> dict[str, object]:
    """How each server is started, behind a pipe that keeps what it is given."""
    own = Path(__file__).parents[1] / "servers"
    node = SERVERS / "node"
    commands = {
        "asking": f"'{SERVERS}/sqlite/bin/python' '{own}/asking.py' '{ran}'",
        "rounds": f"'{SERVERS}/time/bin/python' '{own}/rounds.py' '{ran}'",
        "time": f"'{SERVERS}/time/bin/mcp-server-time'",
        "paged": f"'{sys.executable}' '{own}/offering.py' '{paged(ran)}'",
        "everything": f"'{node}/bin/node' '{node}/node_modules/@modelcontextprotocol/server-everything/dist/index.js'",
    }
    return {"command": "sh", "args": ["-c", f"tee -a '{received}' | {commands[server]}"]}


def paged(ran: Path) -> Path:
    """Five tools, two a page."""
    offer = ran.with_suffix(".json")
    offer.write_text(json.dumps({"tools": [{"name": f"t{n}", "inputSchema": {}} for n in range(5)], "page": 2}))
    return offer
