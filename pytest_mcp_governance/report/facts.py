"""What no ledger record says: what the closing run knows about itself, and what a check of its file came to.

Values only; nothing is read, counted or judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_mcp_governance.evidence.outcome import ShardReport

from .since import Since

Profile = Literal["ticket", "full"]
Status = Literal["complete", "partial", "recovered"]
FULL_BANNER = b"<b>Full report.</b>"  # how a page says that nothing is withheld from it


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of one run, given to :func:`render` beside its evidence.

    Args:
        run: run id.
        open_digest: hex SHA-256 of the open statement's payload.
        fingerprint: `SHA256:` fingerprint of the identity key that signs the run.
        key_is_ephemeral: the key was made for this run and is kept nowhere.
        profile: `ticket` withholds labelled values and the screens that show them; `full` keeps all.
        status: `complete`, `partial` or `recovered`, as the close statement will say.
        finished_on: RFC 3339 UTC.
        segments: (name, number of lines, hex Merkle root) of each closed segment, `main` first.
        omitted_screens: pictures left out because of their size.
        environment: where it ran, one plain string each ("Linux x86-64", "Python 3.13.1", "CI job 48213").
        versions: (component, version) pairs.
        verify_command: the command line that checks the file, `SHA256:…` standing for the fingerprint.
        judged: a policy decided on the calls.
        status_reasons: why the status is not `complete`, one plain sentence each.
        kind: what `run` is the id of; a group was not opened, so its `open_digest` is empty.
        since: how the run differs from the approved one; None where there is none.
        keep_until: date up to which the evidence is to be kept, as the close statement will say, or "".
        approved_problem: why the approval that is there could not be used, or "".
    """

    run: str
    open_digest: str
    fingerprint: str
    key_is_ephemeral: bool
    profile: Profile
    status: Status
    finished_on: str
    segments: tuple[tuple[str, int, str], ...]
    omitted_screens: int = 0
    environment: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    verify_command: str = "mcp-governance verify governance-report.html --trust SHA256:…"
    judged: bool = True
    status_reasons: tuple[str, ...] = ()
    kind: Literal["Run", "Group"] = "Run"
    since: Since | None = None
    approved_problem: str = ""
    keep_until: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a run's file beside its records, for texts that are shown elsewhere.

    Args:
        file: name of the report or run folder, as a reader would give it to `verify`.
        run: run id, or the id of a group.
        kind: which of them.
        shards: the runs of a group.
        since: how it differs from the approved run; None where it was compared with none.
        status: of the close statement; empty where the run was not closed.
        outcome: what the verifier said ("VERIFIED"); empty where nobody has verified it yet.
        meaning: the outcome in a few words.
        problems: what the verifier named, one line each.
        signer: `SHA256:` fingerprint of the key that signed.
        open_digest: hex SHA-256 of the open statement's payload.
        close_digest: the same of the close statement; empty where there is none.
        commit: of the sources under test, as the open statement names it; empty where it names none.
        dirty: there were changes beside that commit.
        started_on: RFC 3339, as the run claims.
        finished_on: RFC 3339, as the run claims; empty where it was not closed.
    """

    file: str
    run: str
    status: str
    outcome: str = ""
    meaning: str = ""
    problems: tuple[str, ...] = ()
    signer: str = ""
    open_digest: str = ""
    close_digest: str = ""
    commit: str = ""
    dirty: bool = False
    started_on: str = ""
    finished_on: str = ""
    kind: Literal["Run", "Group"] = "Run"
    shards: tuple[ShardReport, ...] = ()
    since: Since | None = None
