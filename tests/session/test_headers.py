"""Headers that repeat the body of an HTTP request: where they contradict it, the message is named ambiguous."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.session.strict import header_problems, parse

VERSION = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "limits": {"type": "object", "properties": {"rows": {"type": "integer", "x-mcp-header": "Rows"}}},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
    },
}


def headers(**given: str) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in given.items()]


def body(method: str = "tools/call", *, meta: object = VERSION, id_: object = 1, **params: object) -> bytes:
    fields = {"jsonrpc": "2.0", "method": method, "params": params | ({"_meta": meta} if meta else {})}
    return json.dumps(fields | ({"id": id_} if id_ is not None else {})).encode()


def call(*, name: str = "read", meta: object = VERSION, **arguments: object) -> bytes:
    return body(name=name, arguments=arguments, meta=meta)


AGREEING = headers(MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/call", Mcp_Name="read")


def problems(sent: list[tuple[str, str]], raw: bytes, schema: object = None) -> tuple[str, ...]:
    return header_problems("POST", sent, parse(raw), input_schema=schema)


def test_headers_that_agree_with_the_body_are_no_problem_whatever_their_case() -> None:
    assert problems(AGREEING, call()) == ()
    assert problems([(name.upper(), f" {value}\t") for name, value in AGREEING], call()) == ()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (headers(MCP_Protocol_Version="2027-01-01", Mcp_Method="tools/call", Mcp_Name="read"), "header-version"),
        (headers(MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list", Mcp_Name="read"), "header-method"),
        (headers(MCP_Protocol_Version="2026-07-28", Mcp_Method="Tools/Call", Mcp_Name="read"), "header-method"),
        (headers(MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/call", Mcp_Name="drop"), "header-name"),
        (AGREEING[:2], "header-missing"),
        (AGREEING[1:], "header-missing"),
        ([AGREEING[0], AGREEING[2]], "header-missing"),
        ([*AGREEING, ("mcp-name", "read")], "header-duplicate"),
        ([*AGREEING[:2], ("Mcp-Name", "=?base64?cmVhZB==?=")], "header-encoding"),
        ([*AGREEING[:2], ("Mcp-Name", "=?base64?/w==?=")], "header-encoding"),
        ([*AGREEING[:2], ("Mcp-Name", "re\x00ad")], "header-encoding"),
        ([*AGREEING, ("Mcp-Param-Region", "us")], "header-param"),
    ],
)
def test_a_header_that_contradicts_the_body_is_named(sent: list[tuple[str, str]], code: str) -> None:
    assert code in problems(sent, call(region="eu"))


@pytest.mark.parametrize(
    ("method", "key"),
    [("resources/read", "uri"), ("prompts/get", "name"), ("tasks/get", "taskId"), ("tasks/cancel", "taskId")],
)
def test_the_name_of_each_method_is_what_its_header_repeats(method: str, key: str) -> None:
    sent = headers(MCP_Protocol_Version="2026-07-28", Mcp_Method=method, Mcp_Name="x")
    assert problems(sent, body(method, **{key: "x"})) == ()
    assert problems(sent, body(method, **{key: "y"})) == ("header-name",)


def test_an_earlier_revision_needs_none_of_the_headers_and_may_not_contradict_either() -> None:
    raw = call(meta=None)
    assert problems(headers(MCP_Protocol_Version="2025-11-25"), raw) == problems([], raw) == ()
    assert problems(headers(MCP_Protocol_Version="2025-11-25", Mcp_Name="drop"), raw) == ("header-name",)


def test_a_notification_needs_no_headers_and_other_methods_of_http_have_no_body() -> None:
    assert problems([], body("notifications/cancelled", id_=None)) == ()
    assert header_problems("GET", headers(Mcp_Method="x"), parse(b"")) == ()


def test_a_batch_and_what_is_no_message_contradict_every_header() -> None:
    for raw in (b"[" + call() + b"]", b"7", b""):
        assert "header-method" in problems(AGREEING, raw)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ([("Mcp-Param-Region", "eu"), ("mcp-param-rows", "42.0"), ("Mcp-Param-Dry", "true")], ()),
        ([("Mcp-Param-Region", "us"), ("mcp-param-rows", "42"), ("Mcp-Param-Dry", "true")], ("header-param",)),
        ([("Mcp-Param-Region", "eu"), ("mcp-param-rows", "42.5"), ("Mcp-Param-Dry", "true")], ("header-param",)),
        ([("Mcp-Param-Region", "42"), ("mcp-param-rows", "42"), ("Mcp-Param-Dry", "true")], ("header-param",)),
        ([("Mcp-Param-Region", "eu"), ("mcp-param-rows", "42")], ("header-missing",)),
    ],
)
def test_each_declared_argument_is_what_its_header_repeats(sent: list[tuple[str, str]], found: object) -> None:
    assert problems([*AGREEING, *sent], call(region="eu", limits={"rows": 42}, dry=True), SCHEMA) == found


def test_an_argument_that_is_absent_or_null_has_no_header() -> None:
    assert problems(AGREEING, call(region=None), SCHEMA) == ()
    assert problems([*AGREEING, ("Mcp-Param-Region", "eu")], call(region=None), SCHEMA) == ("header-param",)


@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "Region"},
        {"properties": {"region": {"type": "number", "x-mcp-header": "Region"}}},
        {"properties": {"region": {"type": "string", "x-mcp-header": "a b"}}},
        {"properties": {n: {"type": "string", "x-mcp-header": "Region"} for n in ("a", "b")}},
    ],
)
def test_a_schema_with_an_unsound_annotation_declares_nothing(schema: object) -> None:
    assert problems([*AGREEING, ("Mcp-Param-Region", "eu")], call(region="eu"), schema) == ()


VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(VALUES.filter(bool), VALUES.filter(bool))
def test_a_name_of_any_text_agrees_with_its_encoding_only(name: str, other: str) -> None:
    encoded = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
    raw = call(name=other)
    assert (problems([*AGREEING[:2], ("Mcp-Name", encoded)], raw) == ()) == (name == other)


@given(
    st.lists(st.tuples(st.sampled_from(["Mcp-Name", "Mcp-Method", "Mcp-Param-A"]), st.text(max_size=9))), st.binary()
)
def test_no_headers_and_no_body_make_it_raise(sent: list[tuple[str, str]], raw: bytes) -> None:
    assert isinstance(problems(sent, raw), tuple)
