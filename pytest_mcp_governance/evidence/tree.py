"""The RFC 6962 Merkle tree over ledger lines: constant work a line, roots on demand.

Leaves out proofs: the verifier recomputes every root from the lines.
"""

from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


class Tree:
    """A tree that only grows. Keeps the roots of its complete subtrees, so memory is logarithmic."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the bytes of one line, without its newline."""
        node = sha256(b"\x00" + leaf).digest()
        size = self.size
        while size & 1:
            node = sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far (RFC 6962, section 2.1)."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = sha256(b"\x01" + peak + root).digest()
        return root
