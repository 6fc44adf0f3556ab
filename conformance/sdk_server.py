"""The example server of the comparison, on the MCP SDK 2.x: what the official suite's scenarios ask for, both eras.

`python sdk_server.py` prints the port that it listens on, and serves `/mcp` on 127.0.0.1 until it is ended.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

KEY = b"states of this example are no secret, but they are sealed"


def png() -> str:
    """One red pixel, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


def wav() -> str:
    """A moment of silence, base64."""
    sound = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 0)
    return base64.b64encode(sound).decode()


PNG, WAV = png(), wav()
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}


def text(said: str) -> types.TextContent:
    return types.TextContent(type="text", text=said)


def form(**properties: Mapping[str, object]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def embedded(uri: str, mime: str, said: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime, text=said)
    return types.EmbeddedResource(type="resource", resource=contents)


IMAGE = types.ImageContent(type="image", data=PNG, mime_type="image/png")
CONTENT: Mapping[str, list[Any]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")],
    "test_embedded_resource": [
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        IMAGE,
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
TITLED = [{"const": f"value{n}", "title": f"{name} Option"} for n, name in enumerate(("First", "Second", "Third"), 1)]
OPTIONS = ["option1", "option2", "option3"]
ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}
ASKING: Mapping[str, dict[str, Any]] = {
    "test_elicitation_sep1034_defaults": {"type": "object", "properties": DEFAULTS, "required": []},
    "test_elicitation_sep1330_enums": {"type": "object", "properties": ENUMS, "required": []},
}


def elicitation(message: str, **properties: Mapping[str, object]) -> types.ElicitRequest:
    params = types.ElicitRequestFormParams(message=message, requested_schema=form(**properties))
    return types.ElicitRequest(params=params)


def sampling(prompt: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(prompt))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=50))


NAME = elicitation("What is your name?", name={"type": "string"})
CONFIRM = elicitation("Please confirm", ok={"type": "boolean"})
COLOUR = elicitation("Step 2: What is your favorite color?", color={"type": "string"})
# What a tool asks for before it is done, round by round; `True`: with a sealed state.
ROUNDS: Mapping[str, tuple[bool, list[dict[str, Any]]]] = {
    "test_input_required_result_elicitation": (False, [{"user_name": NAME}]),
    "test_input_required_result_sampling": (False, [{"capital_question": sampling("What is the capital of France?")}]),
    "test_input_required_result_list_roots": (False, [{"client_roots": types.ListRootsRequest()}]),
    "test_input_required_result_request_state": (True, [{"confirm": CONFIRM}]),
    "test_input_required_result_tampered_state": (True, [{"confirm": CONFIRM}]),
    "test_input_required_result_multiple_inputs": (
        True,
        [{"user_name": NAME, "greeting": sampling("Generate a greeting"), "client_roots": types.ListRootsRequest()}],
    ),
    "test_input_required_result_multi_round": (True, [{"step1": NAME}, {"step2": COLOUR}]),
    "test_input_required_result_capabilities": (False, [{"greeting": sampling("Generate a greeting"), "name": NAME}]),
}
NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


def sealed(state: object) -> str:
    said = base64.urlsafe_b64encode(json.dumps(state).encode()).decode()
    return f"{said}.{hmac.new(KEY, said.encode(), hashlib.sha256).hexdigest()}"


def unsealed(token: str) -> Any:
    said, _, seal = token.partition(".")
    if not hmac.compare_digest(seal, hmac.new(KEY, said.encode(), hashlib.sha256).hexdigest()):
        raise MCPError(types.INVALID_PARAMS, "requestState does not verify")
    return json.loads(base64.urlsafe_b64decode(said))


def rounds(ctx: Any, tool: str, params: Any) -> types.InputRequiredResult | types.CallToolResult:
    """The next thing that a tool asks for, or its result when it has all."""
    with_state, steps = ROUNDS[tool]
    step = unsealed(params.request_state) if params.request_state and with_state else 0
    answers = params.input_responses or {}
    can = ctx.session.client_capabilities
    if set(steps[step]) <= set(answers):
        step += 1
        if step == len(steps):
            return types.CallToolResult(content=[text(f"Done with {', '.join(sorted(answers))}")])
    asked = {
        key: request
        for key, request in steps[step].items()
        if tool != "test_input_required_result_capabilities" or (can and getattr(can, NEEDS[request.method], None))
    }
    return types.InputRequiredResult(input_requests=asked, request_state=sealed(step) if with_state else None)


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
    arguments = params.arguments or {}
    if params.name in CONTENT:
        return types.CallToolResult(content=CONTENT[params.name])
    if params.name in ROUNDS:
        return rounds(ctx, params.name, params)
    if params.name in ASKING:
        asked = ASKING[params.name]
        answer = await ctx.session.elicit_form("Please fill in", asked, related_request_id=ctx.request_id)
        said = f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content or {})}"
        return types.CallToolResult(content=[text(said)])
    action = ACTIONS.get(params.name)
    if action is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    return types.CallToolResult(content=[text(await action(ctx, arguments))], is_error=params.name in FAILING)


async def logged(ctx: Any, _: Mapping[str, Any]) -> str:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", said, related_request_id=ctx.request_id)
        await asyncio.sleep(0.05)
    return "logged"


async def progressed(ctx: Any, _: Mapping[str, Any]) -> str:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


