"""The signed statements of a run, open and close: in-toto Statement v1 in DSSE in a Sigstore v0.3 bundle.

https://github.com/in-toto/attestation, https://github.com/secure-systems-lab/dsse,
https://github.com/sigstore/protobuf-specs. Leaves out certificates and timestamps; later statements are `later`'s.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import strict_json
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.ledger import SegmentSummary

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
OPEN_TYPE = "https://pytest-mcp-governance.dev/open/v1"
CLOSE_TYPE = "https://pytest-mcp-governance.dev/close/v1"
VIEW_SUBJECT = "view.html"
ITEMS_SUBJECT = "items"
ROOT_ALGORITHM = "rfc6962-sha256"

_BUNDLE = (
    '{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":'
    '{{"publicKey":{{"hint":"{hint}"}},"tlogEntries":[],"timestampVerificationData":{{"rfc3161Timestamps":[]}}}},'
    '"dsseEnvelope":{{"payload":"{payload}","payloadType":"application/vnd.in-toto+json",'
    '"signatures":[{{"sig":"{sig}","keyid":"{keyid}"}}]}}}}'
)
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_BUNDLE_FORM = re.compile(
    re.escape(_BUNDLE.format(hint="\1", payload="\2", sig="\3", keyid="\4"))
    .replace("\1", f"(?P<hint>{_BASE64})")
    .replace("\2", f"(?P<payload>{_BASE64})")
    .replace("\3", f"(?P<sig>{_BASE64})")
    .replace("\4", "(?P<keyid>[0-9a-f]{64})")
)


@dataclass(frozen=True, slots=True, repr=False)
class Bundle:
    """A bundle taken apart; nothing of it is checked yet.

    Args:
        payload: the statement.
        raw: the exact payload bytes, which are what is signed.
        signature: 64 bytes.
        hint: base64 SHA-256 of the signer's SPKI, as the bundle claims it.
        keyid: securesystemslib's key id, as the bundle claims it.
    """

    payload: dict[str, object]
    raw: bytes
    signature: bytes
    hint: str
    keyid: str

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the payload: the open digest or close digest of a run."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def predicate(self) -> dict[str, object]:
        """The predicate, empty where there is none."""
        predicate = self.payload.get("predicate")
        return predicate if isinstance(predicate, dict) else {}

    def signed_by(self, key: PublicKey) -> bool:
        """Whether `key` made the signature and is the one that the bundle names."""
        return (
            self.hint == key.hint
            and self.keyid == key.keyid
            and key.verify(pae(PAYLOAD_TYPE, self.raw), self.signature)
        )


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what a signature is over. Lengths count bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_bundle(statement: Mapping[str, object], key: SigningKey) -> bytes:
    """Sign a statement and return the bundle file.

    Raises:
        EvidenceError: the statement cannot be written as JSON.
    """
    try:
        payload = strict_json.dumps(statement)
    except strict_json.StrictJsonError as error:
        raise EvidenceError(f"The statement {error}.") from None
    text = _BUNDLE.format(
        hint=key.public.hint,
        keyid=key.public.keyid,
        payload=base64.b64encode(payload).decode("ascii"),
        sig=base64.b64encode(key.sign(pae(PAYLOAD_TYPE, payload))).decode("ascii"),
    )
    return text.encode("ascii")


def read_bundle(data: bytes) -> Bundle:
    """Take a bundle apart. The file must be exactly the text that `sign_bundle` writes.

    The exact form leaves no byte that a signature does not cover, without canonical JSON.

    Raises:
        EvidenceError: any other bytes, or a payload that is no strict JSON object.
    """
    try:
        match = _BUNDLE_FORM.fullmatch(data.decode("ascii"))
    except UnicodeDecodeError:
        match = None
    if match is None:
        raise EvidenceError("The statement is not a v1 bundle with one DSSE signature.")
    raw, signature = _strict_base64(match["payload"]), _strict_base64(match["sig"])
    try:
        payload = strict_json.loads_object(raw)
    except strict_json.StrictJsonError as error:
        raise EvidenceError(f"The statement's payload is broken: {error}.") from None
    return Bundle(payload, raw, signature, match["hint"], match["keyid"])


def open_statement(
    *,
    run: str,
    segment_key: PublicKey,
    identity_key: PublicKey,
    started_on: str,
    producer: Mapping[str, object],
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The statement that a run begins.

    Args:
        run: run id.
        segment_key: the key of segment main.
        identity_key: the key that signs this statement and close.
        started_on: RFC 3339 UTC.
        producer: name and version of the program.
        more: challenge, shard, previous, source, ci: whatever is known of the run.
    """
    predicate: dict[str, object] = {
        "run": run,
        "segmentKey": _key_text(segment_key),
        "identityKey": _key_text(identity_key),
        "startedOn": started_on,
        "producer": dict(producer),
        **(more or {}),
    }
    key_digest = hashlib.sha256(segment_key.spki_der).hexdigest()
    subject = {"name": f"{run}/main.spki", "digest": {"sha256": key_digest}}
    return _statement(OPEN_TYPE, [subject], predicate)


