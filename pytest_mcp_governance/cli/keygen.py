"""`mcp-governance keygen`: make the identity key that signs runs. Overwrites nothing, shows no secret."""

import os
from pathlib import Path

import click

from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.safe_text import safe

_PRIVATE, _PUBLIC = "signing.pem", "signing.pub.pem"
_NEXT = """\
Next
  1. Sign your runs:    pytest --mcp-governance-signing-key={private}
  2. Verify a report:   mcp-governance verify governance-report.html --trust {public}
  3. Publish the fingerprint where readers of your reports look already, such as your security team's page.

Keep {private_name} out of version control and away from agents and servers under test: any code that
runs as the same user can read it."""


@click.command(name="keygen")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=True),
    default=Path(),
    show_default="the current folder",
    help="Folder to write both files to; made where missing.",
)
def command(folder: Path) -> None:
    """Make an Ed25519 key pair for signing runs.

    Writes signing.pem (private, mode 0600) and signing.pub.pem, and prints the fingerprint by which
    readers know you. Existing files are never overwritten.
    """
    # Both are told in full: a key whose folder is not known is a key that gets lost, or committed.
    private, public = folder.absolute() / _PRIVATE, folder.absolute() / _PUBLIC
    key = SigningKey.generate()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (private, public):
            if os.path.lexists(path):
                raise FileExistsError(17, "exists already", str(path))
        _write_new(private, key.to_pem(), 0o600)
        _write_new(public, key.public.spki_pem, 0o644)
    except FileExistsError as error:
        seen = safe(str(error.filename or folder))
        raise _RefusedError(f"{seen} exists already and is not overwritten. Name another folder with --out.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise _RefusedError(
            f"No key was written to {safe(str(folder))}: {reason}. Name another folder with --out."
        ) from None
    shown = {"private": safe(str(private)), "public": safe(str(public)), "private_name": _PRIVATE}
    click.echo(f"Wrote {shown['private']} (private, mode 0600) and {shown['public']} (public).")
    click.echo(f"\nFingerprint  {key.public.fingerprint}\n")
    click.echo(_NEXT.format(**shown))
    tree = next((parent for parent in private.resolve().parents if os.path.lexists(parent / ".git")), None)
    if tree is not None:
        inside = safe(str(private.resolve().relative_to(tree)))
        click.echo(
            f"\nWarning: {shown['private']} lies in the git work tree {safe(str(tree))}. Move it out, or add {inside} "
            "to its .gitignore, before you commit."
        )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


class _RefusedError(click.ClickException):
    exit_code = 2
