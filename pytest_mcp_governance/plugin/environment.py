"""Which values of the test run's environment look secret, so that the recorder can withhold them from the report.

Only values leave this module, in memory, for the recorder's ears; nothing is logged or written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_MIN_LENGTH = 6  # shorter values match by chance all over a report
# AUTH and KEY only as a word or its end: GIT_AUTHOR_NAME and KEYBOARD are no secrets.
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|COOKIE|(?:KEY|AUTH)S?(?:_|$)", re.IGNORECASE)
_NAMES_A_KEY = frozenset({"MCP_GOVERNANCE_SIGNING_KEY"})


def secret_values(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of at least 6 characters of variables whose name looks secret, except paths that exist."""
    found = {
        value
        for name, value in environ.items()
        if _SECRET_NAME.search(name) and name not in _NAMES_A_KEY and len(value) >= _MIN_LENGTH
    }
    return tuple(sorted(value for value in found if not _is_path(value)))


def _is_path(value: str) -> bool:
    return value.startswith("/") and os.path.exists(value)
