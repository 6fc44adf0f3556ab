"""Twenty agents over many servers in one test: the suite that drives them, and what its evidence has to say.

The full size, 20 agents with 200 calls each over 15 servers, is `python -m tests.plugin.fleet`; with `--kill` one agent
and one server end half-way.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pytest_mcp_governance.evidence import verify as verifier
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FolderSource
from tests.session.conftest import SERVERS as REAL
from tests.session.over_http import Served, served

PLAIN = Path(__file__).parents[1] / "servers" / "plain.py"
TAG = re.compile(r'"tag": ?"([^"]+)"')
AGENTS = 20

SUITE = '''
import asyncio, json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:
    from mcp.server import MCPServer as FastMCP

PLAN = json.loads(Path(__file__).with_name("plan.json").read_text())


def in_process(name, log):
    server = FastMCP(name)

    @server.tool()
    def get_note(tag: str) -> str:
        with open(log, "a") as file:
            file.write(json.dumps({"tag": tag}) + "\\n")
        return f"note {tag}"

    return server


@pytest.fixture(scope="session")
def mcp_audit_servers(mcp_audit_servers):
    return {**mcp_audit_servers, **{name: in_process(name, log) for name, log in PLAN["in_process"].items()}}


def steps(agent):
    """(server, tool, arguments, meta) of each of an agent's calls."""
    for number in range(PLAN["calls"]):
        server = agent["servers"][number % len(agent["servers"])]
        tool, arguments = PLAN["tools"][server]
        tag = f"{agent['name']}/{number}"
        yield server, tool, json.loads(json.dumps(arguments).replace("TAG", tag)), {"tag": tag}


def in_thread(audit, agent):
    with ExitStack() as open_:
        sessions = {name: open_.enter_context(audit.connect(name, agent=agent["name"])) for name in agent["servers"]}
        for server, tool, arguments, meta in steps(agent):
            if agent.get("breaks") and meta["tag"].endswith(f"/{PLAN['calls'] // 2}"):
                with pytest.raises(Exception, match="[Cc]losed"):  # its server ends in the middle of the call
                    sessions[server].call_tool("crash", {"tag": meta["tag"]}, meta=meta)
                return
            assert not sessions[server].call_tool(tool, arguments, meta=meta).model_dump().get("isError")


async def in_task(audit, agent):
    async with AsyncExitStack() as open_:
        enter = open_.enter_async_context
        sessions = {name: await enter(audit.connect(name, agent=agent["name"])) for name in agent["servers"]}
        for server, tool, arguments, meta in steps(agent):
            assert not (await sessions[server].call_tool(tool, arguments, meta=meta)).model_dump().get("isError")


def in_tasks(audit, agents):
    async def all_of_them():
        await asyncio.gather(*(in_task(audit, agent) for agent in agents))

    asyncio.run(all_of_them())


def in_a_process(audit, agent):
    with audit.gateway(*agent["servers"], agent=agent["name"]) as gw:
        told = json.dumps([agent, list(steps(agent)), {name: gw.command(name) for name in agent["servers"]}])
        program = str(Path(__file__).with_name("an_agent.py"))
        ended = subprocess.run([sys.executable, "-S", program], input=told, text=True, capture_output=True)
        assert ended.returncode == (-9 if agent.get("killed") else 0), ended.stderr


def test_fleet(mcp_audit):
    ways = {how: [a for a in PLAN["agents"] if a["how"] == how] for how in ("thread", "task", "process")}
    with ThreadPoolExecutor(len(PLAN["agents"])) as pool:
        work = [pool.submit(in_thread, mcp_audit, agent) for agent in ways["thread"]]
        work += [pool.submit(in_a_process, mcp_audit, agent) for agent in ways["process"]]
        work.append(pool.submit(in_tasks, mcp_audit, ways["task"]))
        for one in work:
            one.result()
    assert sorted(mcp_audit.agents) == sorted(agent["name"] for agent in PLAN["agents"])
    assert len(mcp_audit.calls) == PLAN["expected"]
