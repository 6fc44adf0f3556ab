"""What agent and server say over HTTP arrives byte for byte, in bodies and event streams, and is in the evidence."""

import http.client
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import begin
from .test_recorder import records
from .test_transparency import IDS, MESSAGES, OBJECTS, RANDOMS, TEXTS, VALUES, few, line

REQUESTS = st.fixed_dictionaries({"id": IDS, "method": TEXTS}, optional={"params": OBJECTS})
PLAIN, EVENTS = "application/json", "text/event-stream"


@dataclass
class Replaying:
    """An HTTP server that is an MCP server in name only: it keeps what it gets and answers what it is told to."""

    url: str = ""
    kind: str = PLAIN
    answer: bytes = b""
    received: list[bytes] = field(default_factory=list)


@pytest.fixture
def replaying() -> Iterator[Replaying]:
    state = Replaying()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            state.received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", state.kind)
            self.send_header("content-length", str(len(state.answer)))
            self.end_headers()
            self.wfile.write(state.answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/mcp"
        yield state
        server.shutdown()
        thread.join()


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """POST a message as an MCP client does; status and body of the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    accepted = {"content-type": PLAIN, "accept": f"{PLAIN}, {EVENTS}"}
    connection.request("POST", parts.path, body, accepted)
    answer = connection.getresponse()
    said = answer.status, answer.read()
    connection.close()
    return said


def event(data: bytes, chance: Random) -> bytes:
    """One event of a stream, in one of the ways in which it may be written."""
    end = chance.choice([b"\n", b"\r\n"])
    fields = [chance.choice([b"data: ", b"data:"]) + data]
    fields += chance.choice([[], [b"event: message"], [b"id: 7"], [b": a comment"], [b"retry: 500", b"id:x"]])
    chance.shuffle(fields)
    return b"".join(text + end for text in fields) + end


@few
@given(
    pairs=st.lists(st.tuples(REQUESTS, VALUES, st.lists(MESSAGES, max_size=4)), min_size=1, max_size=8), chance=RANDOMS
)
def test_bodies_and_event_streams_arrive_byte_for_byte(
    replaying: Replaying,
    recorder: Recorder,
    config: RecorderConfig,
    pairs: list[tuple[dict[str, object], object, list[dict[str, object]]]],
    chance: Random,
) -> None:
    begin(recorder)
    reply = recorder.open_gateway(servers={"echo": {"url": replaying.url}}, agent="clerk-1", request=None, idle_ok=True)
    url = reply["urls"]["echo"]  # type: ignore[index]  # the recorder's answer is JSON
    before = len(records(config, "msg"))
    asked, said = [], []
    for request, value, others in pairs:
        replaying.received.clear()
        body = line(request, chance)
        messages = [
            line(message, chance).rstrip(b"\r") for message in (*others, {"id": request["id"], "result": value})
        ]
        replaying.kind = chance.choice([PLAIN, EVENTS])
        messages = messages if replaying.kind == EVENTS else messages[-1:]
        events = b"".join(event(message, chance) for message in messages)
        replaying.answer = events if replaying.kind == EVENTS else messages[0]
        assert post(url, body) == (200, replaying.answer)
        assert replaying.received == [body]
        asked.append(body)
        said += messages
    recorder.close_gateway(str(reply["gateway"]))
    recorder.end_test(outcome="passed", failure=None)
    kept = records(config, "msg")[before:]
    assert [str(m["wire"]).encode() for m in kept if m["direction"] == "c2s"] == asked
    # `data:` takes one space off what follows it, whoever wrote it.
    assert [str(m["wire"]).encode().lstrip() for m in kept if m["direction"] == "s2c"] == [m.lstrip() for m in said]
