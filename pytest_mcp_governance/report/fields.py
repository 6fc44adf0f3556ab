"""Typed access to the fields of a ledger record. A record is what a file says: any field may be absent or odd.

Nothing here raises on a strange record; a value of the wrong type reads as absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Stamp, Text

Record = Mapping[str, object]
Reveal = Callable[[object], object]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def string(record: Record, key: str, default: str = "") -> str:
    value = record.get(key)
    return value if isinstance(value, str) else default


def integer(record: Record, key: str, default: int = 0) -> int:
    value = record.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def strings(record: Record, key: str) -> tuple[str, ...]:
    value = record.get(key)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, (list, tuple)) else ()


def mapping(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def disclosed(reveal: Reveal, value: object) -> Text:
    """A clear or committed value as text, or `Withheld`."""
    shown = reveal(value)
    if isinstance(shown, (str, Withheld)):
        return shown
    return "" if shown is None else json.dumps(shown, ensure_ascii=True, default=str)


def pairs(reveal: Reveal, value: object) -> tuple[tuple[str, Text], ...]:
    """A committed object as (key, text) pairs in stored order."""
    shown = reveal(value)
    if isinstance(shown, Withheld):
        return (("detail", shown),)
    if not isinstance(shown, Mapping):
        return ()
    return tuple((str(k), disclosed(reveal, v)) for k, v in shown.items())


def stamp(record: Record) -> Stamp:
    segment, seq = string(record, "seg"), integer(record, "seq")
    written = string(record, "t")
    return Stamp(
        ref=f"{segment}/{seq}",
        segment=segment,
        seq=seq,
        t=written,
        us=microseconds(written),
        m=integer(record, "m"),
        test=string(record, "test"),
        attempt=integer(record, "attempt", 1),
    )


def microseconds(written: str) -> int:
    """RFC 3339 UTC to microseconds since 1970; 0 when it cannot be read."""
    try:
        moment = datetime.fromisoformat(written.replace("Z", "+00:00"))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        return 0
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
