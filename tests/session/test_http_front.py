"""Who is let in over HTTP, what is refused there, and servers that cannot be reached, trusted or understood."""

import asyncio
import datetime
import http.client
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .over_http import ERAS, connected, gateway, records, served, text, verified

pytestmark = pytest.mark.anyio
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_vendor", "arguments": {"id": "v1"}}}
JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def ask(url: str, method: str = "POST", body: object = CALL, **headers: str) -> tuple[int, str]:
    """One request as it is, without a client that corrects it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, parts.path, raw, JSON | {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Encoding": "gzip"}, 415),
    ],
)
async def test_a_request_that_a_web_page_could_make_is_turned_away_and_recorded(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with served(tmp_path) as server:
        with gateway(recorder, server.entry()) as url:
            assert ask(url, **headers)[0] == status
        assert server.requests() == []
    (refused,) = records(config, "session", state="refused")
    assert (refused["status"], refused["method"], refused["test"]) == (status, "POST", "test_a")


async def test_a_wrong_token_another_path_and_an_ended_block_are_not_found(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path) as server:
        with gateway(recorder, server.entry()) as url:
            base, token = url.split("/mcp")[0].rsplit("/", 1)
            assert ask(f"{base}/{'A' * len(token)}/mcp")[0] == 404
            assert ask(f"{base}/mcp")[0] == 404
            assert ask(f"{base}/.well-known/oauth-protected-resource", "GET", b"")[0] == 404
            status, said = ask(f"{base}/{token}/other")
            assert status == 404 and "OAuth discovery is not passed on" in said
            assert ask(url, "PUT")[0] == 405
        assert server.requests() == []
    reasons = records(config, "session", state="refused")
    assert [r["status"] for r in reasons] == [404, 404, 404, 404, 405]
    assert token not in json.dumps(records(config, "session"), default=str)


async def test_headers_that_name_another_tool_than_the_body_are_refused(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path, "json") as server:
        with gateway(recorder, server.entry()) as url:
            for name in ("delete_vendor", "get_other"):
                status, said = ask(url, Mcp_Method="tools/call", Mcp_Name=name)
                assert (status, "MALFORMED" in said) == (200, True)
            status, said = ask(url, Mcp_Method="tools/list", Connection="close, Mcp-Method")
            assert "MALFORMED" in said
        assert server.messages() == []
    found = [m["problems"] for m in records(config, "msg", kind="invalid")]
    assert found == [["header-name"], ["header-name"], ["header-method"]]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + json.dumps(CALL).encode() + b"]",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_vendor","name":"delete_vendor"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{"name":"delete_vendor"}}',
        b"nothing that is JSON",
    ],
)
async def test_a_body_with_two_readings_reaches_no_server(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path, body: bytes
) -> None:
    with served(tmp_path, "json") as server:
        with gateway(recorder, server.entry()) as url:
            status, said = ask(url, body=body)
            assert status in (200, 400) and "MALFORMED" in said
        assert server.messages() == []
    assert [f["rule"] for f in records(config, "finding")] == ["MALFORMED"]


async def test_a_body_laid_out_in_lines_is_a_message_like_any_other(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    laid_out = json.dumps(CALL, indent=2).replace("\n", "\r\n").encode()
    with served(tmp_path, "json", "stateless") as server:
        with gateway(recorder, server.entry()) as url:
            ask(url, body=laid_out)
        assert [message["method"] for message in server.messages()] == ["tools/call"]
    (asked,) = records(config, "msg", kind="request")
    assert (asked["wire"].encode(), "problems" in asked) == (laid_out, False)


def certificate(folder: Path) -> Path:
    """A self-made certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-made")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, form, plain)
    )
    return path


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
async def test_https_is_spoken_with_a_server_whose_authority_is_named(
    config: RecorderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv(variable, str(pem))
    recorder = Recorder.start(config)
    with served(tmp_path, f"cert={pem}") as server, gateway(recorder, server.entry()) as url:
        async with connected(url, ERAS[-1]) as client:
            assert text(await client.call_tool("get_vendor", {"id": "v1"})) == "vendor v1"
    assert verified(config) == "VERIFIED"


async def test_a_certificate_that_nobody_vouches_for_is_refused_in_words_that_help(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path, f"cert={certificate(tmp_path)}") as server:
        with gateway(recorder, server.entry()) as url:
            status, told = ask(url)
        assert server.requests() == []
    assert status == 502 and "is not trusted (self-signed certificate)" in told and "SSL_CERT_FILE" in told
    assert records(config, "io", stream="forward")


@asynccontextmanager
async def pretending(answer: bytes) -> AsyncIterator[str]:
    """A server that answers everything with the same bytes; only for what no real server does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
    finally:
        listener.close()


def http_answer(body: bytes, kind: str, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is not HTTP"),
        (b"", "closed the connection before its answer was complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", "closed the connection"),
        (http_answer(b"<h1>hello</h1>", "text/html"), "its answer was refused"),
        (http_answer(b"", "text/plain", "307 Temporary Redirect", "location: /mcp/\r\n"), "differs by a slash"),
        (http_answer(b"x", "application/json", more="content-encoding: gzip\r\n"), "content-encoding gzip"),
    ],
)
async def test_what_is_no_answer_is_an_error_that_says_so(
    recorder: Recorder, config: RecorderConfig, answer: bytes, said: str
) -> None:
    async with pretending(answer) as address:
        with gateway(recorder, {"url": address}) as url:
            status, told = await asyncio.to_thread(ask, url)
    assert (status, said in told) == (502, True), told
    assert json.loads(told)["id"] == 1
    (own,) = records(config, "msg", origin="synthesised")
    assert own["wire"] == told


async def test_an_error_page_keeps_its_status_and_stands_in_the_evidence(
    recorder: Recorder, config: RecorderConfig
) -> None:
    async with pretending(http_answer(b'{"error":"invalid_token"}', "application/json", "401 Unauthorized")) as address:
        with gateway(recorder, {"url": address}) as url:
            status, told = await asyncio.to_thread(ask, url, Authorization="Bearer agent-own-token-1")
    assert (status, told) == (401, "")
    (body,) = records(config, "session", state="body")
    assert "invalid_token" in str(body["text"])
    assert "agent-own-token-1" not in json.dumps(records(config, "session"), default=str)


async def test_a_server_that_is_down_is_an_error_that_says_so(recorder: Recorder, config: RecorderConfig) -> None:
    with gateway(recorder, {"url": "http://127.0.0.1:9/mcp"}) as url:
        status, told = ask(url)
    assert status == 502 and "cannot be reached" in told
    assert verified(config) == "VERIFIED"


async def test_a_body_past_the_limit_and_a_head_past_the_limit_are_refused(
    recorder: Recorder, config: RecorderConfig, tmp_path: Path
) -> None:
    with served(tmp_path) as server:
        with gateway(recorder, server.entry()) as url:
            assert ask(url, X_Long="y" * 70_000)[0] == 431
            assert ask(url, Content_Length=str(64 * 1024 * 1024 + 1))[0] == 413
        assert server.requests() == []
    assert [r["status"] for r in records(config, "session", state="refused")] == [431, 413]
