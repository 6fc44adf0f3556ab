"""What pytest's rootdir hides: a path on the command line moves it away from where pytest was started."""

from __future__ import annotations

from pathlib import Path


def hidden(name: str, rootdir: Path, started: Path) -> str:
    """Where a file lies that pytest does not look at, and how to have it looked at; empty where there is none.

    Args:
        name: of a file that is looked for at rootdir, and is not there.
        rootdir: pytest's.
        started: the folder where pytest was started.
    """
    if started == rootdir or not (started / name).is_file():
        return ""
    return (
        f"{name} lies in {started}, where pytest was started, but pytest's rootdir became {rootdir}: a path on the "
        f"command line does that. Write --option=PATH in place of --option PATH, or put a pytest.ini into {started}"
    )
