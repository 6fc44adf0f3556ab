"""The single HTML file: view, marker, items, tail. Packs and splits it, byte for byte.

An item is one evidence file as base64(gzip) in an inert script element. Leaves out what the view looks
like and whether any of it is true (`verify`).
"""

import base64
import binascii
import hashlib
import mmap
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import names

MARKER = b"<!--mcp-governance-evidence-v1-->\n"
TAIL = b"</body></html>\n"
GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")  # RFC 1952: deflate, no name, mtime 0, system unknown
_ITEM = re.compile(rb'<script type="text/plain" data-path="([a-z0-9./-]{1,400})">([A-Za-z0-9+/]*={0,2})</script>\n')
_TAIL_OF_ITEM = b"</script>\n"
MAX_ITEM_BYTES = 1_073_741_824
_SLICE = 262_144  # base64 characters decoded at a time; a multiple of four

Buffer = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a file: its path, and where its base64 text stands in the file."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A file cut into its parts: the view is `[0:view_end]`, the items follow the marker."""

    view_end: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """A packed file that waits for its close statement, which signs the two digests.

    Args:
        view: the page, without marker.
        items: path and base64 text, sorted by path.
    """

    view: bytes
    items: tuple[tuple[str, bytes], ...]

    @property
    def view_sha256(self) -> str:
        """SHA-256 (hex) of the view: the close subject `view.html`."""
        return hashlib.sha256(self.view).hexdigest()

    @property
    def item_list_sha256(self) -> str:
        """SHA-256 (hex) of the item list: the close subject `items`."""
        return hashlib.sha256(item_list(self.items)).hexdigest()

    def finish(self, close: bytes) -> bytes:
        """The whole file, with the signed close statement among its items."""
        items = sorted([*self.items, (names.CLOSE, encode_stored(close))])
        return b"".join([self.view, MARKER, *(_element(path, text) for path, text in items), TAIL])


def pack(view: bytes, items: Iterable[tuple[str, bytes]]) -> Draft:
    """Pack a page and evidence files; a close statement among them is left out.

    Args:
        view: UTF-8 HTML up to, and without, the marker; its body stays open.
        items: evidence path (as in `names`) and bytes.

    Raises:
        EvidenceError: the view holds the marker, or a path is no evidence or comes twice.
    """
    if MARKER in view:
        raise EvidenceError("The view may not contain the evidence marker.")
    packed: dict[str, bytes] = {}
    for path, data in items:
        if names.classify(path) is None or path in packed:
            raise EvidenceError(f"{path!r} cannot be an item: unknown form, or twice.")
        if path != names.CLOSE:
            packed[path] = encode_item(data)
    return Draft(view, tuple(sorted(packed.items())))


