"""Where the messages of a connection that outlives a test belong, for any order of tests, requests and answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.session.lasting import SessionTrial
from pytest_mcp_governance.session.resolve import FileResolver
from pytest_mcp_governance.session.trial import Trial

OWN = ("mcp_audit_session@main", 1)


class Lines:
    """A segment that keeps what it is given in memory."""

    def __init__(self) -> None:
        self.tests: list[tuple[str, int] | None] = []

    def append(self, type_: str, fields: Mapping[str, object], *, test: tuple[str, int] | None = None) -> str:
        self.tests.append(test)
        return f"main/{len(self.tests) - 1}"


def judge() -> Judge:
    return Judge([], mode=None, resolver=FileResolver(Path("/")))


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["begin", "end", "ask", "notify"]),
        st.tuples(st.just("answer"), st.integers(0, 9), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS)
def test_a_request_belongs_to_the_test_that_runs_and_an_answer_to_its_request(
    steps: list[str | tuple[str, int, bool]],
) -> None:
    lines = Lines()
    segment = cast(Segment, lines)
    running: list[Trial] = []
    session = SessionTrial(segment, judge(), OWN, lambda: running[-1] if running else None)
    waiting: list[tuple[str, tuple[str, int]]] = []  # ref of a request and where it belongs
    begun = 0

    def now() -> tuple[str, int]:
        return running[-1].test if running else OWN

    def record(**fields: object) -> tuple[str, tuple[str, int] | None]:
        ref = session.record("msg", fields)
        return ref, lines.tests[-1]

    for step in steps:
        if step == "begin" and not running:
            begun += 1
            running.append(Trial(segment, judge(), (f"test_{begun}", 1)))
        elif step == "end" and running:
            running.pop().ended = True
        elif step == "ask":
            ref, home = record(kind="request", origin="received")
            assert home == now()
            waiting.append((ref, now()))
        elif step == "notify":
            assert record(kind="notification", origin="received")[1] == now()
        elif isinstance(step, tuple) and waiting:
            asked, belongs = waiting.pop(step[1] % len(waiting))
            origin = "synthesised" if step[2] else "received"
            ref, home = record(kind="result", origin=origin, ref=asked)
            assert home == belongs
            # What follows from the answer, a decision or an access, goes the same way.
            session.record("decision", {"ref": ref})
            assert lines.tests[-1] == belongs
