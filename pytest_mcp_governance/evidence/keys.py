"""Ed25519 keys and their names: PEM in and out, fingerprint, key id, hint. PyNaCl does the arithmetic.

Leaves out trust (see `trust`) and key services: a signing key is a PKCS#8 PEM file in this version.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import nacl.exceptions
import nacl.signing

from pytest_mcp_governance.errors import KeyFileError

_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, section 4
_PKCS8_PREFIX = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, section 7
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s(.*?)-----END \1-----", re.DOTALL)
_MAX_KEY_FILE_BYTES = 65_536
_KEY_SERVICES = ("keyring", "awskms", "gcpkms", "azurekms", "hv", "hsm", "sigstore")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key: 32 raw bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise KeyFileError(f"An Ed25519 public key has 32 bytes; these are {len(self.raw)}.")

    def __repr__(self) -> str:
        return f"PublicKey({self.fingerprint})"

    @property
    def spki_der(self) -> bytes:
        """SubjectPublicKeyInfo in DER (RFC 8410)."""
        return _SPKI_PREFIX + self.raw

    @property
    def spki_pem(self) -> bytes:
        """The same as PEM, label PUBLIC KEY."""
        return _to_pem("PUBLIC KEY", self.spki_der)

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the SHA-256 of the SPKI: how people name this key."""
        return "SHA256:" + self.hint.rstrip("=")

    @property
    def hint(self) -> str:
        """Padded base64 of the SHA-256 of the SPKI: `publicKey.hint` of a Sigstore bundle."""
        return base64.b64encode(hashlib.sha256(self.spki_der).digest()).decode("ascii")

    @property
    def keyid(self) -> str:
        """securesystemslib's key id: SHA-256 (hex) of the canonical JSON of the key."""
        text = f'{{"keytype":"ed25519","keyval":{{"public":"{self.raw.hex()}"}},"scheme":"ed25519"}}'
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Say whether `signature` (64 bytes) is this key's over `data`; False for any bad input."""
        try:
            nacl.signing.VerifyKey(self.raw).verify(data, signature)
        except (nacl.exceptions.CryptoError, ValueError, TypeError):
            return False
        return True

    @classmethod
    def from_spki(cls, der: bytes) -> "PublicKey":
        """Read a SubjectPublicKeyInfo in DER.

        Raises:
            KeyFileError: it is not an Ed25519 key.
        """
        if len(der) != 44 or not der.startswith(_SPKI_PREFIX):
            raise KeyFileError("This public key is not Ed25519; only Ed25519 keys are supported.")
        return cls(der[12:])

    @classmethod
    def from_pem(cls, pem: bytes) -> "PublicKey":
        """Read one PEM block with the label PUBLIC KEY.

        Raises:
            KeyFileError: no such block, another kind of key, or a private key.
        """
        label, der = _read_pem(pem, "a public key in PEM (-----BEGIN PUBLIC KEY-----)")
        if "PRIVATE" in label:
            raise KeyFileError(
                "This is a private key; a public key was expected. Use the .pub.pem file that "
                "`mcp-governance keygen` wrote, and keep the private one where nobody reads it."
            )
        if label != "PUBLIC KEY":
            raise KeyFileError(f"Saw a PEM block {label!r}; expected PUBLIC KEY.")
        return cls.from_spki(der)


