"""What a test can do with `mcp_audit`."""

from tests.plugin.suites import Suite

PASSES = (0, {"passed": 1})


def test_a_gateway_gives_its_servers_in_the_forms_that_agents_read(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway(agent="a", idle_ok=True) as gw:
        assert set(gw.config["mcpServers"]) == set(gw.servers) == {"plain", "books"}
        program, *args = gw.command("plain")
        assert gw.config["mcpServers"]["plain"] == {"command": program, "args": args}
        assert gw.servers["plain"] == {"command": program, "args": args, "transport": "stdio"}
        with pytest.raises(Exception, match="serves no server named 'x'; it serves books, plain"):
            gw.command("x")
    closed = mcp_audit.gateway("plain", agent="a")
    with pytest.raises(Exception, match="the gateway is not open"):
        closed.config
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == PASSES


def test_calls_and_accesses_are_there_to_be_read(suite: Suite):
    suite.write(
        "governance.policy.yaml",
        """\
governance: 1
policy: scoped
data:
  vendors: {results: {plain.get_vendor: ["$"]}}
rules:
- {id: READ, allow: ["plain.get_*"], data: [vendors]}
""",
    )
    suite.test("""
def test_agent(mcp_audit):
    assert not mcp_audit.calls
    with mcp_audit.gateway("plain", agent="a", request="look up v1") as gw, mcp_audit.expect_denied("DEFAULT-DENY"):
        run_agent(gw.command("plain"), GET, PAY)
    get, pay = mcp_audit.calls
    assert (get.name, get.agent, get.arguments, get.verdict) == ("plain.get_vendor", "a", {"id": "v1"}, "allow")
    assert (pay.name, pay.rule, pay.verdict) == ("plain.pay", "DEFAULT-DENY", "deny")
    assert len(mcp_audit.calls) == 2 and "v1" not in repr(get)
    assert mcp_audit.calls.named("plain.get_*").all(id={"in": ["v1"]})
    assert mcp_audit.accesses.scopes == mcp_audit.accesses.by("a").scopes == {"vendors"}
    assert not mcp_audit.accesses.by("b")
    assert mcp_audit.agents == ("a",)
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == PASSES, ended.text


def test_an_assertion_that_is_broken_fails_at_its_own_line(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
    mcp_audit.calls.never("plain.get_*")
    raise RuntimeError("not reached")
""")
    ended = suite.run()
    assert ended.status == 1
    assert "test_inner.py:8: FindingsError" in ended.text
    assert "views.py" not in ended.text
    assert "RuntimeError" not in ended.text.replace('raise RuntimeError("not reached")', "")


def test_check_brings_the_finding_forward(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
    mcp_audit.check()
    raise RuntimeError("not reached")
""")
    ended = suite.run()
    assert "test_inner.py:8: FindingsError" in ended.text


def test_a_denial_that_was_expected_passes_and_is_counted(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw, mcp_audit.expect_denied("DEFAULT-DENY"):
        run_agent(gw.command("plain"), PAY)
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == PASSES
    assert [record["expected"] for record in ended.of_type("finding")] == [True]
    assert "verdict: no unexpected finding; besides 1 expected" in ended.text


def test_an_expected_denial_that_does_not_come_fails_the_test(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw, mcp_audit.expect_denied("DEFAULT-DENY"):
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == (1, {"failed": 1})


def test_a_test_can_drive_a_server_itself_with_the_installed_sdk(suite: Suite):
    log = suite.folder / "asked.jsonl"
    suite.declare("books", BOOKS_LOG=str(log))
    suite.test("""
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_agent(mcp_audit):
    async with mcp_audit.connect("books", agent="a", request="who is v1?") as books:
        got = await books.call_tool("get_vendor", {"id": "v1"})
        with mcp_audit.expect_denied("DEFAULT-DENY"):
            refused = await books.call_tool("delete_vendor", {"id": "v1"})
    assert "Acme" in got.content[0].text
    assert "DEFAULT-DENY" in refused.content[0].text
    assert [call.tool for call in mcp_audit.calls] == ["get_vendor", "delete_vendor"]
""")
    ended = suite.run()
    assert (ended.status, ended.outcomes) == PASSES, ended.text
    assert "delete_vendor" not in log.read_text()


def test_a_gateway_for_nobody_says_how_to_name_the_agent(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain"):
        pass
""")
    assert 'no agent is named: pass agent="' in suite.run().text


def test_an_audit_kept_from_an_earlier_test_cannot_be_used(suite: Suite):
    suite.test("""
kept = []

def test_first(mcp_audit):
    kept.append(mcp_audit)
    with mcp_audit.gateway("plain", agent="a", idle_ok=True):
        pass

def test_second(mcp_audit):
    with pytest.raises(Exception, match="this test's audit has ended"):
        kept[0].gateway("plain", agent="a")
    with mcp_audit.gateway("plain", agent="a", idle_ok=True):
        pass
""")
    assert suite.run().outcomes == {"passed": 2}


def test_what_led_to_the_calls_is_in_the_evidence(suite: Suite):
    suite.test("""
@pytest.mark.mcp_governance(agent="a")
def test_agent(mcp_audit):
    mcp_audit.context("prompt", "be brief")
    with pytest.raises(Exception, match="context kind must be one of request, prompt, model"):
        mcp_audit.context("thought", "hm")
    with mcp_audit.gateway("plain", request="look up v1") as gw:
        run_agent(gw.command("plain"), GET)
""")
    ended = suite.run()
    assert ended.status == 0
    assert [record["kind"] for record in ended.of_type("context")] == ["prompt", "request"]