def encode_item(data: bytes) -> bytes:
    """base64(gzip) with the fixed header: the same bytes give the same text."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeeze.compress(data) + squeeze.flush()
    trailer = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return base64.b64encode(GZIP_HEADER + body + trailer)


def encode_stored(data: bytes) -> bytes:
    """The one form of an item that no digest covers: gzip of uncompressed blocks (RFC 1951, 3.2.4).

    Compression leaves a choice of bytes, and what is chosen can hide something; here there is none.
    """
    blocks = [data[start : start + 65_535] for start in range(0, len(data), 65_535)] or [b""]
    body = b"".join(
        bytes([number == len(blocks)]) + len(block).to_bytes(2, "little") + (65_535 - len(block)).to_bytes(2, "little")
        + block
        for number, block in enumerate(blocks, 1)
    )  # fmt: skip
    trailer = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return base64.b64encode(GZIP_HEADER + body + trailer)


def item_list(items: Iterable[tuple[str, bytes]]) -> bytes:
    """The signed list of items: `<sha256 of the base64 text> <path>` a line.

    Args:
        items: path and base64 text; close and later statements are left out.
    """
    return b"".join(
        f"{hashlib.sha256(text).hexdigest()} {path}\n".encode("ascii")
        for path, text in sorted(items)
        if names.is_listed(path)
    )


def with_statement(data: Buffer, layout: Layout, path: str, statement: bytes) -> Iterator[bytes]:
    """The file again, some bytes at a time, with one more later statement in its place; every other byte is kept.

    Raises:
        EvidenceError: the path is no later statement's, or there already.
    """
    if not path.startswith("statements/") or names.classify(path) is None:
        raise EvidenceError(f"{path!r} is no path of a later statement.")
    if any(item.path == path for item in layout.items):
        raise EvidenceError(f"{path} is in the file already.")
    following = next((item for item in layout.items if item.path > path), None)
    place = len(data) - len(TAIL) if following is None else following.start - len(_head(following.path))
    yield from _slices(data, 0, place)
    yield _element(path, encode_stored(statement))
    yield from _slices(data, place, len(data))


def split(data: Buffer) -> Layout:
    """Cut a file into view and items; every byte belongs to exactly one part.

    Raises:
        EvidenceError: the file is no report, is cut short, or has a byte that belongs nowhere.
    """
    view_end = data.find(MARKER)
    if view_end < 0:
        raise EvidenceError(
            "This is no governance report: the evidence marker is missing. If it was one, it was cut short "
            "or rewritten on the way; get the file again, as a download and not through a copy of its text."
        )
    position = view_end + len(MARKER)
    items: list[Item] = []
    while match := _ITEM.match(data, position):
        path = match[1].decode("ascii")
        if not names.is_item(path):
            raise EvidenceError(f"Item {path!r} is none that format v1 knows.")
        if items and items[-1].path >= path:
            raise EvidenceError(f"Item {path!r} is out of order or there twice.")
        items.append(Item(path, *match.span(2)))
        position = match.end()
    if data[position:] != TAIL:
        raise EvidenceError(
            f"After {len(items)} whole items, byte {position} of {len(data)} is neither an item nor the end "
            "of a report. It was cut short or changed; get the file again."
        )
    return Layout(view_end, tuple(items))


def item_digests(data: Buffer, layout: Layout) -> dict[str, str]:
    """SHA-256 (hex) of the base64 text of every item that the item list covers, in the order of the file."""
    return {item.path: item_digest(data, item) for item in layout.items if names.is_listed(item.path)}


def list_of(digests: Iterable[tuple[str, str]]) -> bytes:
    """The item list from paths and digests, in this order."""
    return b"".join(f"{digest} {path}\n".encode("ascii") for path, digest in digests)


def item_digest(data: Buffer, item: Item) -> str:
    """SHA-256 (hex) of the base64 text of an item."""
    digest = hashlib.sha256()
    for start in range(item.start, item.end, _SLICE):
        digest.update(data[start : min(start + _SLICE, item.end)])
    return digest.hexdigest()


def merged(view: bytes, parts: Iterable[tuple[str, Buffer, Item]], statement: bytes) -> Iterator[bytes]:
    """The file of a group, some bytes at a time: every item as it is in the file that it comes from.

    Args:
        view: the group's page, without marker.
        parts: path in the group, and where its text is; sorted by path.
        statement: the signed group statement.

    Raises:
        EvidenceError: the view holds the marker.
    """
    if MARKER in view:
        raise EvidenceError("The view may not contain the evidence marker.")
    yield from (view, MARKER, _element(names.GROUP, encode_stored(statement)))  # before every path in runs/
    for path, data, item in parts:
        yield _head(path)
        yield from _slices(data, item.start, item.end)
        yield _TAIL_OF_ITEM
    yield TAIL


def decode_item(data: Buffer, item: Item) -> Iterator[bytes]:
    """The bytes of an item, some at a time.

    Raises:
        EvidenceError: not strict base64, not the fixed gzip header, damaged, followed by more bytes, larger than
            1 GiB, or an item outside the item list that is not in its one form.
    """
    if names.is_listed(item.path):
        yield from _bounded(data, item)
        return
    whole = b"".join(_bounded(data, item))
    if encode_stored(whole) != data[item.start : item.end]:
        raise EvidenceError(f"Item {item.path!r} is not written in the one form that it has.")
    yield whole


def _bounded(data: Buffer, item: Item) -> Iterator[bytes]:
    size = 0
    for chunk in _decoded(data, item):
        size += len(chunk)
        if size > MAX_ITEM_BYTES:
            raise EvidenceError(f"Item {item.path!r} is larger than {MAX_ITEM_BYTES} bytes.")
        yield chunk


def _decoded(data: Buffer, item: Item) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    first = True
    try:
        for start in range(item.start, item.end, _SLICE):
            text = data[start : min(start + _SLICE, item.end)]
            packed = binascii.a2b_base64(text, strict_mode=True)
            if base64.b64encode(packed[-(len(packed) % 3 or 3) :]) != text[-4:]:  # unused bits must be 0
                raise EvidenceError(f"Item {item.path!r} is not strict base64.")
            if first and not packed.startswith(GZIP_HEADER):
                raise EvidenceError(f"Item {item.path!r} does not have the fixed gzip header.")
            first = False
            yield from _inflate(inflate, packed, item.path)
    except (zlib.error, binascii.Error):
        raise EvidenceError(f"Item {item.path!r} is damaged.") from None
    if not inflate.eof:
        raise EvidenceError(f"Item {item.path!r} is cut short.")


def _inflate(inflate: "zlib._Decompress", packed: bytes, path: str) -> Iterator[bytes]:
    while packed:
        if inflate.eof:
            raise EvidenceError(f"Item {path!r} has bytes after its end.")
        yield inflate.decompress(packed, _SLICE)
        packed = inflate.unconsumed_tail or inflate.unused_data


def _slices(data: Buffer, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _SLICE):
        yield data[position : min(position + _SLICE, end)]


def _head(path: str) -> bytes:
    return b'<script type="text/plain" data-path="' + path.encode("ascii") + b'">'


def _element(path: str, text: bytes) -> bytes:
    return _head(path) + text + _TAIL_OF_ITEM
