"""The fixtures that a suite overrides, and what they do with files that cannot be used."""

from pathlib import Path

import pytest

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.servers import choose, read_servers
from tests.plugin.suites import Suite

ONE_GET = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
"""


def test_variables_come_from_the_environment_and_the_recorders_own_stay(tmp_path: Path):
    path = tmp_path / "mcp.json"
    path.write_text(
        '{"mcpServers": {"web": {"command": "${BIN:-web}", "args": ["--cdp", "${MCP_AUDIT_CDP_URL}", "${MISSING}"],'
        ' "env": {"TOKEN": "${STRIPE}", "PORT": "${MCP_AUDIT_CDP_PORT}"}, "cwd": "sub"}}}'
    )
    assert read_servers(path, {"STRIPE": "sk-1"}) == {
        "web": {
            "command": "web",
            "args": ["--cdp", "${MCP_AUDIT_CDP_URL}", "${MISSING}"],
            "env": {"TOKEN": "sk-1", "PORT": "${MCP_AUDIT_CDP_PORT}"},
            "cwd": str(tmp_path / "sub"),
        }
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"mcp.json:1:2: not JSON"),
        ("[]", 'has no object "mcpServers"'),
        ('{"servers": {}}', 'has no object "mcpServers"'),
        ('{"mcpServers": {"a b": {"command": "x"}}}', "server name 'a b' must consist of letters"),
        ('{"mcpServers": {"a": {}}}', "server 'a' has no command"),
        ('{"mcpServers": {"a": "x"}}', "server 'a' must be an object, got str"),
        (
            '{"mcpServers": {"a": {"comand": "x", "argz": []}}}',
            "no command; did you mean 'command' for 'comand'. Its keys: comand, argz",
        ),
        ('{"mcpServers": {"a": {"run": "x"}}}', "server 'a' has no command; its keys: run"),
        ('{"mcpServers": {"a": {"command": 7}}}', "command must be a text that is not empty, got int"),
        ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "args must be a list of texts, got str"),
        ('{"mcpServers": {"a": {"command": "x", "args": ["y", 7]}}}', r"args must be a list of texts, got int in it"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"N": 1}}}}', "env must be an object of texts, got int in it"),
        ('{"mcpServers": {"a": {"command": "x", "env": ["A=b"]}}}', "env must be an object of texts, got list"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "the key 'a' occurs twice"),
    ],
)
def test_a_servers_file_that_cannot_be_used_says_where_and_why(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_servers(path, {})


def test_an_unknown_server_names_those_that_are_declared(tmp_path: Path):
    declared = {"books": {"command": "x"}, "plain": {"command": "x"}}
    for name, says in (("boks", "named 'boks'; did you mean 'books'?"), ("zz", "named 'zz'.")):
        with pytest.raises(ConfigurationError) as caught:
            choose(declared, [name], folder=tmp_path)
        assert str(caught.value) == f"no MCP server is {says} Declared: books, plain."


def test_a_variable_that_is_not_set_stops_only_the_test_that_needs_it(tmp_path: Path):
    declared = {"a": {"command": "x"}, "b": {"command": "x", "env": {"KEY": "${STRIPE_KEY}"}}}
    assert set(choose(declared, ["a"], folder=tmp_path)) == {"a"}
    with pytest.raises(ConfigurationError, match="server 'b' needs the environment variable STRIPE_KEY"):
        choose(declared, ["b"], folder=tmp_path)


def test_a_server_behind_a_url_is_declared_with_its_headers(tmp_path: Path):
    path = tmp_path / "mcp.json"
    entry = '{"url": "https://mcp.example/x", "type": "sse", "headers": {"X-Key": "${LOGIN}"}}'
    path.write_text('{"mcpServers": {"a": {"command": "x"}, "b": ' + entry + "}}")
    declared = read_servers(path, {"LOGIN": "opened"})
    assert set(choose(declared, [], folder=tmp_path)) == {"a", "b"}
    given = {"url": "https://mcp.example/x", "type": "sse", "headers": {"X-Key": "opened"}}
    assert choose(declared, ["b"], folder=tmp_path) == {"b": given}
    with pytest.raises(ConfigurationError, match="server 'b' needs the environment variable LOGIN"):
        choose(read_servers(path, {}), ["b"], folder=tmp_path)


def test_no_servers_at_all_says_how_to_declare_one(tmp_path: Path):
    for names in ([], ["books"]):
        with pytest.raises(ConfigurationError) as caught:
            choose({}, names, folder=tmp_path)
        assert str(caught.value) == (
            f"no mcp.json in {tmp_path} (pytest's rootdir). Write one there, "
            "or name it with --mcp-governance-servers=FILE."
        )


def test_a_rootdir_that_an_option_moved_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mcp.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "project")
    with pytest.raises(ConfigurationError, match=r"lies in .*project, where pytest was started.*Write --option=PATH"):
        choose({}, [], folder=tmp_path)


def test_an_empty_declaration_is_not_called_a_missing_file(tmp_path: Path):
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    with pytest.raises(ConfigurationError, match=r"no MCP server is declared: mcp\.json, or what the fixture"):
        choose({}, [], folder=tmp_path)


def test_a_broken_mcp_json_is_an_error_of_the_tests_that_need_it_and_no_traceback(suite: Suite):
    suite.write("mcp.json", "{")
    suite.test(ONE_GET)
    ended = suite.run()
    assert ended.status == 1
    assert "ConfigurationError: mcp.json:1:2: not JSON" in ended.text
    assert "Traceback" not in ended.text
    assert "servers.py" not in ended.text


def test_a_suite_declares_its_servers_with_a_fixture(suite: Suite):
    suite.write(
        "conftest.py",
        f"""
