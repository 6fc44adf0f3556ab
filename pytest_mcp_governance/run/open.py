"""Opens a run: its folder, its keys, the signed open statement and the first line of a segment.

Leaves recording to `session` and closing to `close`.
"""

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError, RecorderError
from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.keys import SigningKey, load_signing_key
from pytest_mcp_governance.evidence.ledger import Segment
from pytest_mcp_governance.evidence.statements import open_statement, read_bundle, sign_bundle
from pytest_mcp_governance.session.processes import is_alive
from pytest_mcp_governance.session.settings import RecorderConfig

PRODUCER = "pytest-mcp-governance"
_GIT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is open: what closing it needs.

    Attributes:
        segment: main's segment.
        identity: the key that signs open and close.
        ephemeral: the identity key was made for this run and is kept nowhere.
        open_digest: SHA-256 (hex) of the open statement's payload.
    """

    config: RecorderConfig
    segment: Segment
    identity: SigningKey
    ephemeral: bool
    open_digest: str


def open_run(config: RecorderConfig, before: OpenRun | None = None) -> OpenRun:
    """Make the run's folder and sign that it begins.

    Args:
        config: its settings.
        before: the run of this recorder that it continues; the same key signs it.

    Raises:
        KeyFileError: the identity key cannot be loaded.
        EvidenceError: the folder cannot be written.
    """
    if before is not None:
        identity = before.identity
    else:
        signing_key = config.signing_key
        identity = load_signing_key(signing_key, root=config.rootdir) if signing_key else SigningKey.generate()
    previous = _make_folder(config)
    segment_key = SigningKey.generate()
    statement = open_statement(
        run=config.run,
        segment_key=segment_key.public,
        identity_key=identity.public,
        started_on=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        producer={"name": PRODUCER, "version": version(PRODUCER)},
        more=_circumstances(config, previous),
    )
    bundle = sign_bundle(statement, identity)
    _write(config.run_dir / names.OPEN, bundle)
    segment = _open_segment(config, segment_key, bundle)
    return OpenRun(config, segment, identity, config.signing_key is None, read_bundle(bundle).digest)


def open_worker_segment(config: RecorderConfig, key: SigningKey) -> Segment:
    """Open a worker's segment in a run that main has opened.

    Raises:
        EvidenceError: the folder cannot be written, or main has not opened the run.
    """
    try:
        bundle = (config.run_dir / names.OPEN).read_bytes()
    except OSError as error:
        raise EvidenceError(f"run {config.run} is not open: {error.strerror}") from None
    return _open_segment(config, key, bundle)


def key_text(key: SigningKey) -> str:
    """The public half as a `segment` record writes it."""
    return base64.b64encode(key.public.raw).decode()


def _open_segment(config: RecorderConfig, key: SigningKey, open_bundle: bytes) -> Segment:
    segment = Segment(config.run_dir, run=config.run, name=config.segment, key=key)
    segment.append(
        "open",
        {
            "pid": os.getpid(),
            "producer": {"name": PRODUCER, "version": version(PRODUCER)},
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "versions": dict(config.environment),
            "open_statement": hashlib.sha256(open_bundle).hexdigest(),
        },
    )
    segment.checkpoint(sync=True)
    return segment


def _make_folder(config: RecorderConfig) -> str | None:
    runs = config.run_dir.parent
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = runs.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        earlier = sorted(p for p in runs.iterdir() if p.is_dir() and names.is_name(p.name))
        config.run_dir.mkdir(mode=0o700)
        # A report of an earlier run must not pass for this one's, should this one never come to its own.
        config.report_copy.unlink(missing_ok=True)
    except OSError as error:
        raise RecorderError(
            f"the evidence folder {runs} cannot be written: {error.strerror}. "
            "Nothing can be audited without it: make the project's root folder writable."
        ) from None
    if config.keep_runs:
        for old in earlier[: max(0, len(earlier) - config.keep_runs + 1)]:
            if not _is_recording(old):
                shutil.rmtree(old, ignore_errors=True)
                for beside in (".control", ".lock"):
                    old.with_name(old.name + beside).unlink(missing_ok=True)
    return _close_digest(earlier[-1]) if earlier else None


def _is_recording(run_dir: Path) -> bool:
    """Whether the run's main recorder is alive; its control file outlives it only where it was killed."""
    try:
        address = json.loads(run_dir.with_name(f"{run_dir.name}.control").read_bytes())
        return is_alive(int(address["ok"]["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _close_digest(run_dir: Path) -> str | None:
    try:
        return read_bundle((run_dir / names.CLOSE).read_bytes()).digest
    except (OSError, EvidenceError):
        return None


def _circumstances(config: RecorderConfig, previous: str | None) -> Mapping[str, object]:
    known: dict[str, object] = dict(config.stated)
    if previous is not None and "continues" not in known:  # the run that it continues is only being closed
        known["previous"] = previous
    commit = _git(config.rootdir, "rev-parse", "HEAD")
    if commit:
        known["source"] = _source(config.rootdir, commit)
    return known


def _source(folder: Path, commit: str) -> Mapping[str, object]:
    # Untracked files count whatever the repository's settings say of showing them.
    changed = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    # Where git cannot tell, nothing is said: a tree that nobody has looked at is not a clean one.
    return {"commit": commit} if changed is None else {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, None where it fails or does not answer in time."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _write(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EvidenceError(f"{path.name} cannot be written: {error.strerror}") from None
