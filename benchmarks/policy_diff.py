"""Comparing two policies, beside loading them: seconds, in one run. The aim is under a second for 100 rules.

Run: python benchmarks/policy_diff.py [RULES]
"""

import sys
import time

from pytest_mcp_governance.policy.diff import diff
from pytest_mcp_governance.policy.loader import load_policy


def main(rules: int) -> None:
    """Compare a policy with itself and with one in which a limit and a pattern are wider."""
    begun = time.perf_counter()
    before = load_policy(text(rules), name="before")
    loaded = time.perf_counter() - begun
    after = load_policy(text(rules).replace("max: 9}", "max: 91}").replace("put_3'", "put_*'"), name="after")
    begun = time.perf_counter()
    same = diff([before], [before])
    alone = time.perf_counter() - begun
    begun = time.perf_counter()
    wider = diff([before], [after])
    changed = time.perf_counter() - begun
    print(f"{rules} rules: load {loaded:.2f} s, compare with itself {alone:.2f} s ({len(same.changes)} changes), "
          f"with a wider one {changed:.2f} s ({len(wider.changes)} changes)")  # fmt: skip


def text(rules: int) -> str:
    """A policy of so many rules over nine servers and eight groups, with patterns that overlap."""
    agents = "agents: {" + ", ".join(f"g{n}: ['team{n}-*']" for n in range(8)) + "}"
    lines = [
        f"- {{id: R{n}, allow: ['s{n % 9}.get_{n}_*', 's{n % 9}.put_{n}', '*.list_{n}_*'], to: [g{n % 8}], "
        f"args: {{amount: {{type: integer, max: {n}}}, id: {{regex: 'x+'}}}}}}"
        for n in range(rules - 5)
    ]
    lines += [f"- {{id: D{n}, deny: ['*.*delete_{n}*', '*.drop_{n}']}}" for n in range(5)]
    return "\n".join(["governance: 1", "policy: bench", agents, "rules:", *lines]) + "\n"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
