"""Which pictures stand in the page, and as what: PNG, JPEG or WebP whose bytes are what they claim to be.

Each picture is embedded once and drawn wherever it is needed. Leaves out where they stand (page.py).
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Screen

BUDGET_BYTES = 25 * 1024 * 1024
MAX_PICTURE_BYTES = 8 * 1024 * 1024
MAX_SIDE_PX = 16_384
MAX_AREA_PX = 64_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One embedded picture. `key` is its id in the page, `url` a `data:` URL, sizes are in pixels."""

    key: str
    digest: str
    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of a page by digest, and why the others are not shown."""

    pictures: dict[str, Picture]
    reasons: dict[str, str]

    def of(self, screen: Screen) -> Picture | None:
        return self.pictures.get(screen.digest) if isinstance(screen.digest, str) else None

    def reason(self, screen: Screen) -> str:
        """Why `screen` has no picture here: one of the keys of `text.NO_PICTURE`."""
        if screen.failed:
            return "failed"
        if isinstance(screen.digest, Withheld):
            return "withheld"
        return self.reasons.get(screen.digest, "absent")


def album(screens: Iterable[Screen], blob: Callable[[str], bytes | None], budget: int = BUDGET_BYTES) -> Album:
    """Embed the pictures of `screens` in their order until `budget` bytes are used.

    Args:
        screens: the most important first; a digest seen before costs nothing.
        blob: bytes of a digest, or None when the file does not hold them.
        budget: bytes of picture data before base64.
    """
    pictures: dict[str, Picture] = {}
    reasons: dict[str, str] = {}
    for screen in screens:
        digest = screen.digest
        if isinstance(digest, Withheld) or not digest or digest in pictures or digest in reasons:
            continue
        data = blob(digest)
        if data is None:
            reasons[digest] = "absent"
        elif len(data) > MAX_PICTURE_BYTES or (size := dimensions(data)) is None or _differs(data, digest):
            reasons[digest] = "unreadable"
        elif len(data) > budget:
            reasons[digest] = "budget"
        else:
            budget -= len(data)
            media_type, width, height = size
            url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
            pictures[digest] = Picture(f"p{len(pictures) + 1}", digest, url, width, height)
    return Album(pictures, reasons)


def dimensions(data: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height by the bytes themselves; None for anything that is not a sane picture."""
    size = _png(data) or _jpeg(data) or _webp(data)
    if size is None:
        return None
    _, width, height = size
    sane = 0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and width * height <= MAX_AREA_PX
    return size if sane else None


def _differs(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() != digest


def _png(data: bytes) -> tuple[str, int, int] | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = struct.unpack(">II", data[16:24])
    return "image/png", width, height


def _jpeg(data: bytes) -> tuple[str, int, int] | None:
    """Walks the segments to the frame header (ITU T.81, B.2.2)."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return "image/jpeg", width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp(data: bytes) -> tuple[str, int, int] | None:
    """The three chunk forms of RFC 9649: lossy, lossless, extended."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    form = data[12:16]
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return "image/webp", width & 0x3FFF, height & 0x3FFF
    if form == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return "image/webp", (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if form == b"VP8X":
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        return "image/webp", width, height
    return None
