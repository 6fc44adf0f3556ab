"""Every way in which pytest can end a test or a run, each with a real denied call: what pytest exits with and what the
report then verifies as. In no row does a denial end in 0."""

from dataclasses import dataclass

import pytest

from tests.plugin.suites import Suite

DENIED = """
def denied(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET, DELETE)
"""
WHOLE, PARTIAL = "VERIFIED", "INCOMPLETE"


@dataclass(frozen=True)
class Row:
    """A situation: an inner suite, how it is run, and what must come of it.

    Args:
        body: the suite; it may call `denied(mcp_audit)`.
        outcome: of `verify`, its signer trusted.
        ends: outcome of each attempt by (test, attempt), as recorded.
        says: a text of the terminal.
        apart: cannot run inside this process.
    """

    body: str
    outcome: str
    ends: dict[tuple[str, int], str]
    args: tuple[str, ...] = ()
    status: int = 1
    says: str = "1 unexpected finding in enforce mode"
    apart: bool = False


ROWS = {
    "rerun, green in the end": Row(
        "tries = []\n\ndef test_agent(mcp_audit):\n    tries.append(1)\n    if len(tries) == 1:\n"
        "        denied(mcp_audit)\n    else:\n        with mcp_audit.gateway('plain', agent='a') as gw:\n"
        "            run_agent(gw.command('plain'), GET)\n",
        WHOLE,
        {("test_agent", 1): "rerun", ("test_agent", 2): "passed"},
        args=("--reruns=1",),
    ),
    "rerun, never green": Row(
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "rerun", ("test_agent", 2): "failed"},
        args=("--reruns=1",),
        says="2 unexpected findings in enforce mode",
    ),
    "a failing subtest": Row(
        "def test_agent(mcp_audit, subtests):\n    for n in range(2):\n        with subtests.test(n=n):\n"
        "            if n:\n                denied(mcp_audit)\n                mcp_audit.check()\n",
        WHOLE,
        {("test_agent", 1): "failed"},
    ),
    "a denial inside a passing subtest": Row(
        "def test_agent(mcp_audit, subtests):\n    with subtests.test(n=1):\n        denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "failed"},
    ),
    "skipped inside, after the denial": Row(
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n    pytest.skip('never mind')\n",
        WHOLE,
        {("test_agent", 1): "failed"},
    ),
    "skipped by its mark, beside a denial": Row(
        "@pytest.mark.skip\ndef test_marked(mcp_audit): pass\n\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_marked", 1): "skipped", ("test_agent", 1): "failed"},
    ),
    "xfail": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
        says="test_inner.py::test_agent (xfailed)  DEFAULT-DENY  plain.delete_vendor by a (blocked)",
    ),
    "strict xfail": Row(
        "@pytest.mark.xfail(strict=True)\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
    ),
    "xfail for another error": Row(
        "@pytest.mark.xfail(raises=ValueError)\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "failed"},
    ),
    "xfail inside, after the denial": Row(
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n    pytest.xfail('known')\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
    ),
    "xfail that is not run, beside a denial": Row(
        "@pytest.mark.xfail(run=False)\ndef test_marked(mcp_audit): pass\n\n"
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_marked", 1): "xfailed", ("test_agent", 1): "failed"},
    ),
    "a setup error after the denial": Row(
        "@pytest.fixture\ndef broken(mcp_audit):\n    denied(mcp_audit)\n    raise RuntimeError('no database')\n\n"
        "def test_agent(broken): pass\n",
        WHOLE,
        {("test_agent", 1): "error"},
    ),
    "a setup error after the denial, under xfail": Row(
        "@pytest.fixture\ndef broken(mcp_audit):\n    denied(mcp_audit)\n    raise RuntimeError('no database')\n\n"
        "@pytest.mark.xfail\ndef test_agent(broken): pass\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
    ),
    "a skip in setup after the denial": Row(
        "@pytest.fixture\ndef leaving(mcp_audit):\n    denied(mcp_audit)\n    pytest.skip('no database')\n\n"
        "def test_agent(leaving): pass\n",
        WHOLE,
        {("test_agent", 1): "error"},
    ),
    "a denial in a fixture's teardown": Row(
        "@pytest.fixture\ndef late(mcp_audit):\n    yield\n    denied(mcp_audit)\n\n"
        "def test_agent(late, mcp_audit):\n    with mcp_audit.gateway('plain', agent='a') as gw:\n"
        "        run_agent(gw.command('plain'), GET)\n",
        WHOLE,
        {("test_agent", 1): "error"},
    ),
    "a teardown error after the denial, under xfail": Row(
        "@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError('still open')\n\n"
        "@pytest.mark.xfail\ndef test_agent(broken, mcp_audit):\n    denied(mcp_audit)\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
    ),
    "-x": Row(
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n\ndef test_never(mcp_audit): pass\n",
        PARTIAL,
        {("test_agent", 1): "failed"},
        args=("-x",),
        says="stopping after 1 failures",
    ),
    "--maxfail, with the denial under xfail": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\n"
        "def test_broken():\n    raise AssertionError\n\ndef test_never(mcp_audit): pass\n",
        PARTIAL,
        {("test_agent", 1): "xfailed"},
        args=("--maxfail=1",),
    ),
    "-k": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\ndef test_other(mcp_audit): pass\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
        args=("-k", "agent"),
    ),
    "--deselect": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\ndef test_other(mcp_audit): pass\n",
        WHOLE,
        {("test_agent", 1): "xfailed"},
        args=("--deselect=test_inner.py::test_other",),
    ),
    "the session is stopped by a hook": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit, request):\n    request.session.shouldstop = 'enough'\n"
        "    denied(mcp_audit)\n\ndef test_never(mcp_audit): pass\n",
        PARTIAL,
        {("test_agent", 1): "xfailed"},
        status=2,
        says="enough",
    ),
    "pytest.exit with status 0": Row(
        "def test_agent(mcp_audit):\n    denied(mcp_audit)\n    pytest.exit('done', returncode=0)\n\n"
        "def test_never(mcp_audit): pass\n",
        PARTIAL,
        {("test_agent", 1): "error"},
    ),
    "pytest.exit with status 0 in another test": Row(
        "@pytest.mark.xfail\ndef test_agent(mcp_audit):\n    denied(mcp_audit)\n\n"
        "def test_leaving():\n    pytest.exit('done', returncode=0)\n",
        PARTIAL,
        {("test_agent", 1): "xfailed"},
    ),
}


@pytest.mark.parametrize("apart", [False, True], ids=["in-process", "subprocess"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_no_row_of_the_lifecycle_ends_a_denial_in_success(suite: Suite, row: Row, apart: bool):
    suite.test(DENIED + row.body)
    ended = suite.run(*row.args, apart=apart)
    assert (ended.status, ended.outcome) == (row.status, row.outcome), ended.text
    assert row.says in ended.text
    assert "INTERNALERROR" not in ended.text
    assert {(str(name).removeprefix("test_inner.py::"), n): end for (name, n), end in ended.ends().items()} == row.ends
    denials = [r for r in ended.of_type("decision") if r["verdict"] == "deny" and r["moment"] == "before"]
    assert len(denials) == sum("denied(" in line for line in row.body.splitlines()) * (2 if row.says[0] == "2" else 1)
    assert [record for record in ended.of_type("finding") if not record["expected"]]
