"""The sample run, written and rendered once for all tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.report import RunFacts, render

from .other_runs import hostile_run
from .sample_run import sample_run


@dataclass(frozen=True)
class Rendered:
    reader: EvidenceReader
    facts: RunFacts
    view: bytes

    @property
    def text(self) -> str:
        return self.view.decode()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    reader, facts = sample_run(tmp_path_factory.mktemp("sample"))
    return Rendered(reader, facts, render(reader, facts))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    reader, facts = hostile_run(tmp_path_factory.mktemp("hostile"))
    return Rendered(reader, facts, render(reader, facts))
