"""What the report that people attach leaves out: values labelled secret or personal, and screens that may show them.

Chooses disclosures and blobs to drop; dropping them is `FilteredSource`'s, and ledger and roots stay as signed.
The run folder keeps everything.
"""

import base64
import contextlib
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from urllib.parse import unquote

from pytest_mcp_governance.evidence import disclosures
from pytest_mcp_governance.evidence.reader import EvidenceReader, Record, Withheld

SENSITIVE = frozenset({"secret", "pii"})
SCREEN_BUDGET_BYTES = 25 * 1024 * 1024

_MIN_SEARCHED = 4
_MIN_NORMALISED = 8
_MIN_LINE = 12
_MIN_ENCODED = 6
_END = 16
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_MAX_DEPTH = 6
_FEW_WORDS = 64

Detector = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Withholding:
    """What is left out of the report.

    Attributes:
        disclosures: `$sd` digests of withheld values, screens' included.
        omitted: blobs left out because of their size: ref, sha256, reason, as the close statement lists them.
    """

    disclosures: frozenset[str] = frozenset()
    omitted: tuple[dict[str, str], ...] = ()

    @property
    def omitted_blobs(self) -> frozenset[str]:
        """SHA-256 (hex) of the omitted blobs."""
        return frozenset(entry["sha256"] for entry in self.omitted)


def withhold(reader: EvidenceReader, *, secrets: Set[str], detects_secret: Detector, full: bool) -> Withholding:
    """Choose what the report leaves out.

    Args:
        reader: the whole run.
        secrets: values known to be secret, such as those of the test run's environment.
        detects_secret: says whether a text holds a secret that nobody labelled.
        full: keep everything but what the size budget forbids; somebody asked for it.
    """
    records = list(reader.records())
    if full:
        return Withholding(omitted=_over_budget(reader, records, frozenset()))
    labelled, values = _labelled(reader, records)
    pictures = _pictures(reader, records)
    search = _Search(values | set(secrets))
    quoted = _Search(values | set(secrets) | {part for value in values for part in _ends(value)})
    whole = _labelled_messages(records)
    found = {
        digest
        for record in records
        for digest, value in _committed(record)
        if digest not in labelled
        and (
            (record["type"] == "msg" and ref_of(record) in whole)
            # pytest shortens what it quotes.
            or _shows(reader.reveal(value), quoted if record["type"] == "test" else search, detects_secret)
        )
    }
    dropped = frozenset(labelled | found | pictures)
    return Withholding(dropped, _over_budget(reader, records, dropped))


def _labelled(reader: EvidenceReader, records: Iterable[Record]) -> tuple[set[str], set[str]]:
    """Commitments of the labelled fields themselves, and their values."""
    digests: set[str] = set()
    values: set[str] = set()
    for record in records:
        if record["type"] != "access" or record.get("class") not in SENSITIVE:
            continue
        for digest, value in _committed({"fields": record.get("fields")}):
            digests.add(digest)
            shown = reader.reveal(value)
            if not isinstance(shown, Withheld):
                values |= {shown} if isinstance(shown, str) else set(_texts(shown))
    # A line of a labelled text is as personal as the text, and is what an error message quotes.
    lines = {line.strip() for value in values for line in value.splitlines()}
    return digests, values | {line for line in lines if len(line) >= _MIN_LINE}


def _labelled_messages(records: Iterable[Record]) -> set[str]:
    """Messages that a declared place or path labels: all they carry goes, not only what was taken for a value."""
    return {
        str(record.get("ref"))
        for record in records
        if record["type"] == "access" and record.get("class") in SENSITIVE and record.get("how") != "detected"
    }


def _ends(value: str) -> tuple[str, ...]:
    return (value[:_END], value[-_END:]) if len(value) > 2 * _END else ()


def _pictures(reader: EvidenceReader, records: list[Record]) -> set[str]:
    """Unmasked pictures bound to a call with a labelled access, and every other picture of the same page."""
    about = {ref_of(r): r.get("ref") for r in records if r["type"] == "msg"}
    calls = {a for r in records if r["type"] == "access" and r.get("class") in SENSITIVE for a in _both(r, about)}
    pictures = [r for r in records if r["type"] == "blob" and not r.get("masked") and not r.get("failed")]
    bound = [r for r in pictures if r.get("ref") in calls or about.get(str(r.get("ref"))) in calls]
    shown = {key for r in bound for key in _same_page(reader, r)}
    hidden = [r for r in pictures if r in bound or not shown.isdisjoint(_same_page(reader, r))]
    return {d for r in hidden for d, _ in _committed({k: r.get(k) for k in ("sha256", "url", "title")})}


def _both(record: Record, about: dict[str, object]) -> set[object]:
    """The message that an access was found in, and the request that it answers."""
    return {record.get("ref"), about.get(str(record.get("ref")))} - {None}


def _same_page(reader: EvidenceReader, record: Record) -> set[tuple[str, str]]:
    keys = {("blob", str(reader.reveal(record.get("sha256"))))}
    url = reader.reveal(record.get("url"))
    if isinstance(url, str) and url:
        keys.add(("url", url))
    return keys


