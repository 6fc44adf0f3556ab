"""The page that users read is true: its examples load, its vocabulary is the loader's, its failure is the real one."""

import re
from pathlib import Path

import pytest

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy import loader, operators, sections
from pytest_mcp_governance.policy.detectors import DETECTORS
from pytest_mcp_governance.policy.verdicts import RESERVED_RULES
from tests.policy.cases import Bench, policy

PAGE = (Path(__file__).parents[2] / "docs" / "policy-format.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_loads(text: str) -> None:
    assert policy(text).rules


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize(
    "words",
    [loader._KEYS, loader._LATER, sections._RULE_KEYS, sections._RULE_LATER, sections._DATA_KEYS, sections._DATA_LATER,
     operators.KNOWN, operators.NOT_SUPPORTED, DETECTORS, RESERVED_RULES],
)  # fmt: skip
def test_every_word_that_the_loader_knows_is_on_the_page(words: tuple[str, ...]) -> None:
    assert [word for word in words if not re.search(rf"`{word}[`.:]", PAGE)] == []


def test_the_failure_reads_as_shown() -> None:
    bench = Bench(EXAMPLES[1])
    bench.call("stripe.create_refund", {"amount": 82000, "currency": "usd", "charge": "ch_1"}, agent="payables-3")
    shown = PAGE.split("PAY-REFUND  payables.policy.yaml", 1)[1].split("```", 1)[0].strip().splitlines()
    told = bench.judge.conclude()[0].describe().splitlines()
    assert [line.replace("main/1", "main/412") for line in told[1:]] == shown[1:]


@pytest.mark.parametrize(
    "change",
    [
        ("allow: [stripe", "alow: [stripe"),
        ("rules:", "budgets: [a]\nrules:"),
        ("mode: enforce", "mode: obsreve"),
        (EXAMPLES[1], ""),
        ("id: PAY-REFUND", "id: PAY-READ"),
    ],
)
def test_the_errors_read_as_shown(change: tuple[str, str]) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(EXAMPLES[1].replace(*change, 1))
    for line in str(caught.value).splitlines():
        assert re.sub(r"^\S+:\d+:\d+: |test(?=\.policy)", "", line) in PAGE.replace("payables.policy", ".policy")
