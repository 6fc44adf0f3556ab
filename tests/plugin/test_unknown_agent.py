"""A connection to the recorder without an agent's token: refused, and a finding of the test that is running."""

import json

import pytest

from tests.plugin.suites import Suite

STRANGE = """
import os, socket, stat, urllib.error, urllib.request
from pathlib import Path

def knock(command, *lines):
    \"\"\"Connect to the recorder's socket as a program that has no token.\"\"\"
    path = Path(command[-1]).read_text().splitlines()[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(20)
        link.connect(path)
        # At once: the recorder hangs up after the first line.
        link.sendall(b"".join(line + b"\\n" for line in lines))
        return link.recv(100) if lines else b""

"""
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_vendor","arguments":{}}}'
KNOCKING = f"""
def test_a(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        assert knock(gw.command("plain"), b"guessed", {CALL!r}) == b""

def test_b(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
"""


def test_it_is_refused_fails_the_test_that_is_running_and_stands_in_the_report(suite: Suite):
    suite.declare("plain", PLAIN_LOG=str(suite.folder / "asked.jsonl"))
    suite.test(STRANGE + KNOCKING)
    ended = suite.run()
    assert (ended.status, ended.outcomes, ended.outcome) == (1, {"failed": 1, "passed": 1}, "VERIFIED"), ended.text
    (finding,) = ended.of_type("finding")
    assert (finding["test"], finding["rule"], finding["state"]) == ("test_inner.py::test_a", "UNKNOWN-AGENT", "blocked")
    assert "UNKNOWN-AGENT" in ended.text and "guessed" not in ended.text
    assert "UNKNOWN-AGENT" in ended.page
    assert (suite.folder / "asked.jsonl").read_text().count("\n") == 2


def test_a_test_that_is_about_strangers_expects_them_by_name(suite: Suite):
    suite.declare("plain")
    suite.test(
        STRANGE
        + """
@pytest.mark.parametrize("rule", [None, "UNKNOWN-AGENT"])
def test_a(mcp_audit, rule):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        with mcp_audit.expect_denied(rule):
            knock(gw.command("plain"), b"guessed")
"""
    )
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"passed": 1, "failed": 1}), ended.text
    strangers = [r for r in ended.of_type("finding") if r["rule"] == "UNKNOWN-AGENT"]
    assert sorted((r["test"], r["expected"]) for r in strangers) == [
        ("test_inner.py::test_a#1", False),  # [None]: any denial of a call, which did not happen
        ("test_inner.py::test_a#2", True),
    ]


def test_under_xfail_and_in_a_run_without_any_policy(suite: Suite):
    """The gate reads the evidence; where nothing is judged, it is recorded and fails nothing."""
    suite.declare("plain")
    suite.test(STRANGE + KNOCKING)
    suite.write(
        # Text of the inner suite: that it cannot hide a finding or a gap is what this tests.
        "conftest.py",
        "import pytest\ndef pytest_itemcollected(item):\n    item.add_marker(pytest.mark.xfail)\n",
    )
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"xfailed": 1, "xpassed": 1}), ended.text
    (suite.folder / "governance.policy.yaml").unlink()
    (run,) = ended.runs
    run.rename(suite.folder / run.name)
    ended = suite.run()
    assert ended.status == 0, ended.text
    assert [(r["rule"], r["mode"]) for r in ended.of_type("finding")] == [("UNKNOWN-AGENT", "observe")]


def test_who_says_nothing_or_comes_too_late_is_no_stranger(suite: Suite):
    suite.declare("plain")
    suite.test(
        STRANGE
        + """
def test_a(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        path, token = Path(gw.command("plain")[-1]).read_text().splitlines()
        run_agent(gw.command("plain"), GET)
        knock(gw.command("plain"))
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        assert knock(gw.command("plain"), token.encode()) == b""
"""
    )
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (0, {"passed": 1}), ended.text
    assert len([r for r in ended.of_type("io") if r["stream"] == "forward"]) == 2


@pytest.mark.parametrize("path", ["/guessed/mcp", "/.well-known/oauth-protected-resource"])
def test_over_http_it_is_the_same_finding_and_discovery_is_none(suite: Suite, path: str):
    declared = json.loads((suite.folder / "mcp.json").read_text())
    declared["mcpServers"]["far"] = {"url": "http://127.0.0.1:9/mcp"}
    suite.write("mcp.json", json.dumps(declared))
    suite.test(
        STRANGE
        + f"""
def test_a(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
    with mcp_audit.gateway("far", agent="a", idle_ok=True) as gw:
        home = gw.url("far").split("/")[2]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{{home}}{path}", timeout=20)
"""
    )
    ended = suite.run()
    found = [record["rule"] for record in ended.of_type("finding")]
    assert (ended.status, found) == ((1, ["UNKNOWN-AGENT"]) if path == "/guessed/mcp" else (0, [])), ended.text


def test_between_tests_it_fails_the_run(suite: Suite):
    suite.declare("plain")
    suite.test(
        STRANGE
        + f"""
kept = []

def test_a(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
        kept.append(Path(gw.command("plain")[-1]).read_text().splitlines()[0])

def test_unaudited(tmp_path):
    (tmp_path / "t").write_text(kept[0])
    knock([tmp_path / "t"], b"guessed", {CALL!r})
"""
    )
    ended = suite.run()
    assert (ended.status, ended.outcomes, ended.outcome) == (1, {"passed": 2}, "VERIFIED"), ended.text
    (finding,) = ended.of_type("finding")
    assert finding.get("test") is None and finding["rule"] == "UNKNOWN-AGENT"
    assert "UNKNOWN-AGENT" in ended.page
