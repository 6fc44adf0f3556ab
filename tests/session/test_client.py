"""The SDK's own session over the recorder's pipe: what a test sees when a server does not play along."""

import anyio
import pytest

from pytest_mcp_governance.errors import ServerError
from pytest_mcp_governance.session.client import connect
from pytest_mcp_governance.session.control import Recorder

from .conftest import Files, begin, open_gateway


def test_a_server_that_never_answers_is_given_up_with_a_reason(recorder: Recorder) -> None:
    begin(recorder)
    _, commands = open_gateway(recorder, {"mute": {"command": "sh", "args": ["-c", "cat >/dev/null"]}})

    async def agent() -> None:
        async with connect(commands["mute"], patience_s=0.5):
            pass

    with pytest.raises(ServerError, match=r"did not answer `initialize` within 0 s and is still running"):
        anyio.run(agent)


def test_what_the_test_raises_inside_a_session_reaches_the_test_as_it_was(recorder: Recorder, files: Files) -> None:
    begin(recorder)
    _, commands = open_gateway(recorder, {"files": files.entry})

    async def agent() -> None:
        async with connect(commands["files"]) as session:
            found = await session.list_tools()
            assert [tool.name for tool in found.tools] == []

    with pytest.raises(AssertionError, match="read_file"):
        anyio.run(agent)
