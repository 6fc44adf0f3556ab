"""Claims about the lock file: what it holds, that it is the same each time, what a check finds, what is refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.cli.lock import command
from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.policy.lockfile import (
    Lock,
    LockedServer,
    compare,
    definition_digest,
    locked_tool,
    read_lock,
    write_lock,
)
from tests.adopt.offers import READ, entry, project, tool

SERVER = LockedServer("0" * 64, "books", "1.0", "2025-11-25")


def lock(*definitions: dict[str, object], server: LockedServer = SERVER) -> Lock:
    return Lock({"books": server}, tuple(locked_tool("books", definition) for definition in definitions))


def run(folder: Path, *args: str) -> Result:
    where = ["--servers", str(folder / "mcp.json"), "--out", str(folder / "mcp-tools.lock")]
    return CliRunner().invoke(command, [*where, *args])


def books(folder: Path, *tools: dict[str, object], **more: object) -> None:
    project(folder, {"books": entry(folder, "books", tools=list(tools), **more)})


# --- the command, with a real server -------------------------------------------------------------------------------


def test_the_lock_of_the_same_servers_is_the_same_and_reads_back(tmp_path: Path) -> None:
    books(tmp_path, tool("pay"), tool("get", READ, id={"type": "string"}))
    first = run(tmp_path)
    assert (first.exit_code, "2 tools of 1 server" in first.output) == (0, True)
    text = (tmp_path / "mcp-tools.lock").read_text()
    books(tmp_path, tool("get", READ, id={"type": "string"}), tool("pay"), page=1)
    assert run(tmp_path).exit_code == 0
    assert (tmp_path / "mcp-tools.lock").read_text() == text
    read = read_lock(text)
    assert [(t.server, t.name, dict(t.annotations)) for t in read.tools] == [
        ("books", "get", READ),
        ("books", "pay", {}),
    ]
    assert read.tools[0].input_schema["properties"] == {"id": {"type": "string"}}
    assert read.servers["books"].protocol == "2025-11-25"
    assert run(tmp_path, "--check").exit_code == 0


def test_a_check_names_what_is_new_missing_and_changed_and_writes_nothing(tmp_path: Path) -> None:
    books(tmp_path, tool("get", READ), {**tool("pay"), "description": "Pay."}, tool("old"))
    run(tmp_path)
    text = (tmp_path / "mcp-tools.lock").read_text()
    books(
        tmp_path,
        tool("get", {"readOnlyHint": False}),
        {**tool("pay"), "description": "Pay.\x1b[2J"},
        tool("new"),
        version="2",
    )
    result = run(tmp_path, "--check")
    assert result.exit_code == 1
    for line in (
        'version: "1" -> "2"',
        "annotations.readOnlyHint: true -> false",
        'description: "Pay." -> "Pay.\\u001b[2J"',
        "  new      books.new",
        "  missing  books.old",
    ):
        assert line in result.output, result.output
    assert "\x1b" not in result.output
    assert (tmp_path / "mcp-tools.lock").read_text() == text


def test_no_credential_is_in_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKS_TOKEN", "from-the-machine")
    made = entry(tmp_path, "books", tools=[tool("get")])
    project(tmp_path, {"books": {**made, "env": {"BOOKS_TOKEN": "${BOOKS_TOKEN}"}}})
    assert run(tmp_path).exit_code == 0
    first = (tmp_path / "mcp-tools.lock").read_text()
    monkeypatch.setenv("BOOKS_TOKEN", "from-another")
    assert run(tmp_path, "--check").exit_code == 0
    assert "from-" not in first


@pytest.mark.parametrize(
    ("mcp", "locked", "says"),
    [
        (None, None, "mcp-tools.lock is not there"),
        (None, "{}", "the file must have exactly"),
        ('{"mcpServers": {"a": {"command": "no-such-program"}}}', "sound", "'no-such-program' was not found"),
        ('{"mcpServers": {"a": {"url": "https://x.example/mcp"}}}', "sound", "names no stdio server to lock"),
        ('{"mcpServers": {"a": 1}}', "sound", "server 'a' must be an object"),
        ('{"mcpServers": {}}', "sound", "names no stdio server to lock"),
        ("{", "sound", "mcp.json:1: not JSON"),
        (None, "sound", "cannot be read"),
    ],
)
def test_what_cannot_be_told_ends_with_two(tmp_path: Path, mcp: str | None, locked: str | None, says: str) -> None:
    if mcp is not None:
        (tmp_path / "mcp.json").write_text(mcp)
    if locked is not None:
        (tmp_path / "mcp-tools.lock").write_text(write_lock(lock(tool("get"))) if locked == "sound" else locked)
    result = run(tmp_path, "--check")
    assert result.exit_code == 2
    assert says in result.output, result.output


def test_a_server_that_no_audit_reaches_is_left_out_and_said(tmp_path: Path) -> None:
    far = {"url": "https://mcp.acme.example/mcp"}
    project(tmp_path, {"books": entry(tmp_path, "books", tools=[tool("get")]), "far": far})
    result = run(tmp_path)
    assert (result.exit_code, "far: left out" in result.output) == (0, True)
    assert list(read_lock((tmp_path / "mcp-tools.lock").read_text()).servers) == ["books"]


def test_half_a_lock_is_none(tmp_path: Path) -> None:
    project(tmp_path, {"good": entry(tmp_path, "good", tools=[tool("a")]), "dead": entry(tmp_path, "dead", mode="die")})
    result = run(tmp_path)
    assert (result.exit_code, (tmp_path / "mcp-tools.lock").exists()) == (2, False)
    assert "server dead: it ended with status 7" in result.output


# --- the file ------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_DEFINITIONS = st.dictionaries(st.text(min_size=1), st.dictionaries(st.text(), _JSON, max_size=4), max_size=4).map(
    lambda found: [{**definition, "name": name} for name, definition in found.items()]
)


@given(definitions=_DEFINITIONS)
def test_what_is_written_reads_back_and_differs_in_nothing(definitions: list[dict[str, object]]) -> None:
    made = lock(*definitions)
    text = write_lock(made)
    assert text.isascii()
    read = read_lock(text)
    assert write_lock(read) == text
    assert compare(made, read) == () == compare(read, made)


@given(definition=st.dictionaries(st.text(), _JSON, max_size=4), key=st.text(), value=_JSON)
def test_every_change_of_a_definition_is_found_and_named(
    definition: dict[str, object], key: str, value: object
) -> None:
    old = {**definition, "name": "get"}
    new = {**definition, key: value, "name": "get"}
    same = definition_digest(old) == definition_digest(new)
    assert bool(compare(lock(old), lock(new))) is not same


@given(text=st.text(max_size=80) | st.builds(json.dumps, _JSON))
def test_any_other_text_is_refused_with_the_files_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mine\.lock"):
        read_lock(text, "mine.lock")


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('"readOnlyHint": true', '"readOnlyHint": false', "it was edited"),
        ('"mcp-tools-lock": 1', '"mcp-tools-lock": 2', "this version reads no other"),
        ('"version": "1.0"', '"version": 1', "must be a text"),
        ('"server": "books"', '"server": "bank"', "not among the servers"),
        ('"name": "get",\n      "sha', '"name": "got",\n      "sha', "with the same name"),
        ('"protocol"', '"Protocol"', "must have exactly"),
        ('"command_sha256": "0', '"command_sha256": "x', "64 hexadecimal digits"),
        ('"books": {', '"the books": {', "server name 'the books' must be"),
        ('"tools": [', '"tools": [,', "mine.lock:"),
        ('"readOnlyHint": true', '"readOnlyHint": true, "readOnlyHint": true', "stands twice"),
    ],
)
def test_a_lock_that_was_tampered_with_is_refused(was: str, becomes: str, says: str) -> None:
    text = write_lock(lock(tool("get", {"readOnlyHint": True})))
    assert was in text
    with pytest.raises(ConfigurationError) as raised:
        read_lock(text.replace(was, becomes, 1), "mine.lock")
    assert says in str(raised.value)
