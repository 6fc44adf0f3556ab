"""Salted commitments: a value stays out of the ledger, its digest goes in (the idea of RFC 9901).

A disclosure is the exact line `["<22-character base64url salt>",<value>]`; the commitment is the base64url
SHA-256 of those bytes. Leaves out where the lines are stored.
"""

import re
from binascii import b2a_base64
from dataclasses import dataclass
from hashlib import sha256

from pytest_mcp_governance.evidence import strict_json

SALT_BYTES = 16
MAX_INLINE_BYTES = 65_536
MAX_NESTING = 100  # a value that nests deeper is committed as its JSON text
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_SALT = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")  # 16 bytes: the last character has four unused bits
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, repr=False)
class Committed:
    """A value that the ledger commits to and discloses beside itself.

    Args:
        value: any JSON value.
        is_blob: the value is `{"$blob": hex}` made by `Segment.commit_blob`, not data that looks like it.
    """

    value: object
    is_blob: bool = False

    def __repr__(self) -> str:
        return "Committed(…)"


def digest_of(line: bytes) -> str:
    """The commitment to a disclosure line (without its newline)."""
    return _base64url(sha256(line).digest())[:43].decode("ascii")


def encode(salt: bytes, value_json: bytes) -> bytes:
    """The disclosure line for a value already written as JSON; `salt` has 16 bytes."""
    return b'["' + _base64url(salt)[:22] + b'",' + value_json + b"]"


def decode(line: bytes) -> object:
    """The value of a disclosure line.

    Raises:
        StrictJsonError: the line is no disclosure.
    """
    pair = strict_json.loads(line)
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise strict_json.StrictJsonError("not a pair of salt and value")
    if _SALT.fullmatch(pair[0]) is None:
        raise strict_json.StrictJsonError("the salt is not 22 base64url characters")
    value: object = pair[1]
    return value


def commitment(value: object) -> str | None:
    """The digest, where a ledger value is a commitment `{"$sd": digest}`; else None."""
    if isinstance(value, dict) and len(value) == 1:
        digest = value.get("$sd")
        if isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None:
            return digest
    return None


def blob_reference(value: object) -> str | None:
    """The hex digest, where a disclosed value is exactly `{"$blob": hex}`; else None."""
    if isinstance(value, dict) and len(value) == 1:
        digest = value.get("$blob")
        if isinstance(digest, str) and _HEX.fullmatch(digest) is not None:
            return digest
    return None


def _base64url(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).translate(_URL_SAFE)
