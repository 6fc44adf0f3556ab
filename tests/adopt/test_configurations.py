"""Claims about reading what MCP clients keep: every format, no credential, no crash, no fault at a neighbour's cost."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.adopt import jsonc
from pytest_mcp_governance.adopt.configurations import (
    Configuration,
    Kind,
    find,
    find_personal,
    kind_of,
    read,
    read_text,
)
from pytest_mcp_governance.adopt.entries import Server

KINDS: tuple[Kind, ...] = (
    "mcp.json", "claude-code", "claude-desktop", "cursor", "vscode", "vscode-settings", "windsurf", "gemini", "codex",
)  # fmt: skip
TIME = {"command": "uvx", "args": ["mcp-server-time"]}
# Built from halves, so that no scanner takes this file for a leak.
TOKEN = "ghp_" + "Z9" * 18


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def of(document: object, kind: Kind = "cursor") -> Configuration:
    return read_text(json.dumps(document), kind, Path("mcp.json"))


def one(entry: object, kind: Kind = "cursor") -> Server:
    found = of({"mcpServers": {"it": entry}}, kind)
    assert found.problems == ()
    return found.servers[0]


# --- where they lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "document"),
    [
        ("mcp.json", "mcp.json", {"mcpServers": {"time": TIME}}),
        (".mcp.json", "claude-code", {"mcpServers": {"time": {"type": "stdio", **TIME}}}),
        ("claude_desktop_config.json", "claude-desktop", {"mcpServers": {"time": TIME}}),
        (".cursor/mcp.json", "cursor", {"mcpServers": {"time": TIME}}),
        (".vscode/mcp.json", "vscode", {"servers": {"time": TIME}, "inputs": []}),
        (".vscode/settings.json", "vscode-settings", {"editor.tabSize": 2, "mcp": {"servers": {"time": TIME}}}),
        (".gemini/settings.json", "gemini", {"theme": "dark", "mcpServers": {"time": TIME}}),
        (".windsurf/mcp_config.json", "windsurf", {"mcpServers": {"time": TIME}}),
        (".codex/config.toml", "codex", '[mcp_servers.time]\ncommand = "uvx"\nargs = ["mcp-server-time"]\n'),
    ],
)
def test_each_client_of_a_project_is_found_and_read(tmp_path: Path, name: str, kind: str, document: object) -> None:
    path = written(tmp_path, name, document)
    (found,) = find(tmp_path)
    assert (found.kind, found.path, found.problems) == (kind, path, ())
    assert [(s.name, s.transport, s.command, s.args) for s in found.servers] == [
        ("time", "stdio", "uvx", ("mcp-server-time",))
    ]
    assert kind_of(path) == kind
    assert read(path) == found


def test_personal_configurations_are_found_apart_and_say_for_which_project(tmp_path: Path) -> None:
    written(
        tmp_path, ".claude.json",
        {"numStartups": 3, "mcpServers": {"a": TIME}, "projects": {"/srv/x": {"mcpServers": {"b": TIME}}, "/y": {}}},
    )  # fmt: skip
    written(tmp_path, ".config/Claude/claude_desktop_config.json", {"mcpServers": {"c": TIME}})
    written(
        tmp_path, ".codeium/windsurf/mcp_config.json", {"mcpServers": {"d": {"serverUrl": "https://d.example/sse"}}}
    )
    assert find(tmp_path) == ()
    found = find_personal(tmp_path)
    assert [(c.kind, s.name, s.scope, s.transport) for c in found for s in c.servers] == [
        ("claude-code", "a", "", "stdio"),
        ("claude-code", "b", "/srv/x", "stdio"),
        ("claude-desktop", "c", "", "stdio"),
        ("windsurf", "d", "", "sse"),
    ]


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    assert find(tmp_path) == () == find_personal(tmp_path / "nowhere")


# --- what an entry says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "transport", "url"),
    [
        ({"url": "https://mcp.example:8443/a/secret-path?token=x"}, "http", "https://mcp.example:8443"),
        ({"type": "http", "url": "https://user:pw@mcp.example/mcp"}, "http", "https://mcp.example"),
        ({"type": "sse", "url": "https://mcp.example/mcp"}, "sse", "https://mcp.example"),
        ({"url": "https://mcp.example/sse"}, "sse", "https://mcp.example"),
        ({"httpUrl": "https://mcp.example/sse"}, "http", "https://mcp.example"),
        ({"type": "streamable-http", "url": "http://[::1"}, "http", "a URL"),
    ],
)
def test_a_server_with_a_url_shows_where_it_is_and_nothing_more(entry: object, transport: str, url: str) -> None:
    server = one(entry)
    assert (server.transport, server.url, server.command) == (transport, url, "")


@pytest.mark.parametrize("off", [{"disabled": True}, {"enabled": False}])
def test_a_server_that_is_switched_off_is_listed_as_such(off: dict[str, object]) -> None:
    assert one({**TIME, **off}).disabled
    assert not one(TIME).disabled


def test_variables_of_every_client_become_one_form() -> None:
    document = {
        "inputs": [{"id": "api-key", "type": "promptString", "description": "Key of the API", "password": True}],
        "servers": {
            "it": {
                "command": "${workspaceFolder}/bin/it",
                "args": ["--root=${workspaceFolder}/data", "${workspaceFolder}", "${env:REGION}"],
                "env": {"API_KEY": "${input:api-key}", "PLACE": "${userHome}/x"},
            }
        },
    }
    found = of(document, "vscode")
    (server,) = found.servers
    assert server.command == "./bin/it"
    assert server.args == ("--root=./data", ".", "${REGION}")
    assert server.env == (("API_KEY", "${API_KEY}"), ("PLACE", "${HOME}/x"))
    assert server.needs == ("REGION", "API_KEY", "HOME")
    assert server.notes == ("its client asks for 'Key of the API': set the variable API_KEY",)


def test_the_workspace_is_the_same_place_from_a_folder_of_the_servers_own() -> None:
    server = one({"command": "it", "args": ["${workspaceFolder}/data"], "cwd": "${workspaceFolder}/server"})
    assert (server.cwd, server.args) == ("./server", ("../data",))


def test_what_is_not_used_is_noted() -> None:
    assert one({**TIME, "envFile": "${workspaceFolder}/.env"}).notes == (
        "its envFile is not read: set what it defines in the environment",
    )


# --- credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "stands"),
    [
        ({"env": {"GITHUB_TOKEN": "abc-123"}}, "${GITHUB_TOKEN}"),
        ({"env": {"GITHUB_PAT": "abc-123"}}, "${GITHUB_PAT}"),
        ({"env": {"SETTING": TOKEN}}, "${SETTING}"),
        ({"env": {"DATABASE_URL": "postgres://me:abc-123@db.example/x"}}, "${DATABASE_URL}"),
        ({"args": ["--api-key", "abc-123"]}, "${API_KEY}"),
        ({"args": ["--api-key=abc-123"]}, "--api-key=${API_KEY}"),
        ({"args": ["--header", "Authorization: Bearer abc-123"]}, "Authorization: ${AUTHORIZATION}"),
        ({"args": ["-e", "API_TOKEN=abc-123"]}, "API_TOKEN=${API_TOKEN}"),
        ({"args": ["postgres://me:abc-123@db.example/x"]}, "${IT_SECRET}"),
        ({"args": ["https://x.example/?api_key=abc-123"]}, "${IT_SECRET}"),
        ({"args": [TOKEN]}, "${IT_SECRET}"),
    ],
)
def test_a_credential_is_never_kept(entry: dict[str, object], stands: str) -> None:
    server = one({"command": "it", **entry})
    everything = repr(server) + repr(server.env)
    assert "abc-123" not in everything
    assert TOKEN not in everything
    assert stands in (*server.args, *(value for _, value in server.env))
    assert len(server.notes) == 1
    assert "is not copied" in server.notes[0]
    assert server.needs == (re.findall(r"\$\{(\w+)\}", stands)[0],)


@pytest.mark.parametrize(
    "entry",
    [
        {"env": {"MEMORY_FILE_PATH": "./memory.json", "AUTHOR": "me", "MAX_TOKENS": "4000", "DEBUG": "true"}},
        {"env": {"GITHUB_TOKEN": "${GITHUB_TOKEN}", "KEY": ""}},
        {"args": ["--keyboard", "us", "--key-file", "./key.pem", "--tokenizer", "bpe"]},
        {"args": ["--token", "${TOKEN}", "https://example.org/a?b=c"]},
    ],
)
def test_what_is_no_credential_stays(entry: dict[str, object]) -> None:
    server = one({"command": "it", **entry})
    assert server.notes == ()
    assert list(server.args) == entry.get("args", [])
    assert dict(server.env) == entry.get("env", {})


# --- what is wrong -------------------------------------------------------------------------------------------------


def test_a_fault_of_one_entry_costs_that_entry_and_has_its_line() -> None:
    text = '{\n "mcpServers": {\n  "bad": {"command": 5},\n  "good": {"command": "uvx"}\n }\n}'
    found = read_text(text, "cursor", Path("mcp.json"))
    assert [server.name for server in found.servers] == ["good"]
    ((problem),) = found.problems
    assert (problem.line, problem.text) == (3, "server 'bad': command must be a text that is not empty, seen int")


@pytest.mark.parametrize(
    ("text", "kind", "line", "says"),
    [
        ('{\n "mcpServers": {,}\n}', "cursor", 2, "not JSON"),
        ('{"mcpServers": {} // ours\n}', "mcp.json", 1, "not JSON"),
        ("", "cursor", 1, "not JSON"),
        ("[]", "cursor", 1, 'expected an object with "mcpServers", seen list'),
        ('{"mcpServers": []}', "cursor", 0, "must be an object"),
        ('{"a": 1}', "cursor", 0, 'it has no "mcpServers"'),
        ("[mcp_servers.x\n", "codex", 1, "not TOML"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "cursor", 1, "stands twice"),
        ('{"mcpServers": {"a": {}}}', "cursor", 1, "neither a command nor a url"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"SECRET": ["abc-123"]}}}}', "cursor", 1, "env must be"),
        ('{"mcpServers": {"a": {"command": "x\\u0000"}}}', "cursor", 1, "no program can be started"),
        ("[" * 100_000, "cursor", 0, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, kind: Kind, line: int, says: str) -> None:
    found = read_text(text, kind, Path("x"))
    assert any(says in problem.text and problem.line == line for problem in found.problems), found.problems
    assert "abc-123" not in repr(found)


def test_a_file_that_is_no_text_and_a_folder_are_problems(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_bytes(b'{\n"\xff": 1}')
    assert read(tmp_path / "mcp.json").problems[0].line == 2
    assert "cannot be read" in read(tmp_path).problems[0].text
    assert "cannot be read" in read(tmp_path / "gone.json").problems[0].text
    assert "no usable path" in read(Path("a\0b")).problems[0].text


def test_settings_that_say_nothing_of_servers_are_no_problem() -> None:
    assert of({"editor.tabSize": 2}, "vscode-settings").problems == ()


def test_vscode_with_the_key_of_the_others_is_read_and_said() -> None:
    found = of({"mcpServers": {"time": TIME}}, "vscode")
    assert [server.name for server in found.servers] == ["time"]
    assert "VS Code reads" in found.problems[0].text


# --- whatever it holds ---------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    ["command", "args", "env", "cwd", "url", "type", "headers", "disabled", "enabled", "envFile", "serverUrl"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(), inner, max_size=5),
    max_leaves=20,
)
_SECTIONS = st.sampled_from(["mcpServers", "servers", "mcp", "projects", "inputs", "mcp_servers"])


@given(document=st.dictionaries(_SECTIONS, st.dictionaries(st.text(), _JSON, max_size=3) | _JSON) | _JSON)
def test_any_json_is_servers_and_problems_and_never_a_crash(document: object) -> None:
    text = json.dumps(document)
    for kind in KINDS:
        found = read_text(text, kind, Path("x"))
        for server in found.servers:
            assert server.command or server.transport != "stdio"
            json.dumps([server.command, server.args, server.env]).encode()


@given(text=st.text(alphabet='{}[]",:/*\\ \n1ae\u2028', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in KINDS:
        read_text(text, kind, Path("x"))


_BLANKS = st.sampled_from(["", " ", "\n", '/* a, } " */', '// ] " ,\n', "/**/\t"])


@given(value=_JSON.filter(lambda v: v == v), data=st.data())
def test_comments_and_trailing_commas_change_nothing(value: object, data: st.DataObject) -> None:
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', json.dumps(value))
    text = ""
    for before, token in zip(["", *tokens], tokens, strict=False):
        comma = "," if token in "]}" and before not in ("", "[", "{", ",") and data.draw(st.booleans()) else ""
        text += comma + data.draw(_BLANKS) + token
    read_back, twice = jsonc.loads(text + data.draw(_BLANKS))
    assert json.dumps(read_back) == json.dumps(value)
    assert twice == ()


@given(text=st.text(alphabet='"\\/*,]} \n\ra', max_size=80))
def test_blanking_keeps_every_line_and_column(text: str) -> None:
    bare = jsonc.plain(text)
    assert len(bare) == len(text)
    assert [i for i, c in enumerate(text) if c == "\n"] == [i for i, c in enumerate(bare) if c == "\n"]


def test_a_file_of_unfinished_comments_is_refused_at_once() -> None:
    for text in ("/*" * 500_000, '"/*' * 500_000, "," * 500_000, '"' * 500_001):
        with pytest.raises(jsonc.JsoncError):
            jsonc.loads(text)
