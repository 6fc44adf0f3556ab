"""Claims about what is proposed for a tool: by its annotations, never by its name, with the limits of its schema."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.adopt import drafts
from pytest_mcp_governance.adopt.listing import Listing
from pytest_mcp_governance.adopt.proposal import propose, served_folders
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.session.server import ServerSpec
from tests.adopt.offers import READ, tool


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        (READ, "allow"),
        ({"readOnlyHint": True}, "allow"),
        ({"readOnlyHint": True, "destructiveHint": True}, "leave"),
        ({"readOnlyHint": "true"}, "deny"),
        ({"destructiveHint": True}, "deny"),
        ({"readOnlyHint": False}, "deny"),
        ({"readOnlyHint": False, "destructiveHint": False}, "leave"),
        ({"destructiveHint": False}, "leave"),
        ({"title": "Reads"}, "leave"),
        ({}, "leave"),
        (None, "leave"),
        ("readOnlyHint", "leave"),
    ],
)
def test_only_what_says_that_it_reads_is_allowed(annotations: object, effect: str) -> None:
    assert propose("s", tool("read_all", annotations)).effect == effect


def test_a_name_that_sounds_like_reading_is_a_suggestion_and_no_permission() -> None:
    assert propose("s", tool("list_tables")).reads_by_name
    assert propose("s", tool("list_tables")).effect == "leave"
    text = drafts.policy_text("p", {"s": _listing([tool("list_tables")])}, [propose("s", tool("list_tables"))])
    policy = load_policy(text, name="p")
    assert policy.constraint
    assert '#   - "s.list_tables"' in text


@pytest.mark.parametrize("name", ["a*", "a b", "../x", "", "a\n- id: X", "é", "x" * 129])
def test_a_tool_with_an_odd_name_is_left_out_whatever_it_says(name: str) -> None:
    assert propose("s", tool(name, READ)).effect == "leave"


@pytest.mark.parametrize(
    ("schema", "operators"),
    [
        ({"type": "string", "enum": ["a", "b"]}, {"in": ["a", "b"]}),
        ({"const": 3}, {"in": [3]}),
        ({"type": "integer", "minimum": 1, "maximum": 9}, {"type": "integer", "min": 1, "max": 9}),
        ({"type": "string", "format": "uri"}, {"scheme": ["https"]}),
    ],
)
def test_a_limit_of_the_schema_becomes_a_limit_of_the_rule(schema: object, operators: Mapping[str, object]) -> None:
    definition = tool("get", READ, it=schema, other={"type": "string"})
    limits = propose("s", definition).limits
    assert limits == {"it": {**operators, "optional": True}, "other": {"type": "string", "optional": True}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "integer", "maximum": 2**53 - 1},
        {"enum": []},
        {"enum": [{}]},
        {"enum": ["\x00"]},
        5,
        {"minimum": 1},
    ],
)
def test_a_schema_that_limits_nothing_limits_nothing(schema: object) -> None:
    assert propose("s", tool("get", READ, it=schema)).limits is None


def test_a_path_that_nothing_limits_is_told() -> None:
    assert "reads any path" in propose("s", tool("read", READ, file_path={"type": "string"})).reason
    assert "reads any path" not in propose("s", tool("read", READ, path={"type": "string"}), ["."]).reason


def test_paths_stay_within_what_the_server_serves() -> None:
    read = propose("s", tool("read", READ, path={"type": "string"}), ["/srv/a"])
    assert read.limits == {"path": {"within": "/srv/a", "optional": True}}
    many = propose("s", tool("read", READ, path={"type": "string"}), ["/srv/a", "/srv/b"])
    assert many.limits == {"path": {"within": ["/srv/a", "/srv/b"], "optional": True}}
    assert propose("s", tool("read", READ, paths={"type": "array"}), ["/srv/a"]).effect == "leave"
    assert propose("s", tool("read", READ, paths={"type": "array"})).effect == "allow"


@pytest.mark.parametrize(
    ("command", "args", "folders"),
    [
        ("npx", ("-y", "@modelcontextprotocol/server-filesystem", "."), (".",)),
        ("npx", ("-y", "@modelcontextprotocol/server-filesystem@2025.1", ".", "sub"), (".", "sub")),
        ("node", ("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js", "sub"), ("sub",)),
        ("uvx", ("mcp-server-git", "--repository", "sub"), ("sub",)),
        ("npx", ("-y", "@modelcontextprotocol/server-filesystem", "gone"), ()),
        ("npx", ("-y", "@modelcontextprotocol/server-filesystem"), ()),
        ("uvx", ("mcp-server-time", "sub"), ()),
        ("npx", ("@modelcontextprotocol/server-filesystem", "sub/.."), ()),
    ],
)
def test_which_folders_a_server_serves_is_read_from_its_arguments(
    tmp_path: Path, command: str, args: tuple[str, ...], folders: tuple[str, ...]
) -> None:
    (tmp_path / "sub").mkdir()
    assert served_folders(ServerSpec("s", command, args, cwd=str(tmp_path))) == folders


@pytest.mark.parametrize(
    ("schema", "call"),
    [
        ({}, {}),
        ({"it": {"type": "string", "default": "x"}}, {"it": "x"}),
        ({"it": {"enum": ["a", "b"], "default": "b"}}, {"it": "b"}),
        ({"it": {"type": "integer", "minimum": 1, "examples": [4]}}, {"it": 4}),
        ({"it": {"type": "integer", "minimum": 5, "default": 4}}, None),
        ({"it": {"type": "string"}}, None),
        ({"it": {"type": "string", "format": "uri", "default": "https://x.example"}}, None),
    ],
)
def test_a_call_is_made_of_what_the_schema_gives_or_not_at_all(schema: dict[str, object], call: object) -> None:
    definition = tool("get", READ, **schema)
    definition["inputSchema"] = {"type": "object", "properties": schema, "required": list(schema)}
    assert propose("s", definition).call == call


@pytest.mark.parametrize("name", ["get-env", "getConfig", "read_SECRET", "list_api_keys", "session.token"])
def test_what_may_tell_credentials_or_settings_is_never_called(name: str) -> None:
    made = propose("s", tool(name, READ))
    assert (made.effect, made.call) == ("allow", None)
    assert "may hold credentials or settings" in made.reason


@pytest.mark.parametrize("outside", [{"readOnlyHint": True}, {"readOnlyHint": True, "openWorldHint": True}])
def test_what_may_reach_outside_is_not_called(outside: object) -> None:
    assert propose("s", tool("get", outside)).call is None


def _listing(tools: list[dict[str, object]]) -> Listing:
    return Listing("s\n# x", "1\x1b", "2025-11-25", tuple(tools))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_SCHEMA = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "array", "object", ["string", "null"]]) | _JSON,
        "enum": st.lists(_JSON, max_size=3) | _JSON,
        "default": _JSON,
        "minimum": _JSON,
        "maximum": st.integers() | st.floats(),
        "format": st.just("uri"),
        "const": _JSON,
        "examples": st.lists(_JSON, max_size=2),
    },
)
_TOOLS = st.dictionaries(
    st.from_regex(r"[a-z_.-]{1,8}", fullmatch=True) | st.text(min_size=1, max_size=6),
    st.fixed_dictionaries(
        {
            "annotations": st.dictionaries(
                st.sampled_from(["readOnlyHint", "destructiveHint", "openWorldHint"]), st.booleans() | _JSON
            )
            | _JSON,
            "inputSchema": st.fixed_dictionaries(
                {"properties": st.dictionaries(st.text(max_size=5) | st.just("path"), _SCHEMA, max_size=3) | _JSON},
                optional={"required": st.lists(st.text(max_size=5)) | _JSON},
            )
            | _JSON,
        }
    ),
    max_size=4,
)


@given(tools=_TOOLS, server=st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True))
def test_whatever_a_server_says_the_policy_loads_and_the_test_compiles(
    tools: dict[str, dict[str, object]], server: str
) -> None:
    definitions = [{**definition, "name": name} for name, definition in tools.items()]
    listings = {server: _listing(definitions)}
    proposals = [propose(server, definition, ["."]) for definition in definitions]
    policy = load_policy(drafts.policy_text("a folder", listings, proposals), name="p")
    compile(drafts.first_test_text(listings, proposals), "first", "exec")
    allowed = [proposal for proposal in proposals if proposal.effect == "allow"]
    assert policy.constraint is not bool(allowed)
    for definition in definitions:
        hints = definition["annotations"]
        reads = isinstance(hints, dict) and hints.get("readOnlyHint") is True
        assert reads or not any(proposal.name == definition["name"] for proposal in allowed)
