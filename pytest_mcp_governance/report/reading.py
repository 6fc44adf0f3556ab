"""One record, one value: turns each type of ledger record into its value of the view model.

Leaves out what belongs together (joining.py). Strange fields read as absent; see fields.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_mcp_governance.evidence.recount import STATES

from . import fields as f
from .fields import Record, Reveal
from .model import Access, Decision, Finding, Message, Screen, Server, ServerOutput, Stamp, Text


def message(at: Stamp, record: Record, reveal: Reveal) -> Message:
    return Message(
        at=at,
        direction=f.string(record, "direction"),
        kind=f.string(record, "kind"),
        method=f.disclosed(reveal, record.get("method", "")),
        conn=f.string(record, "conn"),
        server=f.string(record, "server"),
        agent=f.string(record, "agent"),
        tool=f.disclosed(reveal, record["tool"]) if "tool" in record else None,
        synthesised=f.string(record, "origin") == "synthesised",
        about=f.string(record, "ref"),
        problems=f.strings(record, "problems"),
        wire=f.disclosed(reveal, record.get("wire", record.get("wire_b64", ""))),
        is_base64="wire_b64" in record,
    )


def decision(at: Stamp, record: Record, reveal: Reveal) -> Decision:
    return Decision(
        at=at,
        moment=f.string(record, "moment"),
        rule=f.string(record, "rule"),
        clause=f.string(record, "clause"),
        verdict=f.string(record, "verdict"),
        effect=f.string(record, "effect"),
        about=f.string(record, "ref"),
        reason=f.disclosed(reveal, record.get("reason", "")),
    )


def access(at: Stamp, record: Record, reveal: Reveal) -> Access:
    values = record.get("fields")
    return Access(
        at=at,
        agent=f.string(record, "agent"),
        server=f.string(record, "server"),
        tool=f.disclosed(reveal, record["tool"]) if "tool" in record else None,
        scope=f.string(record, "scope"),
        scope_class=f.string(record, "class"),
        status=f.string(record, "status"),
        data=f.disclosed(reveal, record.get("data", "")),
        how=f.string(record, "how"),
        about=f.string(record, "ref"),
        fields=tuple(f.disclosed(reveal, v) for v in values) if isinstance(values, list) else (),
    )


def finding(at: Stamp, record: Record, reveal: Reveal) -> Finding:
    state = f.string(record, "state")
    return Finding(
        at=at,
        number=0,
        # An unknown state or mode is shown as the worst, as every recount counts it.
        state=state if state in STATES else "reached",
        mode="observe" if f.string(record, "mode") == "observe" else "enforce",
        rule=f.string(record, "rule"),
        clause=f.string(record, "clause"),
        controls=f.strings(record, "controls"),
        refs=f.strings(record, "refs"),
        expected=record.get("expected") is True,
        reason=f.disclosed(reveal, record.get("reason", "")),
        agent=f.string(record, "agent"),
        server=f.string(record, "server"),
        tool=f.disclosed(reveal, record["tool"]) if "tool" in record else None,
        scope=f.string(record, "scope"),
        source=f.string(record, "source"),
        detail=f.pairs(reveal, record["detail"]) if "detail" in record else (),
        known=f.string(record, "known"),
        known_entry=f.pairs(reveal, record["known_entry"]) if "known_entry" in record else (),
        calls=(),
    )


def screen(at: Stamp, record: Record, reveal: Reveal) -> Screen:
    offset = record.get("offset_ms")
    failed = record.get("failed") is True
    return Screen(
        at=at,
        kind=f.string(record, "kind"),
        media_type=f.string(record, "media_type"),
        size=f.integer(record, "size"),
        digest="" if failed else _digest(record, reveal),
        about=f.string(record, "ref"),
        agent=f.string(record, "agent"),
        moment=f.string(record, "moment"),
        url=f.disclosed(reveal, record.get("url", "")),
        title=f.disclosed(reveal, record.get("title", "")),
        offset_ms=float(offset) if isinstance(offset, (int, float)) else None,
        masked=record.get("masked") is True,
        failed=failed,
        reason=f.disclosed(reveal, record.get("reason", "")),
    )


def _digest(record: Record, reveal: Reveal) -> Text:
    value = reveal(record.get("sha256", ""))
    if isinstance(value, Mapping):
        return f.string(value, "$blob")
    return f.disclosed(reveal, value)


def output(at: Stamp, record: Record, reveal: Reveal) -> ServerOutput:
    code = record.get("code")
    return ServerOutput(
        at=at,
        stream=f.string(record, "stream"),
        server=f.string(record, "server"),
        agent=f.string(record, "agent"),
        text=f.disclosed(reveal, record.get("text", "")),
        code="" if code is None else str(code),
    )


def server(name: str, records: list[Record]) -> Server:
    titles: dict[str, None] = {}
    for record in records:
        info = f.mapping(record, "server_info")
        titles[f"{f.string(info, 'name')} {f.string(info, 'version')}".strip()] = None
    last = records[-1]
    return Server(
        name=name,
        transport=f.string(last, "transport"),
        title=", ".join(t for t in titles if t),
        protocol=next((p for p in (f.string(r, "protocol") for r in records) if p), ""),
        command=f.string(last, "command_sha256"),
        sessions=len({f.string(r, "conn") for r in records}),
    )


def python_version(version: str) -> str:
    if not version:
        return ""
    return version if version.lower().startswith("python") else f"Python {version.split()[0]}"