def close_statement(
    *,
    run: str,
    open_digest: str,
    status: str,
    finished_on: str,
    segments: Sequence[SegmentSummary],
    counts: Mapping[str, object],
    policies: Sequence[str],
    omitted: Sequence[Mapping[str, object]] = (),
    view_sha256: str,
    item_list_sha256: str,
    keep_until: str | None = None,
    continued_by: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The statement that a run ended, over everything in it.

    Args:
        run: run id.
        open_digest: SHA-256 (hex) of the open statement's payload.
        status: complete, partial or recovered.
        finished_on: RFC 3339 UTC.
        segments: all of them, main included.
        counts: `selection`, `tests` and `findings` as `recount.Recount.counts` gives them.
        policies: digests of the effective policies.
        omitted: blobs left out of the file: ref, sha256, reason.
        view_sha256: of the page.
        item_list_sha256: of the item list.
        keep_until: date up to which the evidence is to be kept.
        continued_by: run id and open digest of the run that took over its connections.
    """
    listed = [{"name": s.name, "key": _key_text(s.key), "lines": s.lines, "root": s.root} for s in segments]
    predicate: dict[str, object] = {
        "run": run,
        "open": open_digest,
        "status": status,
        "finishedOn": finished_on,
        "segments": listed,
        **counts,
        "policies": list(policies),
        "omitted": [dict(entry) for entry in omitted],
    }
    if keep_until is not None:
        predicate["keep_until"] = keep_until
    if continued_by is not None:
        predicate["continuedBy"] = dict(continued_by)
    subjects: list[dict[str, object]] = [
        {"name": VIEW_SUBJECT, "digest": {"sha256": view_sha256}},
        {"name": ITEMS_SUBJECT, "digest": {"sha256": item_list_sha256}},
    ]
    for s in segments:
        subjects.append({"name": f"seg/{s.name}.jsonl", "digest": {ROOT_ALGORITHM: s.root}})
    return _statement(CLOSE_TYPE, subjects, predicate)


def read_key(text: object) -> PublicKey | None:
    """A public key as statements and `segment` records write it; None for anything else."""
    if not isinstance(text, str) or re.fullmatch(r"[A-Za-z0-9+/]{43}=", text) is None:
        return None
    key = PublicKey(base64.b64decode(text))
    return key if _key_text(key) == text else None


def _key_text(key: PublicKey) -> str:
    return base64.b64encode(key.raw).decode("ascii")


def _statement(kind: str, subject: Sequence[object], predicate: Mapping[str, object]) -> dict[str, object]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": list(subject),
        "predicateType": kind,
        "predicate": dict(predicate),
    }


def _strict_base64(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode("ascii") != text:
        raise EvidenceError("The statement is not strict base64.")
    return data
