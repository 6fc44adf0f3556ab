"""`--mcp-governance-floor`: a policy from outside the change under test, which nothing in the change relaxes."""

import hashlib
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.plugin.suites import READ_ONLY, SERIAL_AND_PARALLEL, Ended, Suite

FLOOR = "--mcp-governance-floor=git:base:governance.policy.yaml"
ALL = 'governance: 1\npolicy: all\nrules:\n- {id: ALL, allow: ["plain.*"]}\n'
NO_DELETE = 'governance: 1\npolicy: no-delete\nkind: constraint\nrules:\n- {id: FLOOR-DELETE, deny: ["*.delete_*"]}\n'
GETS = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="a") as gw:
        run_agent(gw.command("plain"), GET)
"""
PAYS = GETS.replace("GET)", "PAY)")
DELETES = GETS.replace("GET)", "DELETE)")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def change(suite: Suite) -> Suite:
    """A suite in a working tree whose branch `base` holds the read-only policy; what follows is the change."""
    git(suite.folder, "init", "-q", "-b", "base")
    git(suite.folder, "add", "governance.policy.yaml", "mcp.json")
    git(suite.folder, "commit", "-q", "-m", "base")
    git(suite.folder, "checkout", "-q", "-b", "change")
    return suite


def denied(ended: Ended) -> set[object]:
    return {(d["rule"], d["effect"]) for d in ended.of_type("decision") if d["verdict"] == "deny"}


# -- a change that relaxes its own policy ----------------------------------------------------------------------------


@SERIAL_AND_PARALLEL
def test_a_change_that_widens_its_own_policy_fails_under_the_floor_and_only_there(change: Suite, workers: int):
    change.write("governance.policy.yaml", ALL)
    change.test(PAYS)
    assert change.run().status == 0
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 1
    assert ended.outcomes == {"failed": 1}
    assert ended.verified("passed")[0] == 5


@SERIAL_AND_PARALLEL
def test_a_change_that_deletes_its_policy_is_judged_by_the_floor_alone(change: Suite, workers: int):
    (change.folder / "governance.policy.yaml").unlink()
    change.test(PAYS)
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 1
    assert denied(ended) == {("DEFAULT-DENY", "block")}
    change.test(GETS)
    assert change.run(FLOOR, "--mcp-governance-gate=any", workers=workers).status == 0


def test_a_floor_that_only_limits_allows_nothing_alone(change: Suite, tmp_path_factory: pytest.TempPathFactory):
    floor = tmp_path_factory.mktemp("org") / "floor.yaml"
    floor.write_text(NO_DELETE)
    change.test(GETS)
    assert change.run(f"--mcp-governance-floor={floor}").status == 0
    (change.folder / "governance.policy.yaml").unlink()
    assert change.run(f"--mcp-governance-floor={floor}").status == 1


@SERIAL_AND_PARALLEL
@pytest.mark.parametrize("given", ["None", "'all.yaml'", "'''\\n" + ALL.replace("\n", "\\n") + "'''"])
def test_a_fixture_that_gives_no_policy_or_a_wider_one_does_not_lift_the_floor(change: Suite, given: str, workers: int):
    change.write("all.yaml", ALL)
    change.test(f"@pytest.fixture\ndef mcp_audit_policy():\n    return {given}\n{PAYS}")
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 1
    assert denied(ended) == {("DEFAULT-DENY", "block")}


@SERIAL_AND_PARALLEL
def test_observing_in_the_policy_of_the_change_relaxes_nothing(change: Suite, workers: int):
    change.write("governance.policy.yaml", ALL + "mode: observe\n")
    change.test(PAYS)
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 1
    assert denied(ended) == {("DEFAULT-DENY", "block")}


@pytest.mark.parametrize(
    ("ini", "mark"),
    [("mcp_governance_mode = observe", ""), ("", "@pytest.mark.mcp_governance(mode='observe')")],
    ids=["ini", "mark"],
)
def test_observing_by_ini_or_mark_is_an_error_that_names_the_floor(change: Suite, ini: str, mark: str):
    change.write("governance.policy.yaml", ALL + "mode: observe\n")
    change.write("pytest.ini", f"[pytest]\n{ini}\n")
    change.test(f"\n{mark}{PAYS}")
    ended = change.run(FLOOR)
    assert ended.status == 1
    assert re.search(
        r"git:base:governance.policy.yaml@[0-9a-f]{12} says enforce; a mode can only be tightened", ended.text
    )


CAPPED = """\
governance: 1
policy: capped
rules:
- {id: PAY, allow: ["plain.pay"], args: {amount: {type: integer, max: 4}}}
"""
WAIVER = """\
waivers:
- {id: W-1, rule: PAY, args: {amount: {max: 90}}, agents: [a], owner: us, ticket: T-1, expires: EXPIRES, reason: ours}
"""


@SERIAL_AND_PARALLEL
def test_a_change_that_adds_its_own_waiver_fails_under_the_floor_and_only_there(change: Suite, workers: int):
    log = change.folder / "asked.jsonl"
    change.declare("plain", PLAIN_LOG=str(log))
    change.write("governance.policy.yaml", CAPPED)
    git(change.folder, "commit", "-q", "-am", "capped")
    git(change.folder, "branch", "-f", "base")
    expires = str(datetime.now(UTC).date() + timedelta(days=30))
    change.write("governance.policy.yaml", CAPPED + WAIVER.replace("EXPIRES", expires))
    change.test(PAYS)
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 1
    assert denied(ended) == {("PAY", "block")}
    assert not log.exists()
    assert change.run().status == 0
    assert log.exists()


def test_a_waiver_of_the_floor_lifts_the_floors_rule_only(change: Suite):
    expires = str(datetime.now(UTC).date() + timedelta(days=30))
    change.write("governance.policy.yaml", CAPPED + WAIVER.replace("EXPIRES", expires))
    git(change.folder, "commit", "-q", "-am", "waived")
    git(change.folder, "branch", "-f", "base")
    change.test(PAYS)
    assert change.run(FLOOR).status == 0
    change.write("governance.policy.yaml", CAPPED)
    assert change.run(FLOOR).status == 1


SCOPED = """\
governance: 1
policy: scoped
agents:
  clerks: ["clerk-*"]
