"""A real Chromium and the sample pages as files, as an auditor opens them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pytest_mcp_governance.report import render
from pytest_mcp_governance.session.browser import find_browser
from tests.report.other_runs import broken_run, changed_run, expectations_run, hostile_run, unjudged_run
from tests.report.sample_run import sample_run

RUNS = {
    "sample": sample_run,
    "broken": broken_run,
    "changed": changed_run,
    "expectations": expectations_run,
    "hostile": hostile_run,
    "unjudged": unjudged_run,
}
Open = Callable[..., "Opened"]


class Opened:
    """A page in the browser with everything it complained about or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url.split(",")[0]))


# A module's: while it is open, playwright's own event loop is in the way of tests that run one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = find_browser()  # says what to do where there is none
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for name, run in RUNS.items():
        reader, facts = run(folder / name)
        written[name] = folder / f"{name}.html"
        # The container's items follow the view; a browser sees data blocks that it does not run.
        item = b'<script type="text/plain" data-path="seg/main.jsonl">H4sIAAAA</script>\n'
        view = render(reader, facts)
        written[name].write_bytes(view + b"<!--mcp-governance-evidence-v1-->\n" + item + b"</body></html>\n")
    return written


@pytest.fixture
def open_page(chromium: Browser, files: dict[str, Path]) -> Iterator[Open]:
    contexts = []

    def opened(name: str, anchor: str = "", *, width: int = 1440, script: bool = True, **more: Any) -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script, **more)
        contexts.append(context)
        shown = Opened(context.new_page())
        shown.page.goto(files[name].as_uri() + anchor)
        return shown

    yield opened
    for context in contexts:
        context.close()
