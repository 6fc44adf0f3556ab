"""What a pytest plugin, or a gateway outside of pytest, asks of its recorder: the test attempts and their judgement.

One method an operation, called by name over the recorder's socket. Leaves out the process, its socket and its end
(`recorder`), and what becomes of the run (`run`, reached through `MainDesk`).
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar, cast

from pytest_mcp_governance.errors import ConfigurationError, RecorderError
from pytest_mcp_governance.evidence.ledger import Committed, Segment
from pytest_mcp_governance.policy.engine import Finding, Judge
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.standing import MOST_STRANGERS, refused_stranger
from pytest_mcp_governance.session.definitions import Definitions
from pytest_mcp_governance.session.desk import MainDesk
from pytest_mcp_governance.session.gateways import Gateway, Gateways
from pytest_mcp_governance.session.http.front import HttpFront
from pytest_mcp_governance.session.http.server import HttpServer
from pytest_mcp_governance.session.lasting import SessionTrial
from pytest_mcp_governance.session.resolve import FileResolver
from pytest_mcp_governance.session.rpc import Link
from pytest_mcp_governance.session.settings import RecorderConfig
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.turnstile import Turnstile

_MIN_SECRET = 6  # shorter values match by chance all over a report
_SECRET_NAME = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "AUTH", "COOKIE")
Attempt = TypeVar("Attempt", bound=Trial)
Operation = Callable[[Mapping[str, object]], Awaitable[object]]


class Operations:
    """The test attempts of one recorder, and all that is asked of them.

    Args:
        config: the recorder's settings.
        segment: the ledger segment it alone writes.
        desk: main's part, None in a worker's recorder.
        link: the way to main, None in main itself.
        folder: the recorder's short private folder.
        socket: its socket.
    """

    def __init__(
        self,
        config: RecorderConfig,
        segment: Segment,
        *,
        desk: MainDesk | None,
        link: Link | None,
        folder: Path,
        socket: str,
    ) -> None:
        self.segment = segment
        self.front = HttpFront(self._turned_away, self._learn)
        self.gateways = Gateways(folder, socket, config.rootdir, self.front)
        self._config = config
        self._desk = desk
        self._link = link
        self._resolver = FileResolver(config.rootdir)
        self._secrets = set(config.env_secrets)
        self._trial: Trial | None = None
        self._begun: Mapping[str, object] | None = None  # how it was started
        self._run = config.run
        self._turnstile = Turnstile()
        self._session: SessionTrial | None = None
        self._mode: Literal["enforce", "observe", "none"] = "none"  # of the newest test
        self._strangers = 0
        self._expectations: dict[int, tuple[Trial, int]] = {}  # those that have not ended
        self._expected = 0
        self._baseline = config.known()
        self._definitions = Definitions()

    def find(self, operation: str) -> Operation | None:
        """The method that carries out an operation, None where there is none of that name."""
        return getattr(self, f"_op_{operation}", None)

    async def _op_start_test(self, arguments: Mapping[str, object]) -> object:
        def made(segment: Segment, judge: Judge, test: tuple[str, int]) -> Trial:
            return Trial(
                segment, judge, test, self._baseline, self._turnstile,
                secrets=self._secrets, keeps=not self._config.stays, definitions=self._definitions,
            )  # fmt: skip

        self._begun = arguments
        self._trial, reply = self._begin(arguments, made)
        self._mode = self._trial.judge.mode
        return reply

    async def _op_start_session(self, arguments: Mapping[str, object]) -> object:
        def made(segment: Segment, judge: Judge, test: tuple[str, int]) -> SessionTrial:
            return SessionTrial(
                segment, judge, test, lambda: self._trial, self._baseline, self._turnstile,
                secrets=self._secrets, definitions=self._definitions,
            )  # fmt: skip

        self._session, reply = self._begin({**arguments, "nodeid": arguments["name"]}, made)
        return reply

    async def _op_conclude_session(self, arguments: Mapping[str, object]) -> object:
        if self._session is None:
            return []
        await self.gateways.close_all(self._session)
        self._session.exercised = True
        return [self._session.told(f) for f in self._session.conclude()]

    async def _op_end_session(self, arguments: Mapping[str, object]) -> object:
        session, self._session = self._session, None
        if session is None:
            return []
        session.record_own("test", {"phase": "end", "outcome": arguments["outcome"]})
        self.segment.checkpoint(sync=True)
        return session.late

    def _begin(
        self, arguments: Mapping[str, object], made: Callable[[Segment, Judge, tuple[str, int]], Attempt]
    ) -> tuple[Attempt, dict[str, object]]:
        test = (str(arguments["name"]), cast(int, arguments["attempt"]))
        sources = cast(list[dict[str, str]], arguments["policies"])
        policies = [load_policy(s["text"], name=s["name"], kind=s["kind"]) for s in sources]  # type: ignore[arg-type]  # the plugin sends one of its kinds
        judge = Judge(
            policies,
            mode=arguments.get("mode"),  # type: ignore[arg-type]  # checked by the plugin, refused by the judge
            resolver=self._resolver,
            known_secrets=tuple(self._secrets),
            today=(today := datetime.now(UTC).date()),
            keeps=not self._config.stays,
        )
        trial = made(self.segment, judge, test)
        trial.max_message_bytes = self._config.max_message_bytes
        start: dict[str, object] = {"phase": "start", "nodeid": Committed(arguments["nodeid"])}
        start |= {k: arguments[k] for k in ("agent", "controls") if arguments.get(k)}
        trial.record_own("test", start)
        listed = [
            {"blob": self.segment.store_blob(s["text"].encode()), "name": s["name"], "kind": s["kind"]} for s in sources
        ]
        lines = "".join(f"{s['blob']} {s['kind']}\n" for s in listed)
        digest = hashlib.sha256(lines.encode()).hexdigest() if listed else None
        judged: dict[str, object] = {"sha256": digest, "sources": listed, "mode": judge.mode}
        if any(policy.waivers for policy in policies):
            judged["day"] = today.isoformat()
        trial.record_own("policy", judged)
        return trial, {"policy_sha256": digest, "mode": judge.mode}

    async def _op_open_gateway(self, arguments: Mapping[str, object]) -> object:
        trial = self._lasting() if arguments.get("session") else self._current()
        servers = cast(dict[str, dict[str, object]], arguments["servers"])
        agent = str(arguments["agent"])
        if any(secret in agent for secret in self._secrets):
            raise ConfigurationError(
                "the agent's name holds the value of a secret of the environment, and names stand in every report: "
                "name the agent by something else"
            )
        gateway, commands, urls = await self.gateways.open(
            trial,
            servers,
            agent,
            idle_ok=bool(arguments.get("idle_ok")),
            request=cast("str | None", arguments.get("request")),
        )
        await self._learn_secrets(servers)
        await self._gateway_opened(gateway)
        return {"gateway": gateway.id, "commands": commands, "urls": urls}

    async def _gateway_opened(self, gateway: Gateway) -> None:
        gateway.trial.judge.gateway_opened(gateway.id, gateway.idle_ok, label=gateway.label)
        if gateway.request:
            await self._op_context({"kind": "request", "text": gateway.request, "agent": gateway.agent})

    async def _learn_secrets(self, servers: Mapping[str, Mapping[str, object]]) -> None:
        found = {
            value
            for entry in servers.values()
            for name, value in cast(dict[str, str], entry.get("env") or {}).items()
            if len(value) >= _MIN_SECRET and any(part in name.upper() for part in _SECRET_NAME)
        }
        for name, entry in servers.items():
            if "url" in entry:
                found |= HttpServer.from_mapping(name, entry).credentials
        await self._learn(found)

    async def _learn(self, values: Set[str]) -> None:
        """Note values that the report withholds, here and at main."""
        found = set(values) - self._secrets
        if found:
            self._secrets |= found
            if self._link is not None:
                await self._link.call("secrets", values=sorted(found))
            elif self._desk is not None:
                await self._desk.perform("secrets", {"values": sorted(found)})

    async def _op_close_gateway(self, arguments: Mapping[str, object]) -> object:
        return await self.gateways.close(str(arguments["gateway"]))

    async def _op_failures(self, arguments: Mapping[str, object]) -> object:
        return self.gateways.failures(str(arguments["gateway"]))

    async def _op_progress(self, arguments: Mapping[str, object]) -> object:
        return {
            "connections": self.gateways.open_connections,
            "bytes": self.segment.stored_bytes,
            "failures": self.gateways.news(),
        }

    async def _op_context(self, arguments: Mapping[str, object]) -> object:
        fields = {
            "kind": arguments["kind"],
            "agent": arguments["agent"],
            "text": Committed(arguments["text"]),
        }
        return self._current().record("context", fields)

    async def _op_expect_denied(self, arguments: Mapping[str, object]) -> object:
        trial = self._keeping()
        # A block may end in another test than it began in; it speaks of the one that it began in.
        self._expected += 1
        token = trial.judge.expect_denied(cast("str | None", arguments.get("rule")))
        self._expectations[self._expected] = (trial, token)
        return self._expected

    async def _op_end_expectation(self, arguments: Mapping[str, object]) -> object:
        begun = self._expectations.pop(cast(int, arguments["token"]), None)  # its test is kept no longer for it
        if begun is None:
            return []
        trial, token = begun
        return [trial.told(f) for f in trial.judge.end_expectation(token)]

    async def _op_require(self, arguments: Mapping[str, object]) -> object:
        requirement = cast(Mapping[str, object], arguments["requirement"])
        trial = self._keeping()
        return [trial.told(f) for f in trial.judge.require(requirement)]

    async def _op_standing(self, arguments: Mapping[str, object]) -> object:
        trial = self._current()
        return [trial.told(f) for f in trial.judge.standing()]

    async def _op_conclude(self, arguments: Mapping[str, object]) -> object:
        trial = self._current()
        trial.exercised = True
        return [trial.told(f) for f in trial.conclude()]

    async def _op_calls(self, arguments: Mapping[str, object]) -> object:
        return [call.as_fields() for call in self._keeping().calls]

    async def _op_accesses(self, arguments: Mapping[str, object]) -> object:
        return list(self._keeping().accesses)

    async def _op_end_test(self, arguments: Mapping[str, object]) -> object:
        trial = self._trial
        if trial is None:
            raise ConfigurationError("no audited test is running that could be ended")
        await self.gateways.close_all(trial)
        findings = self._end_trial(trial, str(arguments["outcome"]), arguments.get("failure"))
        self.segment.checkpoint(sync=True)
        self._trial, trial.ended = None, True
        self.gateways.forget(trial)
        return {
            "findings": [trial.told(f) for f in findings],
            "calls": trial.call_count,
            "denied": trial.denied_count,
        }

    def _end_trial(self, trial: Trial, outcome: str, failure: object) -> list[Finding]:
        findings = trial.conclude()
        fields: dict[str, object] = {"phase": "end", "outcome": outcome}
        if failure:
            fields["failure"] = Committed(failure)
        trial.record("test", fields)
        return findings

    async def _op_rotate(self, arguments: Mapping[str, object]) -> object:
        """Go on in a new run, over the same connections; nothing is received between the two."""
        if self._desk is None or self._begun is None:
            raise RecorderError("only the main recorder of a run in which a test has begun can go on in another run")
        async with self._turnstile.stopped():
            before = self._current()
            ended = self._run
            for conversation in before.conversations:
                conversation.scribe.passed_on()
            self._end_trial(before, "passed", None)
            self.segment = self._desk.rotate(str(arguments["run"]))
            self._run = str(arguments["run"])
            await self._op_start_test(self._begun)
            after = self._current()
            after.threads = before.threads.in_another_run()
            self._definitions.another_run()
            for gateway in self.gateways.pass_on(before, after):
                await self._gateway_opened(gateway)
            for conversation in list(before.conversations):
                after.conversations.add(conversation)
                conversation.continue_in(after, ended)
        return {"run": self._run}

    async def _op_not_run(self, arguments: Mapping[str, object]) -> object:
        test = (str(arguments["name"]), 1)
        self.segment.append("test", {"phase": "start", "nodeid": Committed(arguments["nodeid"])}, test=test)
        end: dict[str, object] = {"phase": "end", "outcome": arguments["outcome"]}
        if arguments.get("failure"):
            end["failure"] = Committed(arguments["failure"])
        return self.segment.append("test", end, test=test)

    def _keeping(self) -> Trial:
        if self._config.stays:
            raise RecorderError("a recorder that stays keeps no calls; read them from the evidence")
        return self._current()

    def _current(self) -> Trial:
        current = self._trial or self._session
        if current is None:
            raise ConfigurationError(
                "no audited test is running: use mcp_audit inside the test or fixture that asked for it, "
                "and ask for the fixture anew in every test"
            )
        return current

    def _lasting(self) -> SessionTrial:
        if self._session is None:
            raise ConfigurationError("mcp_audit_session has ended, or was not asked for")
        return self._session

    # -- who is no agent of this run ---------------------------------------------------------------------------------

    def _turned_away(self, facts: Mapping[str, object], stranger: bool) -> None:
        """Record an HTTP request that was not admitted, in the test that is running."""
        clear = ("status", "method")
        said = {k: v if k in clear else Committed(v) for k, v in facts.items()}
        fields = {"state": "refused", "transport": "http", **said}
        trial = self._trial or self._session
        ref = trial.record("session", fields) if trial is not None else self.segment.append("session", fields)
        if stranger:
            self._stranger(ref)

    def refused(self, token: str) -> None:
        """Record a connection to the socket that was not admitted, in the test that is running."""
        known = self.gateways.knows(token)
        what = "through a gateway that is closed" if known else "without a valid token"
        fields = {"stream": "forward", "text": Committed(f"a connection {what} was refused")}
        trial = self._trial or self._session
        ref = trial.record("io", fields) if trial is not None else self.segment.append("io", fields)
        if token and not known:  # who hung up before a word, as a pipe that was killed does, is nobody
            self._stranger(ref)

    def _stranger(self, ref: str) -> None:
        """Whoever is no agent of this run and tries to reach a server is the finding UNKNOWN-AGENT."""
        trial = self._trial or self._session
        if trial is not None:
            trial.judge.stranger(ref)
        elif self._strangers < MOST_STRANGERS:
            self._strangers += 1
            found = refused_stranger(ref, None if self._mode == "none" else self._mode)
            fields = {name: getattr(found, name) for name in ("state", "mode", "rule", "clause", "expected")}
            listed = {"controls": [], "refs": list(found.refs), "reason": Committed(found.reason)}
            self.segment.append("finding", fields | listed)