data:
  invoices: {paths: ["/srv/ap/**"]}
rules:
- {id: READ, allow: ["plain.get_*"], to: [clerks], data: [invoices]}
"""
READS = """
def test_agent(mcp_audit):
    with mcp_audit.gateway("plain", agent="AGENT") as gw:
        run_agent(gw.command("plain"), ("get_vendor", {"id": "PATH"}))
"""


@pytest.mark.parametrize(
    ("old", "new", "agent", "path"),
    [
        ('invoices: {paths: ["/srv/ap/**"]}', 'invoices: {paths: ["/srv/**"]}', "clerk-1", "/srv/hr/salaries"),
        ('clerks: ["clerk-*"]', 'clerks: ["*"]', "intruder", "/srv/ap/1"),
    ],
    ids=["data scope", "agents"],
)
def test_a_change_of_a_data_scope_or_of_who_is_in_a_group_does_not_reach_the_floor(
    change: Suite, old: str, new: str, agent: str, path: str
):
    change.write("governance.policy.yaml", SCOPED)
    git(change.folder, "commit", "-q", "-am", "scoped")
    git(change.folder, "branch", "-f", "base")
    change.write("governance.policy.yaml", SCOPED.replace(old, new))
    change.test(READS.replace("AGENT", agent).replace("PATH", path))
    assert change.run().status == 0
    ended = change.run(FLOOR)
    assert ended.status == 1
    assert re.search(r"\n(READ|DEFAULT-DENY)  git:base:governance.policy.yaml@[0-9a-f]{12}:8", ended.text)
    assert "plain.get_vendor blocked" in ended.text


# -- settings of the change ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["mcp_governance_gate = GATE", "addopts = --mcp-governance-gate=GATE"])
@pytest.mark.parametrize("which", ["reached", "off"])
def test_under_a_floor_only_the_command_line_chooses_a_weaker_gate(change: Suite, setting: str, which: str):
    change.write("pytest.ini", f"[pytest]\n{setting.replace('GATE', which)}\n")
    change.test(PAYS)
    ended = change.run(FLOOR)
    assert ended.status == 4
    assert f"the configuration sets the gate to {which}, but the run has a floor" in ended.text
    assert change.run(FLOOR, "--mcp-governance-gate=any").status == 1
    assert change.run(FLOOR, f"--mcp-governance-gate={which}").status == 0


@pytest.mark.parametrize("option", ["--collect-only", "--help", "--fixtures", "--markers"])
def test_a_pytest_that_runs_no_test_does_not_pass_under_a_floor_or_a_requirement(change: Suite, option: str):
    change.write("pytest.ini", f"[pytest]\naddopts = {option}\n")
    change.test(PAYS)
    assert change.run().status == 0
    for typed in (FLOOR, "--mcp-governance-require"):
        ended = change.run(typed)
        assert ended.status == 4
        assert "pytest ends with success without having run a test" in ended.text


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_a_pytest_that_calls_no_test_does_not_pass_under_a_floor(change: Suite, option: str):
    change.write("pytest.ini", f"[pytest]\naddopts = {option}\n")
    change.test(PAYS)
    ended = change.run(FLOOR)
    assert ended.status == 1
    assert "run fails: pytest reports success, but 1 audited tests did not pass" in ended.text


@pytest.mark.parametrize("name", ["mcp_governance", "mcp_governance_lifecycle"])
def test_turning_off_the_plugin_or_a_part_of_it_is_an_error(change: Suite, name: str):
    change.write("pytest.ini", f"[pytest]\naddopts = -p no:{name}\n")
    change.test(PAYS)
    assert change.run(FLOOR).status == 4


def test_a_floor_in_addopts_does_not_replace_the_one_on_the_command_line(change: Suite):
    change.write("all.yaml", ALL)
    change.write("governance.policy.yaml", ALL)
    change.write("pytest.ini", "[pytest]\naddopts = --mcp-governance-floor=all.yaml\nmcp_governance_floor = all.yaml\n")
    change.test(PAYS)
    assert change.run(FLOOR).status == 1
    ended = change.run()
    assert ended.status == 0
    assert "floor all.yaml sha256:" in ended.text
    assert "(the change under test can edit it)" in ended.text


def test_an_empty_floor_as_an_unset_variable_leaves_it_is_a_usage_error(change: Suite):
    change.test(GETS)
    ended = change.run("--mcp-governance-floor=")
    assert ended.status == 4
    assert "--mcp-governance-floor is empty" in ended.text


# -- where the floor comes from --------------------------------------------------------------------------------------


@SERIAL_AND_PARALLEL
def test_the_floor_with_its_commit_stands_in_the_header_the_records_the_open_statement_and_the_page(
    change: Suite, workers: int
):
    change.test(GETS)
    commit, digest = git(change.folder, "rev-parse", "base"), hashlib.sha256(READ_ONLY.encode()).hexdigest()
    name = f"git:base:governance.policy.yaml@{commit[:12]}"
    ended = change.run(FLOOR, workers=workers)
    assert ended.status == 0
    assert f"floor {name} sha256:{digest[:12]}," in ended.text
    (policy,) = ended.of_type("policy")
    assert policy["sources"] == [
        {"blob": digest, "name": "governance.policy.yaml", "kind": "file"},
        {"blob": digest, "name": name, "kind": "floor"},
    ]
    assert ended.opened["floor"] == {"name": name, "sha256": digest, "commit": commit}
    assert re.search(rf"<dt>Floor</dt><dd>(<[^>]*>)*name {re.escape(name)}", ended.page)


@SERIAL_AND_PARALLEL
def test_a_ref_that_moves_while_the_run_starts_moves_no_floor(change: Suite, workers: int):
    change.write("governance.policy.yaml", ALL)
    change.write(
        "conftest.py",
        """