'''
AN_AGENT = """
import json, os, subprocess, sys

agent, steps, commands = json.loads(sys.stdin.read())
pipes = {}


def ask(server, message):
    pipe = pipes[server]
    pipe.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    pipe.stdin.flush()
    while "id" in message:
        answer = json.loads(pipe.stdout.readline())
        if answer.get("id") == message["id"] and "method" not in answer:
            return answer


for name, command in commands.items():
    pipes[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": agent["name"], "version": "1"}}
    ask(name, {"id": "hello", "method": "initialize", "params": info})
    ask(name, {"method": "notifications/initialized"})
for number, (server, tool, arguments, meta) in enumerate(steps):
    if agent.get("killed") and number == len(steps) // 2:
        os.kill(os.getpid(), 9)
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    answer = ask(server, {"id": number, "method": "tools/call", "params": params})
    assert not answer["result"].get("isError"), answer
for pipe in pipes.values():
    pipe.stdin.close()
    pipe.wait()
"""


@dataclass(frozen=True)
class Plan:
    """Which agents there are, how each runs, and what it calls; `logs` say what each server was really asked."""

    servers: Mapping[str, Mapping[str, object]]
    tools: Mapping[str, tuple[str, Mapping[str, object]]]
    in_process: Mapping[str, str]
    logs: Mapping[str, Path]
    agents: Sequence[Mapping[str, object]]
    calls: int

    def planned(self, agent: Mapping[str, object]) -> int:
        """How many calls an agent comes to."""
        half = self.calls // 2
        return half if agent.get("killed") else half + 1 if agent.get("breaks") else self.calls

    @property
    def expected(self) -> int:
        return sum(map(self.planned, self.agents))

    def write(self, folder: Path) -> None:
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_fleet.py").write_text(SUITE)
        (folder / "an_agent.py").write_text(AN_AGENT)
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": self.servers}))
        rules = [{"id": "ALL", "allow": [f"{name}.*" for name in self.tools]}]
        (folder / "governance.policy.yaml").write_text(json.dumps({"governance": 1, "policy": "fleet", "rules": rules}))
        told = {"agents": self.agents, "calls": self.calls, "tools": self.tools, "in_process": self.in_process}
        (folder / "plan.json").write_text(json.dumps(told | {"expected": self.expected}))


@dataclass
class Kinds:
    """Makes servers of each kind, every one with a log of its own."""

    folder: Path
    servers: dict[str, Mapping[str, object]] = field(default_factory=dict)
    tools: dict[str, tuple[str, Mapping[str, object]]] = field(default_factory=dict)
    in_process: dict[str, str] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)

    def _log(self, name: str) -> Path:
        self.logs[name] = self.folder / f"{name}.log"
        self.logs[name].touch()
        return self.logs[name]

    def plain(self, name: str) -> None:
        self.servers[name] = {
            "command": sys.executable,
            "args": [str(PLAIN)],
            "env": {"PLAIN_LOG": str(self._log(name))},
        }
        self.tools[name] = ("get_vendor", {"tag": "TAG"})

    def inside(self, name: str) -> None:
        self.in_process[name] = str(self._log(name))
        self.tools[name] = ("get_note", {"tag": "TAG"})

    def over_http(self, name: str, server: Served) -> None:
        self.servers[name] = server.entry()
        self.logs[name] = server.log
        self.tools[name] = ("get_vendor", {"id": "v1"})

    def real(self, name: str, tool: str, arguments: Mapping[str, object], *command: object, **env: str) -> None:
        """A real server; tee is the witness: what it wrote is what the server was given."""
        script = f"tee -a '{self._log(name)}' | " + " ".join(f"'{part}'" for part in command)
        self.servers[name] = {"command": "sh", "args": ["-c", script], "env": env}
        self.tools[name] = (tool, arguments)

    def node(self, name: str, package: str, tool: str, arguments: Mapping[str, object], *args: object, **env: str):
        script = REAL / "node" / "node_modules" / "@modelcontextprotocol" / package / "dist" / "index.js"
        self.real(name, tool, arguments, REAL / "node" / "bin" / "node", script, *args, **env)

    def everything(self, name: str) -> None:
        self.node(name, "server-everything", "echo", {"message": "TAG"})

    def filesystem(self, name: str) -> None:
        data = self.folder / f"{name}-data"
        data.mkdir()
        self.node(name, "server-filesystem", "list_directory", {"path": str(data)}, data)

    def memory(self, name: str) -> None:
        kept = {"MEMORY_FILE_PATH": str(self.folder / f"{name}.json")}
        self.node(name, "server-memory", "search_nodes", {"query": "TAG"}, **kept)

    def git(self, name: str) -> None:
        repository = self.folder / f"{name}-repository"
        subprocess.run(["git", "init", "-q", repository], check=True)
        program = REAL / "git" / "bin" / "mcp-server-git"
        self.real(name, "git_branch", {"repo_path": str(repository), "branch_type": "local"}, program)

    def time(self, name: str) -> None:
        program = REAL / "time" / "bin" / "mcp-server-time"
        self.real(name, "get_current_time", {"timezone": "UTC"}, program)

    def sqlite(self, name: str) -> None:
        program = REAL / "sqlite" / "bin" / "mcp-server-sqlite"
        self.real(name, "read_query", {"query": "SELECT 1"}, program, "--db-path", self.folder / f"{name}.db")

    def plan(self, calls: int, *, kill: bool) -> Plan:
        """Twenty agents, each over two of the servers; with `kill` one is killed half-way and one ends its server."""
        names = list(self.tools)
        agents: list[dict[str, object]] = []
        for number in range(AGENTS):
            how = ("thread", "process", "task")[number % 3]
            chosen = [names[(number + 7 * k) % len(names)] for k in range(2)]
            if how == "process":  # its client speaks over pipes
                chosen = [n if "url" not in self.servers.get(n, {}) else names[0] for n in chosen]
            agents.append({"name": f"agent-{number:02}", "how": how, "servers": list(dict.fromkeys(chosen))})
        if kill:
            agents[1] |= {"killed": True}
            agents[3] |= {"breaks": True, "servers": [next(n for n in names if n.startswith("plain"))]}
        return Plan(self.servers, self.tools, self.in_process, self.logs, agents, calls)


def small(folder: Path, http: Served) -> Plan:
    """Eight servers of every kind."""
    kinds = Kinds(folder)
    for name in ("plain-1", "plain-2", "plain-3"):
        kinds.plain(name)
    kinds.inside("inside-1")
    kinds.inside("inside-2")
    kinds.everything("everything")
    kinds.filesystem("files")
    kinds.over_http("far", http)
    return kinds.plan(20, kill=True)


def full(folder: Path, *http: Served, kill: bool) -> Plan:
    """Fifteen servers, the real ones among them."""
    kinds = Kinds(folder)
    kinds.plain("plain")
    for make in (kinds.filesystem, kinds.everything, kinds.memory, kinds.git, kinds.time):
        for number in (1, 2):
            make(f"{make.__name__}-{number}")
    kinds.sqlite("sqlite")
    kinds.inside("inside")
    for number, server in enumerate(http, 1):
        kinds.over_http(f"far-{number}", server)
    return kinds.plan(200, kill=kill)


def run(folder: Path, plan: Plan) -> "subprocess.CompletedProcess[str]":
    """Run the suite in a pytest of its own."""
    plan.write(folder)
    quiet = [f"-pno:{name}" for name in ("playwright", "base_url", "asyncio", "randomly", "hypothesispytest")]
    command = [sys.executable, "-m", "pytest", "-q", *quiet, "test_fleet.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def check(folder: Path, plan: Plan) -> dict[str, int]:
    """Hold the evidence against the plan and the servers' own logs; return the number of calls of each server.

    Raises:
        AssertionError: something is lost, doubled, out of order, or another agent's.
    """
    (run_folder,) = [p for p in (folder / ".mcp-governance" / "runs").iterdir() if p.is_dir()]
    reader = EvidenceReader(FolderSource(run_folder))
    made: dict[str, tuple[str, str, str]] = {}  # tag -> agent, server, ref
    in_order: dict[tuple[str, str], list[str]] = defaultdict(list)  # by server and agent
    answers: Counter[str] = Counter()
    for record in reader.records():
        if record["type"] != "msg" or record.get("origin") != "received":
            continue
        if record.get("method") == "tools/call" and record["kind"] == "request":
            (tag,) = set(TAG.findall(str(reader.reveal(record["wire"]))))
            agent, server = str(record["agent"]), str(record["server"])
            assert tag not in made, f"{tag} is there twice"
            made[tag] = agent, server, f"{record['seg']}/{record['seq']}"
            in_order[server, agent].append(tag)
        elif record["kind"] == "result" and record.get("method") == "tools/call":
            answers[str(record["ref"])] += 1
    assert set(made) == set(_planned(plan)), set(made) ^ set(_planned(plan))
    for tag, (agent, _, _) in made.items():
        assert tag.startswith(f"{agent}/"), f"{tag} was attributed to {agent}"
    crashed = {
        tag for tag in made if any(a.get("breaks") and tag == f"{a['name']}/{plan.calls // 2}" for a in plan.agents)
    }
    unanswered = {tag for tag, (_, _, ref) in made.items() if answers[ref] != 1}
    assert unanswered == crashed, unanswered ^ crashed
    for server, log in plan.logs.items():
        asked = [
            tag for line in log.read_text().splitlines() for tag in dict.fromkeys(TAG.findall(line.replace("\\", "")))
        ]
        for agent in {str(a["name"]) for a in plan.agents}:
            seen = [tag for tag in asked if tag.startswith(f"{agent}/")]
            assert seen == in_order[server, agent], f"{server} was asked otherwise by {agent} than the evidence says"
    report = folder / "governance-report.html"
    outcome = verifier.verify(report, trust=[verifier.verify(report).signer]).outcome.name
    assert outcome == "VERIFIED", outcome
    return dict(Counter(server for _, server, _ in made.values()))


def _planned(plan: Plan) -> Iterator[str]:
    for agent in plan.agents:
        yield from (f"{agent['name']}/{number}" for number in range(plan.planned(agent)))


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_:
        folder = Path(name)
        homes = [folder / "far-1", folder / "far-2"]  # each with a log of its own
        for home in homes:
            home.mkdir()
        plan = full(folder, *(open_.enter_context(served(home)) for home in homes), kill="--kill" in sys.argv[1:])
        began = time.monotonic()
        ended = run(folder, plan)
        took_s = time.monotonic() - began
        print(ended.stdout[-2000:], ended.stderr[-2000:])
        by_server = check(folder, plan)
    print(
        f"{sum(by_server.values())} calls of {len(plan.agents)} agents over {len(by_server)} servers in {took_s:.0f} s"
    )
    print("each attributed, in its server's own order, none lost and none doubled; VERIFIED")
    for server, count in sorted(by_server.items()):
        print(f"  {server:14} {count:5}")


if __name__ == "__main__":
    main()
