"""What the demo's tests share: servers that are set up, a workspace, the invoices site on a local port.

The servers themselves are declared in mcp.json and the policy in governance.policy.yaml; the plugin
finds both here, at pytest's rootdir.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import setup_servers
import workspace

EXAMPLES = Path(__file__).resolve().parent
CLERK_PATIENCE_S = 120


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (missing := setup_servers.missing()):
        raise pytest.UsageError(
            f"the demo's servers are not set up ({', '.join(missing)}); run: python {EXAMPLES / 'setup_servers.py'}"
        )


@pytest.fixture(scope="session", autouse=True)
def workspace_root() -> Path:
    """The folder that the agents work in, as mcp.json names it."""
    return workspace.build()


@pytest.fixture(scope="session")
def invoices_site() -> Iterator[str]:
    """The URL of the invoices site, served on a free local port; browsers resolve *.localhost themselves."""
    handler = partial(_QuietHandler, directory=str(EXAMPLES / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://invoices.localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def run_clerk(tmp_path: Path) -> Callable[[Mapping[str, object], str], str]:
    """Run the clerk in a process and an environment of its own; return its final answer."""

    def run(config: Mapping[str, object], invoice: str) -> str:
        file = tmp_path / "clerk.mcp.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        python = EXAMPLES / ".servers" / "agent" / "bin" / "python"
        done = subprocess.run(
            [python, "-m", "agents.clerk", file, invoice],
            cwd=EXAMPLES,
            capture_output=True,
            text=True,
            timeout=CLERK_PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"the clerk ended with {done.returncode}:\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    return run


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests belong into the evidence, not between pytest's dots."""