def _shows(value: object, search: "_Search", detects_secret: Detector) -> bool:
    return any(search.finds(text) or detects_secret(text) for text in _texts(value))


class _Search:
    """Looks for any of the values in a text, also where the text spaces or capitalises them differently."""

    def __init__(self, values: Set[str]) -> None:
        self._short = frozenset(v for v in values if 0 < len(v) < _MIN_SEARCHED)
        self._exact = Literals({form for v in values if len(v) >= _MIN_SEARCHED for form in (v, *_encoded(v))})
        self._plain = Literals({n for v in values if len(n := _normalise(v)) >= _MIN_NORMALISED})

    def finds(self, text: str) -> bool:
        if text in self._short or self._exact.inside(text):
            return True
        return bool(self._plain) and self._plain.inside(_normalise(text))


class Literals:
    """Words to look for in texts: by a regular expression where they are few, else by how they begin.

    An expression tries all of its alternatives at every character, which a session with thousands of labelled values
    would wait for for hours; the time of the other way does not depend on how many words there are.
    """

    def __init__(self, words: Set[str]) -> None:
        self._words = words
        self._head = min(map(len, words), default=0)
        self._few: re.Pattern[str] | None = None
        self._lengths: dict[str, set[int]] = {}
        if 0 < len(words) <= _FEW_WORDS:
            self._few = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
            return
        for word in words:
            self._lengths.setdefault(word[: self._head], set()).add(len(word))

    def __bool__(self) -> bool:
        return bool(self._words)

    def inside(self, text: str) -> bool:
        """Whether a text has any of the words in it."""
        if self._few is not None:
            return self._few.search(text) is not None
        head, lengths, words = self._head, self._lengths, self._words
        if not words:
            return False
        for at in range(len(text) - head + 1):
            found = lengths.get(text[at : at + head])
            if found is not None and any(text[at : at + length] in words for length in found):
                return True
        return False


def _normalise(text: str) -> str:
    return _NOT_ALPHANUMERIC.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _encoded(value: str) -> Iterator[str]:
    """The ways in which programs write a text into another one: JSON, HTML, Python, hex, base64 at any alignment."""
    if len(value) < _MIN_ENCODED:
        return
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield html.escape(value)
    yield value.encode("unicode_escape").decode("ascii")
    data = value.encode("utf-8", "surrogatepass")
    yield data.hex()
    yield data.hex().upper()
    for shift in range(3):
        # The characters at either end also hold bits of the neighbours.
        text = base64.b64encode(bytes(shift) + data).decode("ascii")
        core = text[(0, 2, 3)[shift] :].rstrip("=")
        core = core[: len(core) - (0 if (shift + len(data)) % 3 == 0 else 1)]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _texts(value: object, depth: int = 0) -> Iterator[str]:
    """Every text in a value, and in the JSON and the URL escapes that a text may be."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item, depth)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, depth)
    elif isinstance(value, str):
        yield value
        if depth < _MAX_DEPTH:
            yield from _unpacked(value, depth)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _unpacked(text: str, depth: int) -> Iterator[str]:
    if text[:1] in ("{", "[", '"'):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _texts(json.loads(text), depth + 1)
    if "%" in text and (decoded := unquote(text)) != text:
        yield from _texts(decoded, depth + 1)


def _committed(value: object) -> Iterator[tuple[str, object]]:
    """Every commitment in a record, with its digest."""
    digest = disclosures.commitment(value)
    if digest is not None:
        yield digest, value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _committed(item)
    elif isinstance(value, list):
        for item in value:
            yield from _committed(item)


def ref_of(record: Record) -> str:
    """The ref by which other records name this one."""
    return f"{record['seg']}/{record['seq']}"


def _over_budget(reader: EvidenceReader, records: list[Record], dropped: frozenset[str]) -> tuple[dict[str, str], ...]:
    """Pictures past the size budget: those of allowed calls go first, those of findings last."""
    important = {ref for r in records if r["type"] == "finding" for ref in _refs(r)}
    decided = {ref_of(r): r.get("ref") for r in records if r["type"] == "decision"}
    important |= {str(decided[ref]) for ref in important if ref in decided}
    pictures = []
    for record in records:
        digest = disclosures.commitment(record.get("sha256")) if record["type"] == "blob" else None
        if digest is not None and digest not in dropped and record.get("kind") != "policy":
            blob = disclosures.blob_reference(reader.reveal(record["sha256"]))
            if blob is not None:
                pictures.append((str(record.get("ref")) not in important, ref_of(record), blob, record))
    kept: set[str] = set()
    spent = 0
    omitted: list[dict[str, str]] = []
    for _, ref, blob, record in sorted(pictures, key=lambda p: p[0]):
        size = record.get("size")
        cost = 0 if blob in kept else size if isinstance(size, int) else 0
        if spent + cost > SCREEN_BUDGET_BYTES:
            omitted.append({"ref": ref, "sha256": blob, "reason": "size budget"})
        else:
            spent += cost
            kept.add(blob)
    return tuple(entry for entry in omitted if entry["sha256"] not in kept)


def _refs(record: Record) -> list[str]:
    refs = record.get("refs")
    return [str(r) for r in refs] if isinstance(refs, list) else []
