"""Where evidence bytes come from: a run folder, a single file, or either with parts withheld.

Paths are those of `names`; whatever else lies in a folder is not evidence. Leaves out checking.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container, disclosures, names, strict_json

CHUNK_BYTES = 262_144
MAX_LINE_BYTES = 16_777_216
MAX_ITEM_BYTES = container.MAX_ITEM_BYTES


@dataclass(frozen=True, slots=True)
class SignedParts:
    """What a closing statement signs of a single file: SHA-256 (hex) of its view, None where it is not here, and of
    its item list."""

    view: str | None
    items: str


class Source(Protocol):
    """Read access to the files of one run."""

    def paths(self) -> tuple[str, ...]:
        """All evidence paths, sorted."""
        ...

    def read(self, path: str) -> bytes:
        """All bytes of a path.

        Raises:
            EvidenceError: it is not there, cannot be read, or is larger than 1 GiB.
        """
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a path, some at a time."""
        ...

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a path, each with its newline; only the last may lack it.

        Raises:
            EvidenceError: as for `read`, and for a line of over 16 MiB.
        """
        ...

    def signed_parts(self) -> SignedParts | None:
        """Digests of the parts of a single file; None for what is none."""
        ...


class FolderSource:
    """A run folder. Only regular files count: a link or a pipe is as good as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self) -> tuple[str, ...]:
        found = [path for path in (names.OPEN, names.CLOSE) if self._is_file(path)]
        for part in ("seg", "blob", "statements"):
            try:
                with os.scandir(self._folder / part) as entries:
                    found += [
                        f"{part}/{entry.name}"
                        for entry in entries
                        if names.classify(f"{part}/{entry.name}") and entry.is_file(follow_symlinks=False)
                    ]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise EvidenceError(f"{part}/ cannot be listed: {error.strerror}.") from None
        return tuple(sorted(found))

    def read(self, path: str) -> bytes:
        return join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        if names.classify(path) is None:
            raise EvidenceError(f"{path!r} is no evidence path.")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(self._folder / path, flags), "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise EvidenceError(f"{path} is not a file.")
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise EvidenceError(f"{path} cannot be read: {error.strerror}.") from None

    def lines(self, path: str) -> Iterator[bytes]:
        return split_lines(self.chunks(path))

    def signed_parts(self) -> None:
        return None

    def _is_file(self, path: str) -> bool:
        try:
            return stat.S_ISREG((self._folder / path).lstat().st_mode)
        except OSError:
            return False


class ContainerSource:
    """A single HTML file, as bytes or mapped into memory.

    Raises:
        EvidenceError: it is no report, is cut short, or has a byte that belongs nowhere.
    """

    def __init__(self, data: container.Buffer) -> None:
        self.data = data
        self.layout = container.split(data)
        self._items = {item.path: item for item in self.layout.items}

    @property
    def view(self) -> bytes:
        """The page that people read: everything before the marker."""
        return self.data[: self.layout.view_end]

    def paths(self) -> tuple[str, ...]:
        return tuple(self._items)

    def read(self, path: str) -> bytes:
        return join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        item = self._items.get(path)
        if item is None:
            raise EvidenceError(f"{path!r} is not in this file.")
        return container.decode_item(self.data, item)

    def lines(self, path: str) -> Iterator[bytes]:
        return split_lines(self.chunks(path))

    @cached_property
    def item_digests(self) -> Mapping[str, str]:
        """SHA-256 (hex) of the base64 text of every item that the item list covers."""
        return container.item_digests(self.data, self.layout)

    def signed_parts(self) -> SignedParts:
        items = container.list_of(self.item_digests.items())
        return SignedParts(hashlib.sha256(self.view).hexdigest(), hashlib.sha256(items).hexdigest())


