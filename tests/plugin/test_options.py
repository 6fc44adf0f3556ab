"""Settings that cannot be used stop pytest with exit status 4 before any test, and say what to do."""

import pytest

from tests.plugin.suites import READ_ONLY, Suite

PASSING = "def test_plain(): pass\n"


def test_a_policy_that_does_not_exist_is_a_usage_error(suite: Suite):
    suite.test(PASSING)
    ended = suite.run("--mcp-governance-policy=nowhere.yaml")
    assert ended.status == 4
    assert "policy file" in ended.text
    assert "nowhere.yaml does not exist" in ended.text


@pytest.mark.parametrize("source", ["option", "ini"])
def test_a_malformed_policy_is_a_usage_error_with_file_and_line(suite: Suite, source: str):
    suite.test(PASSING)
    suite.write("bad.policy.yaml", "governance: 1\npolicy: bad\nrules:\n- {id: X, alow: ['a.*']}\n")
    if source == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_policy = bad.policy.yaml\n")
    ended = suite.run(*(["--mcp-governance-policy=bad.policy.yaml"] if source == "option" else []))
    assert ended.status == 4
    assert "bad.policy.yaml:4" in ended.text
    assert "INTERNALERROR" not in ended.text


def test_a_policy_that_is_not_text_is_a_usage_error(suite: Suite):
    suite.test(PASSING)
    (suite.folder / "binary.yaml").write_bytes(b"governance: \xff")
    ended = suite.run("--mcp-governance-policy=binary.yaml")
    assert ended.status == 4
    assert "not UTF-8 at byte 12" in ended.text


def test_a_mode_in_ini_outside_its_choices_is_a_usage_error(suite: Suite):
    suite.test(PASSING)
    suite.write("pytest.ini", "[pytest]\nmcp_governance_mode = lenient\n")
    ended = suite.run()
    assert ended.status == 4
    assert "'lenient'; it must be one of enforce, observe" in ended.text


def test_unreadable_servers_named_by_the_option_are_a_usage_error(suite: Suite):
    suite.test(PASSING)
    suite.write("broken.json", '{"mcpServers": ')
    ended = suite.run("--mcp-governance-servers=broken.json")
    assert ended.status == 4
    assert "broken.json:1:" in ended.text


KEY = "MC4CAQAwBQYDK2VwBCIEIIVv7f1Nq0J3zJtq3rM1m2Y5cV8x9kQmXo2lS1bZ4aTn"


@pytest.mark.parametrize(
    "pasted", [KEY, f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----", "ab" * 32, KEY * 200]
)
@pytest.mark.parametrize("source", ["option", "environment"])
def test_key_material_in_place_of_a_path_is_refused_and_not_shown(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, pasted: str, source: str
):
    suite.test(PASSING)
    if source == "environment":
        monkeypatch.setenv("MCP_GOVERNANCE_SIGNING_KEY", pasted)
    ended = suite.run(*([f"--mcp-governance-signing-key={pasted}"] if source == "option" else []))
    assert ended.status == 4
    assert "never the key itself" in ended.text
    assert KEY not in ended.text
    assert "ab" * 32 not in ended.text


def test_a_signing_key_file_that_does_not_exist_is_named(suite: Suite):
    suite.test(PASSING)
    ended = suite.run("--mcp-governance-signing-key=keys/ours.pem")
    assert ended.status == 4
    assert "keys/ours.pem does not exist" in ended.text
    assert "mcp-governance keygen" in ended.text


@pytest.mark.parametrize("source", ["option", "ini", "environment"])
def test_a_signing_key_file_with_the_wrong_content_is_a_usage_error_and_is_not_shown(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, source: str
):
    suite.test(PASSING)
    suite.write("ours.pem", "not a key but 0123456789abcdef")
    if source == "environment":
        monkeypatch.setenv("MCP_GOVERNANCE_SIGNING_KEY", "ours.pem")
    elif source == "ini":
        suite.write("pytest.ini", "[pytest]\nmcp_governance_signing_key = ours.pem\n")
    ended = suite.run(*(["--mcp-governance-signing-key=ours.pem"] if source == "option" else []))
    assert ended.status == 4
    assert "Signing key file 'ours.pem': Saw 0 PEM blocks; expected an Ed25519 private key" in ended.text
    assert "0123456789abcdef" not in ended.text


def test_a_key_service_that_this_version_does_not_have_is_a_usage_error(suite: Suite):
    suite.test(PASSING)
    ended = suite.run("--mcp-governance-signing-key=awskms:///alias/ours")
    assert ended.status == 4
    assert "not available in this version" in ended.text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere/report.html", "nowhere does not exist; make it"),
        ("taken.txt/report.html", "taken.txt is not a folder"),
        ("folder", "is a folder; name a file"),
    ],
)
@pytest.mark.parametrize("source", ["option", "ini"])
def test_a_report_path_that_cannot_be_written_is_a_usage_error(suite: Suite, path: str, says: str, source: str):
    suite.test(PASSING)
    suite.write("taken.txt", "")
    (suite.folder / "folder").mkdir()
    if source == "ini":
        suite.write("pytest.ini", f"[pytest]\nmcp_governance_report_path = {path}\n")
    ended = suite.run(*([f"--mcp-governance-report-path={path}"] if source == "option" else []))
    assert ended.status == 4
    assert f"mcp-governance: the report cannot go to {suite.folder / path}: " in ended.text
    assert says in ended.text


AGENT_PAYS = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), PAY)
"""


def test_the_mode_option_tightens_a_policy_that_observes(suite: Suite):
    suite.write("governance.policy.yaml", READ_ONLY + "mode: observe\n")
    suite.test(AGENT_PAYS)
    assert suite.run("--mcp-governance-mode=enforce").outcomes == {"failed": 1}


def test_the_mode_option_does_not_relax_a_policy_that_enforces_and_says_so(suite: Suite):
    suite.test(AGENT_PAYS)
    ended = suite.run("--mcp-governance-mode=observe")
    assert ended.status == 1
    assert "--mcp-governance-mode is observe, but governance.policy.yaml says enforce" in ended.text


def test_the_header_names_what_is_configured(suite: Suite):
    suite.test(PASSING)
    ended = suite.run("--mcp-governance-policy=governance.policy.yaml", "--mcp-governance-mode=observe")
    assert ended.status == 0
    assert "mcp-governance: policy governance.policy.yaml sha256:" in ended.text
    assert "mode observe, ticket report, no signing key" in ended.text


def test_the_report_goes_where_the_option_says(suite: Suite):
    suite.test("""
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
""")
    (suite.folder / "out").mkdir()
    ended = suite.run("--mcp-governance-report-path=out/evidence.html", "--mcp-governance-report=full")
    assert ended.status == 0
    assert (suite.folder / "out" / "evidence.html").stat().st_size > 1000
    assert "report: out/evidence.html (" in ended.text
    assert not (suite.folder / "governance-report.html").exists()


def test_ini_paths_start_at_the_ini_file_and_the_option_wins(suite: Suite):
    suite.write("strict.yaml", "governance: 1\npolicy: strict\nrules:\n- {id: NONE, allow: ['plain.nothing']}\n")
    suite.write("pytest.ini", "[pytest]\nmcp_governance_policy = nowhere.yaml\n")
    suite.test(PASSING)
    ended = suite.run("--mcp-governance-policy=strict.yaml")
    assert ended.status == 0
    assert "policy strict.yaml sha256:" in ended.text
