"""Recorded times as people read them. UTC everywhere; the reader's own time zone never changes the page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip


def clock(us: int, *, fine: bool = False) -> str:
    """`06:15:02` or `06:15:02.250` from microseconds since 1970."""
    seconds, rest = divmod(us, 1_000_000)
    hours, minutes, seconds = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    return f"{hours:02}:{minutes:02}:{seconds:02}" + (f".{rest // 1000:03}" if fine else "")


def rfc3339(us: int) -> str:
    """`2026-11-23T06:15:02.250Z` from microseconds since 1970."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(t: str) -> str:
    """`23 November 2026` from RFC 3339; as recorded when it is something else."""
    year, month, date = t[:4], t[5:7], t[8:10]
    if not (year.isdigit() and month.isdigit() and date.isdigit() and 1 <= int(month) <= 12):
        return t
    return f"{int(date)} {MONTHS[int(month) - 1]} {year}"


def span(first: str, first_us: int, last: str, last_us: int) -> str:
    """`23 November 2026, 06:15:02 to 06:15:09 UTC`."""
    if last_us - first_us < 1_000_000:
        return f"{day(first)}, {clock(first_us, fine=True)} to {clock(last_us, fine=True)} UTC"
    if day(first) == day(last):
        return f"{day(first)}, {clock(first_us)} to {clock(last_us)} UTC"
    return f"{day(first)}, {clock(first_us)} to {day(last)}, {clock(last_us)} UTC"
