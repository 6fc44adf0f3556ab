"""The names that evidence files and segments may have.

Leaves out reading them. Anything that matches none of these forms is no part of the evidence.
"""

import re
from typing import Literal

OPEN = "open.sigstore.json"
CLOSE = "close.sigstore.json"
GROUP = "group.sigstore.json"

Kind = Literal["open", "close", "lines", "disclosures", "blob", "statement"]

_NAME = re.compile(r"[a-z0-9-]{1,100}")
_NESTED = re.compile(r"runs/([a-z0-9-]{1,100})/(.+)")
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


def in_run(run: str, path: str) -> str:
    """Where a run's path lies in the file of a group."""
    return f"runs/{run}/{path}"


def nested(path: str) -> tuple[str, str] | None:
    """The run and its own path that a path in the file of a group names; None for any other."""
    match = _NESTED.fullmatch(path)
    return (match[1], match[2]) if match is not None and classify(match[2]) is not None else None


def is_item(path: str) -> bool:
    """Whether a single file may hold this path: a run's own, a group's statement, or a run's in a group."""
    return path == GROUP or classify(path) is not None or nested(path) is not None


def is_listed(path: str) -> bool:
    """Whether the item list covers this path; not what is signed over it, or later."""
    return path not in (CLOSE, GROUP) and not path.startswith("statements/")


def classify(path: str) -> tuple[Kind, str] | None:
    """What a path of a run is, and the segment or digest in it; None where it is no evidence."""
    for kind, form in _FORMS:
        match = form.fullmatch(path)
        if match is not None:
            return kind, match[1] if form.groups else ""
    return None