class SigningKey:
    """An Ed25519 private key. Its repr shows the fingerprint of the public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise KeyFileError("An Ed25519 private key has 32 bytes.")
        self._key = nacl.signing.SigningKey(seed)
        self.public = PublicKey(bytes(self._key.verify_key))

    def __repr__(self) -> str:
        return f"SigningKey({self.public.fingerprint})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key does not leave its process")

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a key from the operating system's random source."""
        return cls(bytes(nacl.signing.SigningKey.generate()))

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """Read an unencrypted PKCS#8 PEM (what `mcp-governance keygen` and `openssl genpkey` write).

        Raises:
            KeyFileError: anything else; the message names what it is instead.
        """
        label, der = _read_pem(pem, "an Ed25519 private key in PKCS#8 PEM (-----BEGIN PRIVATE KEY-----)")
        if label == "ENCRYPTED PRIVATE KEY":
            raise KeyFileError(
                "The private key is encrypted with a passphrase, which is not supported. "
                "Decrypt it with `openssl pkey -in KEY -out NEW`, readable by you alone."
            )
        if label == "PUBLIC KEY":
            raise KeyFileError("This is a public key; signing needs the private one (signing.pem).")
        if label != "PRIVATE KEY":
            raise KeyFileError(
                f"Saw a PEM block {label!r}; expected PRIVATE KEY (PKCS#8). Make a key with `mcp-governance keygen`."
            )
        if len(der) != 48 or not der.startswith(_PKCS8_PREFIX):
            raise KeyFileError(
                "The private key is not Ed25519. Make one with `mcp-governance keygen` "
                "or `openssl genpkey -algorithm ed25519`."
            )
        return cls(der[16:])

    def to_pem(self) -> bytes:
        """The key as PKCS#8 PEM. This is the secret itself: write it to a 0600 file only."""
        return _to_pem("PRIVATE KEY", _PKCS8_PREFIX + bytes(self._key))

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `data`."""
        return bytes(self._key.sign(data).signature)


def load_signing_key(spec: str, *, root: Path) -> SigningKey:
    """Load the key that a setting names.

    Args:
        spec: a path (absolute, `~`, or relative to `root`) or a URI; never the key itself.
        root: folder that a relative path starts from, usually pytest's rootdir.

    Raises:
        KeyFileError: no such file, wrong content, or a key service that this version does not have.
    """
    if "-----BEGIN" in spec or "\n" in spec:
        raise KeyFileError(
            "The signing key setting holds a key; it must name a file, never the key itself: servers and "
            "agents inherit environments. Put the key into a 0600 file and name that. Consider this key leaked."
        )
    scheme = spec.split(":", 1)[0]
    if ":" in spec and scheme in _KEY_SERVICES:
        raise KeyFileError(
            f"Signing keys from `{scheme}:` are not available in this version. Name a PEM file "
            "(`mcp-governance keygen` makes one), or leave the key away and countersign later."
        )
    path = _resolve(spec.removeprefix("file://"), root)
    try:
        return SigningKey.from_pem(read_key_file(path))
    except KeyFileError as error:
        raise KeyFileError(f"Signing key file {path.name!r}: {error}") from None


def read_key_file(path: Path) -> bytes:
    """Read a small key file.

    Raises:
        KeyFileError: missing, a folder, unreadable or far too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileError("no such file. Check the path; `mcp-governance keygen` makes a key.") from None
    except IsADirectoryError:
        raise KeyFileError("is a folder; name the PEM file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise KeyFileError(f"cannot be read ({reason}).") from None
    if len(data) > _MAX_KEY_FILE_BYTES:
        raise KeyFileError("is larger than any key file; check the path.")
    return data


def _resolve(spec: str, root: Path) -> Path:
    try:
        return root / Path(spec).expanduser()
    except RuntimeError:
        raise KeyFileError("Signing key file: `~` has no home folder here; give the full path.") from None


def _to_pem(label: str, der: bytes) -> bytes:
    body = base64.b64encode(der).decode("ascii")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii")


def _read_pem(data: bytes, expected: str) -> tuple[str, bytes]:
    blocks = _PEM.findall(data)
    if len(blocks) != 1:
        seen = f"{len(blocks)} PEM blocks" if data.strip() else "an empty file"
        raise KeyFileError(f"Saw {seen}; expected {expected}.")
    label, body = blocks[0]
    try:
        return label.decode("ascii"), binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        raise KeyFileError(f"The PEM block is damaged; expected {expected}.") from None
