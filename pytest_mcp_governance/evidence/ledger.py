"""Writing a segment: one process's ledger, its disclosures and its signed checkpoints.

The bytes of a line are its leaf; lines are never rewritten. Leaves out what records mean, who may write
them, and reading (see `reader` and `verify`). One `Segment` has one owner; it is not thread-safe.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Protocol

from pytest_mcp_governance.errors import EvidenceError, LedgerWriteError
from pytest_mcp_governance.evidence import disclosures, strict_json
from pytest_mcp_governance.evidence.append_file import AppendFile
from pytest_mcp_governance.evidence.blobs import BlobStore
from pytest_mcp_governance.evidence.disclosures import Committed
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.names import is_name
from pytest_mcp_governance.evidence.notes import Checkpoint, sign_note
from pytest_mcp_governance.evidence.tree import Tree

__all__ = ["Clock", "Committed", "Sealed", "Segment", "SegmentSummary", "SystemClock"]

MAX_UNSEALED = 64
RESERVE_BYTES = 65_536
_RESERVED = frozenset({"v", "run", "seg", "seq", "t", "m", "type", "test", "attempt"})


class Clock(Protocol):
    """Where times come from."""

    def now(self) -> datetime:
        """Wall time, in UTC and aware of it."""
        ...

    def monotonic_ns(self) -> int:
        """A time that never goes back, in nanoseconds from any start."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Sealed:
    """How much of a segment the last checkpoint covers: number of lines, and their root in hex."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """What the close statement says of a segment: all its lines, and the root (hex) over them."""

    name: str
    key: PublicKey
    lines: int
    root: str


class Segment:
    """The ledger of one recorder process.

    Args:
        folder: the run folder; `seg/` and `blob/` are made in it where missing, mode 0700.
        run: run id, `[a-z0-9-]+`.
        name: segment name, `[a-z0-9-]+`, new in this run.
        key: the segment key; it signs the checkpoints and nothing else.
        clock: where times come from.
        entropy: returns that many unpredictable bytes; salts come from it.

    Raises:
        EvidenceError: a name that is not allowed, a segment that exists, a folder that cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        name: str,
        key: SigningKey,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not is_name(run) or not is_name(name):
            raise EvidenceError("Run ids and segment names are made of a-z, 0-9 and `-`, 100 at most.")
        self.name = name
        self.unsealed = 0
        self.sealed = Sealed(0, "")
        self._origin = f"{run}/{name}"
        self._head = f'{{"v":1,"run":"{run}","seg":"{name}","seq":'.encode("ascii")
        self._key, self._entropy = key, entropy
        self._clock: Clock = clock or SystemClock()
        self._opened_ns = self._clock.monotonic_ns()
        self._tree, self._counts = Tree(), dict[str, int]()
        self._refused = 0
        self._closed = False
        self._open_files(folder)

    @property
    def stored_bytes(self) -> int:
        """What was stored so far: lines, disclosures and the blobs of this process."""
        return self._lines.size + self._disclosures.size + self._blobs.stored_bytes

    def append(self, type: str, fields: Mapping[str, object], *, test: tuple[str, int] | None = None) -> str:
        """Store one record, after the disclosures of the values it commits to.

        Args:
            type: the record's type; the first of a segment is `open`.
            fields: JSON values; a `Committed` at any depth becomes `{"$sd": digest}`.
            test: clear name and attempt (from 1) of the test that is running.

        Returns:
            The record's ref, `<segment>/<seq>`.

        Raises:
            LedgerWriteError: the record is not stored, and no later one will be; forward nothing.
            EvidenceError: a value that cannot be recorded; the ledger is as before.
        """
        if self._refused:
            self._refused += 1
            raise LedgerWriteError("The ledger refused an earlier record; nothing more can be recorded.")
        if self._closed:
            raise LedgerWriteError(f"Segment {self.name} is closed; nothing more can be recorded in it.")
        if not self._tree.size and type != "open":
            raise EvidenceError("The first record of a segment is `open`.")
        ref = self._store(type, fields, test)
        self._counts[type] = self._counts.get(type, 0) + 1
        self.unsealed += 1
        if self.unsealed >= MAX_UNSEALED:
            self.checkpoint()
        return ref

    def store_blob(self, data: bytes) -> str:
        """Store bytes as a blob and return their SHA-256 in hex. A record must refer to it.

        Raises:
            LedgerWriteError: not stored; as for `append`, no later record is.
        """
        try:
            return self._blobs.store(data)
        except LedgerWriteError:
            self._refused += 1
            raise

    def commit_blob(self, data: bytes) -> Committed:
        """Store bytes as a blob and return the committed reference to them."""
        return Committed({"$blob": self.store_blob(data)}, is_blob=True)

    def checkpoint(self, *, sync: bool = False) -> None:
        """Seal what is new with a signed checkpoint; nothing new means nothing written.

        Args:
            sync: also wait until ledger and disclosures are on the disk (at the end of a test).

        Raises:
            LedgerWriteError: as for `append`.
        """
        if self._refused:
            raise LedgerWriteError("The ledger refused an earlier record; nothing more can be sealed.")
        if self.unsealed:
            self._seal()
        if sync:
            try:
                self._disclosures.sync()
                self._lines.sync()
            except OSError as error:
                self._refuse(error)

    def close(self) -> SegmentSummary:
        """Write `close` and the last checkpoint, sync, and return what the close statement lists.

        After a failed write the reserve is freed first, and a `gap` says how much was lost.

        Raises:
            LedgerWriteError: even that failed; the segment stays without its close record.
        """
        if self._closed:
            raise EvidenceError(f"Segment {self.name} is closed already.")
        self._reserve.unlink(missing_ok=True)
        lost, self._refused = self._refused, 0
        if lost:
            self._repair()
            gap = {"what": "records", "count": lost, "reason": "a write to the ledger failed"}
            self._store("gap", gap, None)
            self._counts["gap"] = self._counts.get("gap", 0) + 1
        self._store("close", {"counts": dict(sorted(self._counts.items()))}, None)
        self._seal()
        self.checkpoint(sync=True)
        self._closed = True
        self._lines.close()
        self._disclosures.close()
        return SegmentSummary(self.name, self._key.public, self._tree.size, self._tree.root().hex())

    def _open_files(self, folder: Path) -> None:
        try:
            (folder / "seg").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._blobs = BlobStore(folder / "blob")
            self._reserve = folder / "seg" / f".reserve-{self.name}"
            self._lines = AppendFile(folder / "seg" / f"{self.name}.jsonl")
            self._disclosures = AppendFile(folder / "seg" / f"{self.name}.sd.jsonl")
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, bytes(RESERVE_BYTES))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EvidenceError(f"The run folder cannot be written: {error.strerror}.") from None

    def _store(self, type: str, fields: Mapping[str, object], test: tuple[str, int] | None) -> str:
        if not _RESERVED.isdisjoint(fields):
            raise EvidenceError(f"A record of type {type} may not set the fields that every line has.")
        seq = self._tree.size
        disclosed: list[bytes] = []
        body: dict[str, object] = {
            "t": self._clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "m": self._clock.monotonic_ns() - self._opened_ns,
            "type": type,
        }
        if test is not None:
            body["test"], body["attempt"] = test
        for name, value in fields.items():
            body[name] = value if value.__class__ in _SCALARS else self._commit(value, disclosed)
        line = b"%b%d,%b" % (self._head, seq, _json(body, type)[1:])
        self._write(line, disclosed)
        return f"{self.name}/{seq}"

    def _commit(self, value: object, disclosed: list[bytes]) -> object:
        if isinstance(value, Committed):
            line = disclosures.encode(self._entropy(disclosures.SALT_BYTES), self._inline(value))
            disclosed.append(line)
            return {"$sd": disclosures.digest_of(line)}
        if isinstance(value, Mapping):
            if "$sd" in value:
                raise EvidenceError("A clear value may not have the key `$sd`.")
            return {key: self._commit(item, disclosed) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._commit(item, disclosed) for item in value]
        return value

    def _inline(self, committed: Committed) -> bytes:
        text = _json(committed.value, "committed value")
        if text[:1] in b"[{" and strict_json.is_deeper(committed.value, disclosures.MAX_NESTING):
            text = _json(text.decode("ascii"), "committed value")
        # Data that merely looks like a blob reference goes into a blob, so that a reader is never misled.
        imitation = not committed.is_blob and disclosures.blob_reference(committed.value) is not None
        if len(text) <= disclosures.MAX_INLINE_BYTES and not imitation:
            return text
        return b'{"$blob":"' + self.store_blob(text).encode("ascii") + b'"}'

    def _write(self, line: bytes, disclosed: list[bytes]) -> None:
        disclosed_size = self._disclosures.size
        try:
            if disclosed:
                disclosed.append(b"")
                self._disclosures.append(b"\n".join(disclosed))
            self._lines.append(line + b"\n")
        except OSError as error:
            self._disclosures.cut(disclosed_size)
            self._refuse(error)
        self._tree.append(line)

    def _seal(self) -> None:
        size, root = self._tree.size, self._tree.root()
        note = sign_note(Checkpoint(self._origin, size, root), self._key)
        self._store("checkpoint", {"note": note}, None)
        self._counts["checkpoint"] = self._counts.get("checkpoint", 0) + 1
        self.unsealed = 0
        self.sealed = Sealed(size, root.hex())

    def _repair(self) -> None:
        if not (self._lines.repair() and self._disclosures.repair()):
            raise LedgerWriteError("The ledger ends in a torn line that cannot be cut off.")

    def _refuse(self, error: OSError) -> NoReturn:
        self._refused += 1
        raise LedgerWriteError(
            f"A ledger record could not be stored: {error.strerror or 'write failed'}. "
            "Nothing is forwarded after this; free disk space or check the run folder, then run again."
        ) from None


_SCALARS = frozenset({str, int, bool, float, type(None)})


def _json(value: object, what: str) -> bytes:
    try:
        return strict_json.dumps(value)
    except strict_json.StrictJsonError as error:
        raise EvidenceError(f"A {what} record {error}.") from None
