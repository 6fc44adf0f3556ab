"""What a hostile server or agent says beside its answers reaches no terminal and no file as it is."""

import re

import pytest

from .suites import Suite

KEY = "k3y-0123456789-abcdef"
SHAPED = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
CRASH = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET, ("crash", {}))
    assert False
"""


@pytest.fixture
def deploying(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """A suite whose environment holds a secret."""
    monkeypatch.setenv("DEPLOY_TOKEN", KEY)
    return suite


def told(suite: Suite, text: str) -> list[str]:
    """The files of the run and of the suite's folder that hold `text`, the server's own log and configuration aside."""
    found = [p for p in suite.folder.rglob("*") if p.is_file() and p.suffix in (".html", ".xml", ".jsonl", ".md")]
    return [p.name for p in found if text.encode() in p.read_bytes() and not p.name.endswith(".sd.jsonl")]


def test_a_dying_servers_last_words_are_masked_and_made_harmless(deploying: Suite):
    said = f"\x1b]0;owned\x07\x1b[2J {KEY} {SHAPED}\n::error::pwn\n##[error]pwn\n::stop-commands::x"
    deploying.policy("plain.*")
    deploying.declare("plain", PLAIN_SAY=said)
    deploying.test(CRASH)
    ended = deploying.run("--junitxml=j.xml")
    assert "ended with status 3" in ended.text
    assert "\\u{1b}" in ended.text
    assert not re.search(r"[\x1b\x07\x9b]", ended.text)
    assert not [line for line in ended.text.splitlines() if line.strip().startswith(("::", "##["))]
    for secret in (KEY, SHAPED):
        assert secret not in ended.text
        assert told(deploying, secret) == []


def test_a_secret_of_the_environment_in_the_place_of_a_name_stands_nowhere(deploying: Suite):
    deploying.declare("plain", PLAIN_VERSION=f"1-{KEY}")
    deploying.test(f"""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), ("pay_{KEY}", {{}}))
""")
    ended = deploying.run("--junitxml=j.xml")
    assert ended.status == 1
    assert "DEFAULT-DENY" in ended.text
    (closed,) = [r for r in ended.of_type("session") if r["state"] == "closed"]
    assert closed["server_info"] == {"name": "plain", "version": "1-[secret]"}
    assert KEY not in ended.text
    assert told(deploying, KEY) == []


def test_an_agent_is_not_named_by_a_secret(deploying: Suite):
    deploying.test(f"""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="clerk {KEY}") as gw:
        pass
""")
    ended = deploying.run()
    assert "the agent's name holds the value of a secret" in ended.text
    assert told(deploying, KEY) == []


def test_short_secrets_count_from_six_characters_on(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHORT_TOKEN", "hUn7x9")
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), ("get_vendor", {"id": "hUn7x9"}))
""")
    suite.run()
    assert told(suite, "hUn7x9") == []
