"""Only real PNG, JPEG and WebP pictures of sane size are embedded, once each, findings first."""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import replace

import pytest
from PIL import Image

from pytest_mcp_governance.report.model import Screen, Stamp
from pytest_mcp_governance.report.pictures import album, dimensions

STAMP = Stamp("main/1", "main", 1, "", 0, 0, "", 1)
SCREEN = Screen(STAMP, "screen", "image/png", 0, "", "", "", "", "", "", None, False, False, "")


@pytest.mark.parametrize(
    ("form", "options", "media_type"),
    [
        ("PNG", {}, "image/png"),
        ("JPEG", {}, "image/jpeg"),
        ("JPEG", {"progressive": True}, "image/jpeg"),
        ("WEBP", {"lossless": True}, "image/webp"),
        ("WEBP", {"lossless": False}, "image/webp"),
    ],
)
def test_sizes_are_read_from_the_bytes(form: str, options: dict[str, bool], media_type: str) -> None:
    assert dimensions(_picture(form, (37, 21), **options)) == (media_type, 37, 21)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a" + b"\0" * 40, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n",
     b"\xff\xd8\xff\xff" + b"\xff" * 64, b"RIFF" + b"\0" * 4 + b"WEBP" + b"\0" * 40,
     b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 60_000, 60_000)],
)  # fmt: skip
def test_anything_else_is_no_picture(data: bytes) -> None:
    assert dimensions(data) is None


def test_the_budget_goes_to_the_first_and_the_rest_is_named() -> None:
    first, second = _picture("PNG", (8, 8)), _picture("PNG", (9, 9))
    blobs = {_sha(d): d for d in (first, second)}
    screens = [replace(SCREEN, digest=_sha(d)) for d in (first, first, second)]
    found = album(screens, blobs.get, budget=len(first) + 1)
    assert list(found.pictures) == [_sha(first)]
    assert found.reason(screens[2]) == "budget"


def test_bytes_that_are_not_their_digest_are_not_shown() -> None:
    screen = replace(SCREEN, digest="0" * 64)
    found = album([screen], lambda _: _picture("PNG", (8, 8)))
    assert found.of(screen) is None
    assert found.reason(screen) == "unreadable"


def _picture(form: str, size: tuple[int, int], **options: bool) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "navy").save(out, form, **options)
    return out.getvalue()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
