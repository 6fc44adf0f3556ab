"""Checkpoints: C2SP tlog-checkpoint in a C2SP signed note, one Ed25519 signature.

https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note. Leaves out cosignatures and extension
lines: a v1 ledger note has exactly three text lines and one signature.
"""

import base64
import hashlib
import re
from dataclasses import dataclass

from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey

_NOTE = re.compile(
    r"([a-z0-9-]+/[a-z0-9-]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n"
    r"\n\u2014 ([a-z0-9-]+/[a-z0-9-]+) ([A-Za-z0-9+/]{91}=)\n"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note says: its origin, the number of leaves and their root (32 bytes)."""

    origin: str
    size: int
    root: bytes


def key_hash(name: str, key: PublicKey) -> bytes:
    """The four bytes that name a key in a signed note (signature type 1, Ed25519)."""
    return hashlib.sha256(name.encode() + b"\n\x01" + key.raw).digest()[:4]


def sign_note(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the signed note over a checkpoint; the key's name is the origin."""
    text = _text(checkpoint)
    signature = key_hash(checkpoint.origin, key.public) + key.sign(text.encode())
    return f"{text}\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode('ascii')}\n"


def open_note(note: str, origin: str, key: PublicKey) -> Checkpoint | str:
    """Check a note's form, origin and signature.

    Returns:
        The checkpoint, or one phrase that says what is wrong with it.
    """
    match = _NOTE.fullmatch(note)
    if match is None:
        return "the note is not a signed checkpoint"
    root, signature = base64.b64decode(match[3]), base64.b64decode(match[5])
    checkpoint = Checkpoint(match[1], int(match[2]), root)
    if checkpoint.origin != origin or match[4] != origin:
        return "the note is of another segment"
    # Re-encoding shows unused bits that base64 decoders ignore.
    if base64.b64encode(root).decode() != match[3] or base64.b64encode(signature).decode() != match[5]:
        return "the note is not strict base64"
    if signature[:4] != key_hash(origin, key):
        return "the note names another key"
    if not key.verify(_text(checkpoint).encode(), signature[4:]):
        return "the note's signature is wrong"
    return checkpoint


def _text(checkpoint: Checkpoint) -> str:
    root = base64.b64encode(checkpoint.root).decode("ascii")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"
