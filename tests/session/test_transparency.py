"""What agent and server say arrives byte for byte, however it is written, and stands in the evidence as it was."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.session.control import Recorder
from pytest_mcp_governance.session.settings import RecorderConfig

from .conftest import PYTHON, begin, open_gateway
from .test_recorder import records

REPLAY = Path(__file__).parents[1] / "servers" / "replay.py"
ECHO_ONLY = """\
governance: 1
policy: echo-only
rules:
- {id: ECHO, allow: ["echo.say"]}
"""
Lines = list[bytes]
Converse = Callable[[Lines, Lines], tuple[bytes, bytes]]


class Number(str):
    """A number as it is written."""


NUMBERS = st.sampled_from(["0", "-0", "1.00", "1e2", "1E+2", "-1.5e-7", "9007199254740993", "0.1000000000000000055"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS.map(Number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
IDS = st.integers(-(2**53) + 1, 2**53 - 1).map(lambda n: Number(n)) | TEXTS
ERRORS = st.fixed_dictionaries({"code": st.just(Number("-32000")), "message": TEXTS}, optional={"data": VALUES})
MESSAGES = st.one_of(
    st.fixed_dictionaries({"id": IDS, "method": TEXTS}, optional={"params": OBJECTS}),
    st.fixed_dictionaries({"method": TEXTS}, optional={"params": OBJECTS}),
    st.fixed_dictionaries({"id": IDS, "result": VALUES}),
    st.fixed_dictionaries({"id": IDS, "error": ERRORS}),
)
RANDOMS = st.integers(0, 2**64).map(Random)


def written(value: object, chance: Random) -> str:
    """A value as JSON, in one of the many ways in which JSON may be written on one line."""
    match value:
        case Number():
            return str(value)
        case str():
            return '"' + "".join(_char(char, chance) for char in value) + '"'
        case dict():
            members = [
                f"{written(k, chance)}{_gap(chance)}:{_gap(chance)}{written(v, chance)}" for k, v in value.items()
            ]
            chance.shuffle(members)
            return "{" + _gap(chance) + f"{_gap(chance)},{_gap(chance)}".join(members) + _gap(chance) + "}"
        case list():
            items = [written(item, chance) for item in value]
            return "[" + _gap(chance) + f"{_gap(chance)},{_gap(chance)}".join(items) + _gap(chance) + "]"
    return {None: "null", True: "true", False: "false"}[value]  # type: ignore[index]  # the other JSON values


def _gap(chance: Random) -> str:
    return chance.choice(["", "", " ", "  ", "\t"])


def _char(char: str, chance: Random) -> str:
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    units = char.encode("utf-16-be")
    escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    forms = [escaped, escaped.upper().replace("\\U", "\\u"), *([short[char]] if char in short else [])]
    if char >= " " and char not in '"\\':
        forms += [char] * 4
    return chance.choice(forms)


def line(message: dict[str, object], chance: Random) -> bytes:
    """One message as one line, with or without the CR that some writers put before the LF."""
    text = _gap(chance) + written({"jsonrpc": "2.0", **message}, chance) + _gap(chance)
    return text.encode() + chance.choice([b"", b"", b"\r"])


@pytest.fixture
def converse(recorder: Recorder, tmp_path: Path) -> Converse:
    """Say these lines to the server, which answers each with the next of those; return what server and agent got."""
    received, prepared = tmp_path / "received", tmp_path / "prepared"
    entry = {"command": PYTHON, "args": ["-I", "-S", str(REPLAY), str(received), str(prepared)]}

    def run(asked: Lines, answers: Lines) -> tuple[bytes, bytes]:
        prepared.write_bytes(_stream(answers))
        gateway, commands = open_gateway(recorder, {"echo": entry})
        agent = subprocess.run(commands["echo"], input=_stream(asked), capture_output=True, check=True, timeout=60)
        recorder.close_gateway(gateway)
        return received.read_bytes(), agent.stdout

    return run


def _stream(lines: Lines) -> bytes:
    return b"".join(text + b"\n" for text in lines)


few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(pairs=st.lists(st.tuples(MESSAGES, MESSAGES), min_size=1, max_size=40), chance=RANDOMS)
def test_every_sound_message_arrives_byte_for_byte_in_both_directions(
    converse: Converse,
    recorder: Recorder,
    config: RecorderConfig,
    pairs: list[tuple[dict[str, object], ...]],
    chance: Random,
) -> None:
    begin(recorder)
    asked, answers = ([line(message, chance) for message in side] for side in zip(*pairs, strict=True))
    before = len(records(config, "msg"))
    assert converse(asked, answers) == (_stream(asked), _stream(answers))
    recorder.end_test(outcome="passed", failure=None)
    kept = records(config, "msg")[before:]
    assert [str(m["wire"]).encode() for m in kept if m["direction"] == "c2s"] == asked
    assert [str(m["wire"]).encode() for m in kept if m["direction"] == "s2c"] == answers


@few
@given(
    calls=st.dictionaries(st.integers(0, 2**53 - 1), st.tuples(OBJECTS, TEXTS, OBJECTS), min_size=1, max_size=40),
    chance=RANDOMS,
)
def test_a_call_that_a_policy_allows_and_its_answer_arrive_byte_for_byte(
    converse: Converse,
    recorder: Recorder,
    calls: dict[int, tuple[dict[str, object], str, dict[str, object]]],
    chance: Random,
) -> None:
    begin(recorder, ECHO_ONLY)
    asked, answers = [], []
    for number, (arguments, text, extra) in calls.items():
        params = {"name": "say", "arguments": arguments}
        asked.append(line({"id": Number(number), "method": "tools/call", "params": params}, chance))
        result = {"content": [{"type": "text", "text": text}], "structuredContent": extra}
        answers.append(line({"id": Number(number), "result": result}, chance))
    assert converse(asked, answers) == (_stream(asked), _stream(answers))
    assert recorder.conclude() == []
    recorder.end_test(outcome="passed", failure=None)
