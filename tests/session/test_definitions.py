"""Tool definitions of one run: new ones are told once, changed ones with what differs."""

from pytest_mcp_governance.session.definitions import Definition, Definitions

AT = {"server": "books", "command": "c"}


def tool(description: str, **more: object) -> dict[str, object]:
    return {"name": "get", "description": description, "inputSchema": {"type": "object"}, **more}


def new(definitions: Definitions, *tools: object, **at: str) -> list[Definition]:
    return list(definitions.new_in({"tools": list(tools)}, **(AT | at)))


def test_a_definition_is_new_once_whatever_the_order_of_its_members() -> None:
    definitions = Definitions()
    (first,) = new(definitions, tool("a"))
    assert (first.tool, first.was, first.changed) == ("get", None, ())
    assert new(definitions, dict(reversed(tool("a").items()))) == []


def test_a_changed_definition_names_what_differs_and_another_command_is_another_server() -> None:
    definitions = Definitions()
    (first,) = new(definitions, tool("a"))
    (second,) = new(definitions, tool("b", inputSchema={"type": "string"}))
    assert (second.was, second.changed) == (first.sha256, ("description", "inputSchema.type"))
    (elsewhere,) = new(definitions, tool("b"), command="d")
    assert elsewhere.was is None


def test_in_another_run_it_is_told_again_and_a_change_between_the_runs_is_a_change() -> None:
    definitions = Definitions()
    new(definitions, tool("a"))
    definitions.another_run()
    assert [d.was for d in new(definitions, tool("a"))] == [None]
    definitions.another_run()
    assert [d.changed for d in new(definitions, tool("b"))] == [("description",)]


def test_the_schema_of_a_tool_is_the_one_that_was_given_last() -> None:
    definitions = Definitions()
    assert definitions.input_schema("get", **AT) is None
    new(definitions, tool("a"))
    new(definitions, tool("a", inputSchema={"type": "null"}))
    assert definitions.input_schema("get", **AT) == {"type": "null"}


def test_what_is_no_definition_or_too_deep_stops_nothing() -> None:
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    found = new(Definitions(), 7, {"name": 7}, tool("a", deep=deep), {"name": "put"})
    assert [d.tool for d in found] == ["put"]
    assert list(Definitions().new_in(None, **AT)) == list(Definitions().new_in({"tools": 7}, **AT)) == []
