"""The names that evidence files and segments may have.

Leaves out reading them. Anything that matches none of these forms is no part of the evidence.
"""

import re
from typing import Literal

OPEN = "open.sigstore.json"
CLOSE = "close.sigstore.json"

Kind = Literal["open", "close", "lines", "disclosures", "blob", "statement"]

_NAME = re.compile(r"[a-z0-9-]{1,100}")
_FORMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("open", re.compile(r"open\.sigstore\.json")),
    ("close", re.compile(r"close\.sigstore\.json")),
    ("lines", re.compile(r"seg/([a-z0-9-]{1,100})\.jsonl")),
    ("disclosures", re.compile(r"seg/([a-z0-9-]{1,100})\.sd\.jsonl")),
    ("blob", re.compile(r"blob/([0-9a-f]{64})")),
    ("statement", re.compile(r"statements/([a-z0-9-]{1,100})\.sigstore\.json")),
)


def is_name(text: str) -> bool:
    """Whether `text` can be a run id or a segment name."""
    return _NAME.fullmatch(text) is not None


def lines_path(segment: str) -> str:
    return f"seg/{segment}.jsonl"


def disclosures_path(segment: str) -> str:
    return f"seg/{segment}.sd.jsonl"


def blob_path(digest: str) -> str:
    return f"blob/{digest}"


def statement_path(name: str) -> str:
    return f"statements/{name}.sigstore.json"


def classify(path: str) -> tuple[Kind, str] | None:
    """What a path is, and the segment or digest in it; None where it is no evidence."""
    for kind, form in _FORMS:
        match = form.fullmatch(path)
        if match is not None:
            return kind, match[1] if form.groups else ""
    return None