async def sampled(ctx: Any, arguments: Mapping[str, Any]) -> str:
    message = types.SamplingMessage(role="user", content=text(arguments["prompt"]))
    made = await ctx.session.create_message(messages=[message], max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {getattr(made.content, 'text', '')}"


async def elicited(ctx: Any, arguments: Mapping[str, Any]) -> str:
    asked = form(username={"type": "string"}, email={"type": "string"})
    answer = await ctx.session.elicit_form(arguments["message"], asked, related_request_id=ctx.request_id)
    return f"User response: action={answer.action}, content={json.dumps(answer.content or {})}"


async def streamed(ctx: Any, _: Mapping[str, Any]) -> str:
    for done in (0, 1, 2):
        await ctx.session.report_progress(done, 2)
    return "done"


async def needing(ctx: Any, _: Mapping[str, Any]) -> str:
    can = ctx.session.client_capabilities
    if not can or not can.sampling:
        missing = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "Sampling is needed", missing)
    return "sampling is there"


async def cut(ctx: Any, _: Mapping[str, Any]) -> str:
    """Close the stream under way; the client comes back for the rest."""
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Reconnection test completed"


BUS = InMemorySubscriptionBus()


async def change_tools(_: Any, __: Mapping[str, Any]) -> str:
    await BUS.publish(ToolsListChanged())
    return "changed"


async def change_prompts(_: Any, __: Mapping[str, Any]) -> str:
    await BUS.publish(PromptsListChanged())
    return "changed"


async def failing(_: Any, __: Mapping[str, Any]) -> str:
    return "This tool intentionally returns an error for testing"


FAILING = ("test_error_handling",)
ACTIONS: Mapping[str, Callable[..., Any]] = {
    "test_tool_with_logging": logged,
    "test_tool_with_progress": progressed,
    "test_sampling": sampled,
    "test_elicitation": elicited,
    "test_error_handling": failing,
    "test_logging_tool": logged,
    "test_streaming_elicitation": streamed,
    "test_missing_capability": needing,
    "test_reconnection": cut,
    "test_trigger_tool_change": change_tools,
    "test_trigger_prompt_change": change_prompts,
    "json_schema_2020_12_tool": streamed,
    "test_header_parameter": streamed,
}
# Words of JSON Schema 2020-12 that a list of tools must keep.
CONTACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}, "phone": {"type": "string"}}
    | {"email": {"type": "string"}, "contactMethod": {"type": "string", "enum": ["phone", "email"]}},
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
ARGUMENTS = {
    "test_sampling": form(prompt={"type": "string"}),
    "test_elicitation": form(message={"type": "string"}),
    "json_schema_2020_12_tool": CONTACT,
    "test_header_parameter": form(region={"type": "string", "x-mcp-header": "Region"}),
}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    names = [*CONTENT, *ACTIONS, *ASKING, *ROUNDS]
    tools = [types.Tool(name=n, description=n.replace("_", " "), input_schema=ARGUMENTS.get(n, EMPTY)) for n in names]
    return types.ListToolsResult(tools=tools)


RESOURCES = {
    "test://static-text": ("text/plain", "This is the content of the static text resource."),
    "test://watched-resource": ("text/plain", "Watched resource content"),
}


async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    listed = [
        types.Resource(uri=uri, name=uri.rpartition("/")[2], description=uri, mime_type=mime)
        for uri, mime in [*((uri, mime) for uri, (mime, _) in RESOURCES.items()), ("test://static-binary", "image/png")]
    ]
    return types.ListResourcesResult(resources=listed)


async def list_templates(ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(
        uri_template="test://template/{id}/data", name="template", mime_type="application/json"
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    if uri == "test://static-binary":
        blob = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        return types.ReadResourceResult(contents=[blob])
    if uri in RESOURCES:
        mime, said = RESOURCES[uri]
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        number = uri.split("/")[-2]
        mime, said = (
            "application/json",
            json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"}),
        )
    else:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=mime, text=said)])


async def subscribe(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


def argument(name: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=name, required=True)


PROMPTS = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": [argument("arg1"), argument("arg2")],
    "test_prompt_with_embedded_resource": [argument("resourceUri")],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


async def list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    listed = [types.Prompt(name=name, description=name, arguments=wanted) for name, wanted in PROMPTS.items()]
    return types.ListPromptsResult(prompts=listed)


async def get_prompt(ctx: Any, params: types.GetPromptRequestParams) -> Any:
    given = params.arguments or {}
    if params.name == "test_input_required_result_prompt" and "user_context" not in (params.input_responses or {}):
        asked = elicitation("What context should the prompt use?", context={"type": "string"})
        return types.InputRequiredResult(input_requests={"user_context": asked})
    said: Mapping[str, Callable[[], list[Any]]] = {
        "test_simple_prompt": lambda: [text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": lambda: [
            text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")
        ],
        "test_prompt_with_embedded_resource": lambda: [
            embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": lambda: [IMAGE, text("Please analyze the image above.")],
        "test_input_required_result_prompt": lambda: [text("Use the context that was given.")],
    }
    if params.name not in said:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=part) for part in said[params.name]()]
    )


async def complete(ctx: Any, params: Any) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=["paris", "park", "party"], total=3, has_more=False))


async def set_level(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


class Events(EventStore):
    """What was sent on each stream, for clients that come back."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._kept.append((stream_id, message))
        return str(len(self._kept) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        stream = self._kept[int(last_event_id)][0]
        for number, (of_stream, message) in enumerate(self._kept):
            if of_stream == stream and number > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def make() -> Server[Any]:
    return Server(
        "conformance-example",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=subscribe,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
        on_subscriptions_listen=ListenHandler(BUS),
    )


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    server = uvicorn.Server(
        uvicorn.Config(make().streamable_http_app(event_store=Events(), retry_interval=300), log_level="error")
    )
    asyncio.run(server.serve(sockets=[listening]))


if __name__ == "__main__":
    sys.exit(main())