import json, pytest
@pytest.fixture
def mcp_audit_servers():
    return {{"mine": json.loads({(suite.folder / "mcp.json").read_text()!r})["mcpServers"]["plain"]}}
@pytest.fixture
def mcp_audit_policy():
    return "governance: 1\\npolicy: mine\\nrules:\\n- {{id: R, allow: ['mine.*']}}\\n"
""",
    )
    suite.test(ONE_GET.replace("plain", "mine"))
    ended = suite.run()
    assert ended.status == 0
    (policy,) = ended.of_type("policy")
    assert [source["kind"] for source in policy["sources"]] == ["inline"]


def test_the_option_applies_beside_an_overridden_policy(suite: Suite):
    suite.write("strict.yaml", "governance: 1\npolicy: strict\nrules:\n- {id: NONE, allow: ['plain.nothing']}\n")
    suite.write(
        "conftest.py",
        """
import pytest
@pytest.fixture
def mcp_audit_policy():
    return "governance.policy.yaml"
""",
    )
    suite.test(ONE_GET)
    assert suite.run().status == 0
    assert suite.run("--mcp-governance-policy=strict.yaml").status == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [("'nowhere.yaml'", "nowhere.yaml: cannot be read"), ("3", "must give a path"), ("'a: [\\n'", "mcp_audit_policy:")],
)
def test_a_policy_fixture_that_cannot_be_used_fails_the_run_even_under_xfail(suite: Suite, value: str, message: str):
    suite.write("conftest.py", f"import pytest\n@pytest.fixture\ndef mcp_audit_policy():\n    return {value}\n")
    suite.test("@pytest.mark.xfail" + ONE_GET)
    ended = suite.run()
    assert ended.outcomes == {"xfailed": 1}
    assert ended.status == 1
    assert message in ended.text


BROKEN = "governance: 1\npolicy: broken\nrules:\n- {id: READ, alow: ['plain.*']}\n"


@pytest.mark.parametrize("workers", [0, 2], ids=["serial", "n2"])
def test_a_policy_that_cannot_be_read_is_not_called_no_policy_and_has_no_consequences(suite: Suite, workers: int):
    suite.write("governance.policy.yaml", BROKEN)
    suite.test(ONE_GET)
    ended = suite.run(workers=workers)
    assert ended.status == 1
    assert "run fails: governance.policy.yaml:4:14: unknown key 'alow' in a rule" in ended.text
    assert "NOT JUDGED: the policy could not be read (see above)" in ended.text
    assert "no policy" not in ended.text
    assert "no end on record" not in ended.text
    assert ended.ends() == {("test_inner.py::test_agent", 1): "error"}


def test_a_marks_policy_that_is_missing_is_named_with_where_it_was_looked_for(suite: Suite):
    suite.test("@pytest.mark.mcp_governance(policy='narow.yaml')" + ONE_GET, name="sub/test_inner.py")
    text = suite.run().text
    assert "PolicyError: sub/narow.yaml: cannot be read: No such file or directory" in text
    assert f"A mark's policy lies beside the test's file: {suite.folder / 'sub' / 'narow.yaml'}" in text
