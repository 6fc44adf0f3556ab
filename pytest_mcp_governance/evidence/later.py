"""Later statements: what somebody signs over a finished run, beside it in `statements/`. Each kind is one row of KINDS.

Another kind needs its row here and the command that makes it. Leaves out who is trusted (see `verify`).
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import names, statements
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.trust import parse_time

CLOSE_SUBJECT = "close"
_NAME = re.compile(r"([a-z]+)-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of later statement.

    Args:
        name: the first part of its file's name.
        predicate_type: as in-toto names it.
        vouches: whether a reader who trusts its signer trusts the run.
    """

    name: str
    predicate_type: str
    vouches: bool


COUNTERSIGN = Kind("countersign", "https://pytest-mcp-governance.dev/countersign/v1", vouches=True)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (COUNTERSIGN,)}


@dataclass(frozen=True, slots=True)
class Later:
    """A later statement whose form, signature and subject were checked.

    Args:
        kind: its row of KINDS.
        signer: the key that signed it.
        signed_on: RFC 3339, as its signer states.
        digest: SHA-256 (hex) of its payload.
        predicate: what it says beside that.
    """

    kind: Kind
    signer: PublicKey
    signed_on: str
    digest: str
    predicate: Mapping[str, object]


class LaterError(EvidenceError):
    """A later statement that cannot be used, and what that makes of the run."""

    def __init__(self, outcome: Outcome, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.outcome = outcome


class LaterStatements:
    """The later statements of one run or group, fed one by one.

    Args:
        digest: close digest of the run (group digest of a group); None where it was not closed.
    """

    def __init__(self, digest: str | None) -> None:
        self.found: list[Later] = []
        self._digest = digest
        self._signers: set[tuple[str, str]] = set()

    def add(self, path: str, data: bytes) -> None:
        """Check one statement and keep it.

        Raises:
            LaterError: MALFORMED for an unknown kind or form, or the same signer twice; TAMPERED for a wrong
                signature, or one over another run.
        """
        read = _read(path, data, self._digest)
        signer = (read.kind.name, read.signer.fingerprint)
        if signer in self._signers:
            raise LaterError(Outcome.MALFORMED, path, f"a second {read.kind.name} statement by the same key")
        self._signers.add(signer)
        self.found.append(read)


def sign_later(
    kind: Kind,
    key: SigningKey,
    *,
    digest: str,
    run: str,
    signed_on: str,
    producer: Mapping[str, object],
    more: Mapping[str, object] | None = None,
) -> tuple[str, bytes]:
    """Sign a later statement.

    Args:
        kind: a row of KINDS.
        key: who signs.
        digest: close digest of the run that it is about (group digest of a group).
        run: run id, or the group's, for people.
        signed_on: RFC 3339 UTC.
        producer: name and version of the program.
        more: what this kind says beside that.

    Returns:
        The statement's path, and its bundle.
    """
    statement = {
        "_type": statements.STATEMENT_TYPE,
        "subject": [{"name": f"{run}/{CLOSE_SUBJECT}", "digest": {"sha256": digest}}],
        "predicateType": kind.predicate_type,
        "predicate": {
            "identityKey": base64.b64encode(key.public.raw).decode("ascii"),
            "signedOn": signed_on,
            "producer": dict(producer),
            **(more or {}),
        },
    }
    bundle = statements.sign_bundle(statement, key)
    return _path(kind, statements.read_bundle(bundle).digest), bundle


def _path(kind: Kind, digest: str) -> str:
    """Named after its content, so that the same statement cannot stand there twice."""
    return names.statement_path(f"{kind.name}-{digest[:16]}")


def _read(path: str, data: bytes, digest: str | None) -> Later:
    classified = names.classify(path)
    named = _NAME.fullmatch(classified[1] if classified is not None and classified[0] == "statement" else "")
    kind = KINDS.get(named[1]) if named is not None else None
    if kind is None:
        known = ", ".join(KINDS)
        raise LaterError(Outcome.MALFORMED, path, f"no later statement that this version knows; known: {known}")
    try:
        bundle = statements.read_bundle(data)
    except EvidenceError as error:
        raise LaterError(Outcome.MALFORMED, path, str(error)) from None
    signer = statements.read_key(bundle.predicate.get("identityKey"))
    signed_on = bundle.predicate.get("signedOn")
    if signer is None or not isinstance(signed_on, str) or parse_time(signed_on) is None:
        raise LaterError(Outcome.MALFORMED, path, "it lacks a proper identity key or signing time")
    if not bundle.signed_by(signer):
        raise LaterError(Outcome.TAMPERED, path, "its signature is wrong")
    kind_of = (bundle.payload.get("_type"), bundle.payload.get("predicateType"))
    if kind_of != (statements.STATEMENT_TYPE, kind.predicate_type):
        raise LaterError(Outcome.MALFORMED, path, f"it is no {kind.name} statement of format version 1")
    if path != _path(kind, bundle.digest):
        raise LaterError(Outcome.MALFORMED, path, "it is not named after its content")
    _check_subject(path, bundle.payload.get("subject"), digest)
    return Later(kind, signer, signed_on, bundle.digest, bundle.predicate)


def _check_subject(path: str, subject: object, digest: str | None) -> None:
    if digest is None:
        raise LaterError(Outcome.TAMPERED, path, "the close statement that it was made over is missing")
    only = subject[0] if isinstance(subject, list) and len(subject) == 1 else None
    if not isinstance(only, dict) or only.get("digest") != {"sha256": digest}:
        raise LaterError(Outcome.TAMPERED, path, "it was made over another close statement than the one here")