class NestedSource:
    """One run inside the file of a group, by its own paths. Its page is not there."""

    def __init__(self, group: ContainerSource, run: str) -> None:
        self._group, self._run = group, run

    def paths(self) -> tuple[str, ...]:
        prefix = names.in_run(self._run, "")
        return tuple(path.removeprefix(prefix) for path in self._group.paths() if path.startswith(prefix))

    def read(self, path: str) -> bytes:
        return join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        return self._group.chunks(names.in_run(self._run, path))

    def lines(self, path: str) -> Iterator[bytes]:
        return split_lines(self.chunks(path))

    def signed_parts(self) -> SignedParts:
        digests = self._group.item_digests
        own = ((path, digests[names.in_run(self._run, path)]) for path in self.paths() if names.is_listed(path))
        return SignedParts(None, hashlib.sha256(container.list_of(own)).hexdigest())


class FilteredSource:
    """Another source with disclosures and blobs withheld. Ledger lines are never changed.

    A blob that only withheld disclosures refer to goes with them: no blob may be left that nothing names.

    Args:
        source: what is filtered.
        drop_disclosures: the `$sd` digests of the disclosures to withhold.
        drop_blobs: SHA-256 (hex) of blobs to leave out. The close statement must list those that a
            disclosure that stays refers to as omitted.
    """

    def __init__(
        self,
        source: Source,
        drop_disclosures: frozenset[str] = frozenset(),
        drop_blobs: frozenset[str] = frozenset(),
    ) -> None:
        self._source = source
        self._disclosures = drop_disclosures
        blobs = drop_blobs | self._orphans() if drop_disclosures else drop_blobs
        self._blobs = frozenset(names.blob_path(digest) for digest in blobs)

    def paths(self) -> tuple[str, ...]:
        return tuple(path for path in self._source.paths() if path not in self._blobs)

    def read(self, path: str) -> bytes:
        return join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        if path in self._blobs:
            raise EvidenceError(f"{path} is withheld.")
        if self._disclosures and _is_disclosures(path):
            return self.lines(path)
        return self._source.chunks(path)

    def lines(self, path: str) -> Iterator[bytes]:
        if not (self._disclosures and _is_disclosures(path)):
            return split_lines(self.chunks(path))
        return (line for line in self._source.lines(path) if not self._drops(line))

    def signed_parts(self) -> None:
        return None

    def _drops(self, line: bytes) -> bool:
        return disclosures.digest_of(line.removesuffix(b"\n")) in self._disclosures

    def _orphans(self) -> frozenset[str]:
        kept: set[str] = set()
        dropped: set[str] = set()
        for path in self._source.paths():
            if _is_disclosures(path):
                for line in self._source.lines(path):
                    digest = _blob_in(line)
                    if digest is not None:
                        (dropped if self._drops(line) else kept).add(digest)
            elif (names.classify(path) or ("", ""))[0] == "lines":
                kept |= _policy_blobs(self._source.lines(path))
        return frozenset(dropped - kept)


def items(source: Source) -> Iterator[tuple[str, bytes]]:
    """All paths and bytes of a source, as `container.pack` takes them."""
    return ((path, source.read(path)) for path in source.paths())


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a stream into lines; each keeps its newline, a torn last one has none."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise EvidenceError(f"A line is longer than {MAX_LINE_BYTES} bytes.")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def join(chunks: Iterator[bytes], max_bytes: int = MAX_ITEM_BYTES) -> bytes:
    """All chunks as one.

    Raises:
        EvidenceError: more than `max_bytes`.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise EvidenceError(f"An evidence file is larger than {max_bytes} bytes.")
        parts.append(chunk)
    return b"".join(parts)


def _is_disclosures(path: str) -> bool:
    return path.endswith(".sd.jsonl")


def _blob_in(line: bytes) -> str | None:
    if b'{"$blob":' not in line:
        return None
    try:
        return disclosures.blob_reference(disclosures.decode(line))
    except strict_json.StrictJsonError:
        return None


def _policy_blobs(lines: Iterator[bytes]) -> set[str]:
    found: set[str] = set()
    for line in lines:
        if b'"type":"policy"' in line:
            try:
                found.update(policy_blobs(strict_json.loads_object(line)))
            except strict_json.StrictJsonError:
                continue
    return found


def policy_blobs(record: dict[str, object]) -> Iterator[str]:
    """The digests of the policy texts that a `policy` record names in the clear."""
    sources = record.get("sources") if record.get("type") == "policy" else None
    for entry in sources if isinstance(sources, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("blob"), str):
            yield entry["blob"]
