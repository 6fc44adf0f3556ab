"""An in-process server on its thread: who may reach it, and what becomes of one that does not end."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pytest_mcp_governance.errors import ServerError
from pytest_mcp_governance.session.memory import ASIDE, MemoryServer, low_level


class Scripted:
    """What a low-level server has, and a `run` that a test writes."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.blocks = False

    def create_initialization_options(self) -> object:
        return "options"

    async def run(self, read: object, write: object, options: object) -> None:
        self.entered.set()
        if self.blocks:
            self.release.wait(30)
        raise LookupError("no such ledger")


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.release.set()


def connect(server: MemoryServer, token: str) -> socket.socket:
    told = server.entry["memory"]
    assert isinstance(told, dict)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(20)
    link.connect(told["socket"])
    link.sendall((told["token"] if token == "right" else token).encode() + b"\n")
    return link


def everything(link: socket.socket) -> bytes:
    said = b""
    while chunk := link.recv(65536):
        said += chunk
    return said


def test_the_folder_is_private_and_gone_afterwards(scripted: Scripted) -> None:
    server = MemoryServer("books", scripted)
    server.start()
    told = server.entry["memory"]
    assert isinstance(told, dict)
    path = Path(told["socket"])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    server.close()
    assert not path.parent.exists()
    assert told["token"] not in repr(server)


def test_a_wrong_token_reaches_no_server(scripted: Scripted) -> None:
    server = MemoryServer("books", scripted)
    server.start()
    with connect(server, "wrong") as link:
        assert everything(link) == b""
    assert not scripted.entered.is_set()
    server.close()


def test_what_it_raises_are_its_last_words(scripted: Scripted) -> None:
    server = MemoryServer("books", scripted)
    server.start()
    with connect(server, "right") as link:
        link.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 3)  # nobody reads any more
        said = everything(link)
    assert said.startswith(ASIDE) and b"LookupError: no such ledger" in said
    server.close()


def test_one_that_blocks_its_loop_is_named_and_does_not_keep_the_test(scripted: Scripted) -> None:
    scripted.blocks = True
    server = MemoryServer("books", scripted)
    server.start()
    with connect(server, "right"):
        assert scripted.entered.wait(20)
        with pytest.raises(ServerError, match=r"in-process server 'books' still runs 0 s after the test"):
            server.close(patience_s=0.05)


def test_fastmcp_is_known_by_what_it_has_and_its_lifespan_is_entered() -> None:
    entered: list[str] = []

    class Standalone:
        def __init__(self) -> None:
            self._mcp_server = Scripted()

        @asynccontextmanager
        async def _lifespan_manager(self) -> AsyncIterator[None]:
            entered.append("in")
            try:
                yield
            finally:
                entered.append("out")

    given = Standalone()
    assert low_level(given) is given._mcp_server
    server = MemoryServer("books", given)
    server.start()
    with connect(server, "right") as link:
        everything(link)
    server.close()
    assert entered == ["in", "out"]
    assert low_level(object()) is None