import subprocess

def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "wide"], check=True)
        subprocess.run(["git", "branch", "-f", "base", "HEAD"], check=True)
""",
    )
    change.test(PAYS)
    ended = change.run(FLOOR, workers=workers)
    assert git(change.folder, "show", "base:governance.policy.yaml") == ALL.strip()
    assert ended.status == 1
    assert denied(ended) == {("DEFAULT-DENY", "block")}


@pytest.mark.parametrize("where", ["rootdir", "repository", "symlink", "outside"])
def test_a_floor_in_the_working_tree_is_used_with_a_warning(
    change: Suite, where: str, tmp_path_factory: pytest.TempPathFactory
):
    elsewhere = tmp_path_factory.mktemp("org") / "floor.yaml"
    elsewhere.write_text(NO_DELETE)
    floor = {"outside": elsewhere, "symlink": change.folder / "link.yaml"}.get(where, change.folder / "floor.yaml")
    if where == "symlink":
        floor.symlink_to(elsewhere)
    elif where != "outside":
        floor.write_text(NO_DELETE)
    inner = change.folder / ("sub" if where == "repository" else ".")
    change.write(f"{inner.name}/pytest.ini" if where == "repository" else "pytest.ini", "[pytest]\n")
    change.test(DELETES.replace("test_agent", "test_deletes"), f"{inner.name}/test_inner.py" if inner.name else "t.py")
    for name in ("mcp.json", "governance.policy.yaml"):
        (inner / name).write_text((change.folder / name).read_text())
    ended = change.run(f"--mcp-governance-floor={floor}", f"--rootdir={inner}", str(inner))
    assert ended.status == 1
    assert "FLOOR-DELETE plain.delete_vendor blocked" in ended.text
    assert ("the change under test can edit it" in ended.text) == (where != "outside")


def test_a_floor_that_only_an_ini_file_names_is_used_with_a_warning(change: Suite):
    change.write("pytest.ini", "[pytest]\nmcp_governance_floor = git:base:governance.policy.yaml\n")
    change.write("governance.policy.yaml", ALL)
    change.test(PAYS)
    ended = change.run()
    assert ended.status == 1
    assert "(the change under test can name another)" in ended.text


@pytest.mark.parametrize(
    ("floor", "says"),
    [
        ("nowhere.yaml", "nowhere.yaml cannot be read: No such file"),
        ("git:nowhere:governance.policy.yaml", "revision 'nowhere' cannot be used"),
        ("git:base:nowhere.yaml", "'nowhere.yaml' is no file in base"),
        ("git:base", "is not of the form git:REV:PATH"),
        ("git:base:mcp.json", "floor git:base:mcp.json@"),
    ],
)
def test_a_floor_that_cannot_be_used_is_a_usage_error(change: Suite, floor: str, says: str):
    change.test(GETS)
    ended = change.run(f"--mcp-governance-floor={floor}")
    assert ended.status == 4
    assert says in ended.text
    assert "INTERNALERROR" not in ended.text


# -- what the evidence says of it ------------------------------------------------------------------------------------


@SERIAL_AND_PARALLEL
def test_a_reader_can_require_the_floor_by_the_digest_of_its_text(change: Suite, workers: int):
    change.test(GETS)
    digest = hashlib.sha256(READ_ONLY.encode()).hexdigest()
    ended = change.run(FLOOR, workers=workers)
    assert ended.verified("passed", f"floor=sha256:{digest}")[0] == 0
    code, report = ended.verified(f"floor={'0' * 64}")
    assert code == 5
    assert digest in report["problems"][0]["text"]


def test_without_a_floor_that_requirement_is_not_met(change: Suite):
    change.test(GETS)
    code, report = change.run().verified(f"floor={hashlib.sha256(READ_ONLY.encode()).hexdigest()}")
    assert code == 5
    assert "not every test had a floor" in report["problems"][0]["text"]
