"""Which identity keys a reader trusts: a PEM, a fingerprint, or a `trust.json` with validity dates.

Leaves out OIDC identities. A key found inside the evidence is never trusted for being there.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pytest_mcp_governance.errors import KeyFileError
from pytest_mcp_governance.evidence import strict_json
from pytest_mcp_governance.evidence.keys import PublicKey, read_key_file
from pytest_mcp_governance.evidence.safe_text import safe

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_EXPECTED = "Expected a PEM file with a public key, `SHA256:<43 characters>`, or a trust.json."
_MAX_SHOWN = 80
_ENTRY_KEYS = frozenset({"fingerprint", "pem", "name", "not_before", "not_after"})


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key, by its fingerprint, and when it may have signed (UTC; None is without bound)."""

    fingerprint: str
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys of one `--trust`."""

    keys: tuple[TrustedKey, ...]

    def refuses(self, key: PublicKey, at: datetime | None) -> str | None:
        """Why a key is not trusted for a signature claimed to be made `at`; None where it is trusted."""
        reason = "the key is not among the trusted ones"
        for known in self.keys:
            if known.fingerprint != key.fingerprint:
                continue
            if known.not_before is None and known.not_after is None:
                return None
            if at is None:
                reason = "the key is trusted for some time only, and the run does not say when it was signed"
            elif known.not_before is not None and at < known.not_before:
                reason = "the run is from before the key is trusted"
            elif known.not_after is not None and at > known.not_after:
                reason = "the run is from after the key ceased to be trusted"
            else:
                return None
        return reason


def load_trust(spec: str | PublicKey | Trust) -> Trust:
    """Load what `--trust` names.

    Args:
        spec: path of a PEM or of a trust.json, a `SHA256:` fingerprint, or a loaded key.

    Raises:
        KeyFileError: none of these; the message says what was seen.
    """
    if isinstance(spec, Trust):
        return spec
    if isinstance(spec, PublicKey):
        return Trust((TrustedKey(spec.fingerprint),))
    if spec.startswith("SHA256:"):
        return Trust((TrustedKey(_fingerprint(spec.rstrip("="))),))
    if not spec.strip():
        raise KeyFileError(f"Trust is empty. {_EXPECTED}")
    path = Path(spec)
    try:
        data = read_key_file(path)
        if data.lstrip().startswith(b"{"):
            return _from_json(data)
        return Trust((TrustedKey(PublicKey.from_pem(data).fingerprint),))
    except KeyFileError as error:
        raise KeyFileError(f"Trust {path.name!r}: {error}") from None


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time with its offset, or a date (midnight UTC); None for anything else."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None:
            return None
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _fingerprint(text: object) -> str:
    if not isinstance(text, str) or _FINGERPRINT.fullmatch(text) is None:
        seen = safe(text, _MAX_SHOWN) if isinstance(text, str) else type(text).__name__
        raise KeyFileError(f"A fingerprint is `SHA256:` and 43 base64 characters; saw '{seen}'.")
    return text


def _from_json(data: bytes) -> Trust:
    try:
        document = strict_json.loads_object(data)
    except strict_json.StrictJsonError as error:
        raise KeyFileError(f"not a trust.json ({error}).") from None
    entries = document.get("keys")
    if document.get("v") != 1 or not isinstance(entries, list) or not entries:
        raise KeyFileError('not a trust.json; expected {"v": 1, "keys": [{"fingerprint": "SHA256:…"}]}.')
    return Trust(tuple(_entry(entry, number) for number, entry in enumerate(entries, 1)))


def _entry(entry: object, number: int) -> TrustedKey:
    if not isinstance(entry, dict) or not entry.keys() <= _ENTRY_KEYS:
        raise KeyFileError(f"key {number} may have only {', '.join(sorted(_ENTRY_KEYS))}.")
    if ("pem" in entry) == ("fingerprint" in entry):
        raise KeyFileError(f"key {number} needs either `fingerprint` or `pem`.")
    fingerprint = (
        PublicKey.from_pem(str(entry["pem"]).encode()).fingerprint
        if "pem" in entry
        else _fingerprint(entry["fingerprint"])
    )
    bounds = [_bound(entry, name, number) for name in ("not_before", "not_after")]
    return TrustedKey(fingerprint, *bounds)


def _bound(entry: dict[str, object], name: str, number: int) -> datetime | None:
    if name not in entry:
        return None
    bound = parse_time(entry[name])
    if bound is None:  # an unreadable bound must not mean "no bound"
        raise KeyFileError(f"key {number}: `{name}` is no RFC 3339 date or time.")
    return bound
