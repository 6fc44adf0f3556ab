"""What two workers record is what one process records."""

from collections import Counter
from collections.abc import Mapping

from tests.plugin.suites import Suite

POLICY = """\
governance: 1
policy: books
data:
  vendor: {results: {"plain.get_vendor": ["$"]}}
rules:
- {id: READ, allow: ["plain.get_*"]}
"""
SUITE = """
@pytest.mark.parametrize("who", ["a", "b", "c"])
def test_reads(mcp_audit, who):
    with mcp_audit.gateway("plain", agent=who) as gw:
        run_agent(gw.command("plain"), GET, GET)

@pytest.mark.xfail
@pytest.mark.parametrize("who", ["a", "d"])
def test_oversteps(mcp_audit, who):
    with mcp_audit.gateway("plain", agent=who) as gw:
        run_agent(gw.command("plain"), GET, PAY, DELETE)

def test_is_denied(mcp_audit):
    with mcp_audit.gateway("plain", agent="e") as gw, mcp_audit.expect_denied():
        run_agent(gw.command("plain"), PAY)
"""


def test_findings_calls_and_accesses_are_the_same_with_two_workers_as_with_none(suite: Suite):
    suite.write("governance.policy.yaml", POLICY)
    suite.test(SUITE)
    recorded: list[tuple[Counter[tuple[object, ...]], ...]] = []
    for workers in (0, 2):
        ended = suite.run(workers=workers, apart=True)
        assert (ended.status, ended.outcome) == (1, "VERIFIED"), ended.text
        records = ended.records
        calls = [
            r for r in records if r["type"] == "msg" and r.get("method") == "tools/call" and r["direction"] == "c2s"
        ]
        recorded.append(
            (
                _counted(calls, "test", "agent", "server", "tool"),
                _counted(ended.of_type("access"), "test", "agent", "server", "tool", "scope", "status", "how"),
                _counted(ended.of_type("finding"), "test", "agent", "rule", "clause", "state", "mode", "expected"),
            )
        )
        for run in ended.runs:
            run.rename(suite.folder / run.name)
    serial, parallel = recorded
    assert serial == parallel
    assert [sum(counted.values()) for counted in (serial[0], serial[2])] == [13, 5]
    assert {access[4] for access in serial[1]} >= {"vendor"}


def _counted(records: list[Mapping[str, object]], *fields: str) -> Counter[tuple[object, ...]]:
    return Counter(tuple(record.get(field) for field in fields) for record in records)
