"""The options, their ini twins and the one environment variable, read into frozen settings.

Keeps no key and no policy: a setting that cannot be used is a pytest.UsageError before any test runs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pytest

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin.approved import DEFAULT_APPROVED, Approved, read_named
from pytest_mcp_governance.plugin.gating import Gating, read_gating, told_by_controller
from pytest_mcp_governance.plugin.given import CHALLENGE_VARIABLE, Given, option_name, setting

if TYPE_CHECKING:
    from pytest_mcp_governance.plugin.gate import Gate

Mode = Literal["enforce", "observe"]
ReportProfile = Literal["ticket", "full"]

KEY_VARIABLE = "MCP_GOVERNANCE_SIGNING_KEY"
ATTEMPT_VARIABLE = "MCP_GOVERNANCE_ATTEMPT"
DEFAULT_POLICY = "governance.policy.yaml"
DEFAULT_SERVERS = "mcp.json"
DEFAULT_REPORT = "governance-report.html"
MAX_KEEP_DAYS = 36_500
MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 64 << 10, 1 << 30
_POWERS = {"KiB": 10, "MiB": 20, "GiB": 30}

_CHOICES = {
    "mode": ("enforce", "observe"),
    "report": ("ticket", "full"),
    "gate": ("any", "reached", "off"),
    "github": ("auto", "off"),
}
_HELP = {
    "policy": f"policy file (default: {DEFAULT_POLICY} at rootdir; none: NOT JUDGED)",
    "mode": "enforce blocks a denied call and fails its test, whatever the policy says; observe asks that every "
    "policy of the run merely observes, and is an error where one enforces (default: what the policy says)",
    "servers": f"MCP servers in the mcpServers format (default: {DEFAULT_SERVERS} at rootdir)",
    "signing_key": f"file or URI of the key that signs the evidence, never the key itself (also {KEY_VARIABLE})",
    "report": "ticket withholds secret and personal values from the report, full shows them (default: ticket)",
    "report_path": f"where the report goes (default: {DEFAULT_REPORT} at rootdir)",
    "gate": "which unexpected findings fail their test and the run: any; reached, which lets blocked ones pass; off. "
    "The evidence is the same (default: any)",
    "shard": "which shard this run is, such as 2/4 (default: what GitLab, CircleCI or Buildkite say). It records the "
    "shard and chooses no test: choose with -k, or with a plugin such as pytest-split (--splits 4 --group 2). Paths "
    "give each shard another collection, and the union of such shards cannot be checked",
    "group": "what the shards of one pipeline share and `mcp-governance merge` holds them together by (default: the "
    "run, pipeline, workflow or build of GitHub, GitLab, CircleCI or Buildkite)",
    "approved": "approval that the run is compared with, made by `mcp-governance approve`: a file or git:REV:PATH "
    f"(default: {DEFAULT_APPROVED} at rootdir)",
    "keep_days": "how many days after its end the evidence is to be kept; the date is signed and told, and nothing is "
    "deleted by it (default: no date)",
    "max_message": "longest MCP message that is passed on; a longer one is refused, and whoever waits for it is told "
    "(default: 64MiB)",
    "github": "auto: in a GitHub job, annotate findings and append the run to the job's summary; off: neither "
    "(default: auto)",
    "floor": "policy that every audited test is judged by as well, from outside the change under test: a file, or "
    "git:REV:PATH such as git:origin/main:governance.policy.yaml",
    "baseline": "known findings, which fail neither their test nor the run until they expire: a file, or git:REV:PATH",
}
_FROM_OUTSIDE = "FILE|git:REV:PATH"
_METAVARS = {
    "keep_days": "N",
    "max_message": "SIZE",
    "shard": "N/TOTAL",
    "group": "ID",
    "floor": _FROM_OUTSIDE,
    "baseline": _FROM_OUTSIDE,
    "approved": _FROM_OUTSIDE,
}
_CHALLENGE = f"a reader's nonce, which the signed open statement repeats (also {CHALLENGE_VARIABLE}; no ini)"
_FLAGS = {"require": "fail the run where a selected test asks for no audit"}
# Compiled where they are used: this module is loaded in every run of pytest.
_KEY_BLOCK = r"-----BEGIN|PRIVATE KEY|[\r\n]"
_KEY_RUN = r"[A-Za-z0-9+/=_-]{32,}"
_URI = r"[a-z][a-z0-9+.-]+:"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for; paths are absolute. `configured` is false where nobody asked for anything."""

    policy: Path | None
    policy_from_option: bool
    mode: Mode | None
    servers: Path | None
    signing_key: str | None
    report: ReportProfile
    report_path: Path
    shard: str | None
    group: str | None
    configured: bool
    gating: Gating
    approved: Approved | None
    keep_days: int
    max_message_bytes: int
    github: Literal["auto", "off"]


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("mcp-governance", "audited MCP sessions")
    for name, text in _HELP.items():
        choices = _CHOICES.get(name)
        group.addoption(
            option_name(name),
            dest=f"mcp_governance_{name}",
            default=None,
            choices=choices,
            metavar=None if choices else _METAVARS.get(name, "PATH"),
            help=text,
        )
        parser.addini(f"mcp_governance_{name}", text, type="string", default="")
    group.addoption(
        option_name("challenge"), dest="mcp_governance_challenge", default=None, metavar="NONCE", help=_CHALLENGE
    )
    for name, text in _FLAGS.items():
        group.addoption(option_name(name), dest=f"mcp_governance_{name}", action="store_true", default=False, help=text)
        parser.addini(f"mcp_governance_{name}", text, type="bool", default=False)


def read_settings(config: pytest.Config) -> Settings:
    """Read every setting and check what can be checked without a recorder.

    Raises:
        pytest.UsageError: a value outside its choices, a file that is not there or no key, a folder that the
            report cannot be written to, a shard or group that cannot be used, or key material in place of a key's path.
    """
    given = {name: setting(config, name) for name in _HELP}
    policy, servers = (_input_file(given[name], name) for name in ("policy", "servers"))
    report_path = given["report_path"]
    gate = cast("Gate | None", _choice(given["gate"], "gate"))
    gating = told_by_controller(config) or read_gating(config, given, gate)
    shard, group = _shard(given["shard"], given["group"])
    return Settings(
        policy=policy,
        policy_from_option=given["policy"] is not None and given["policy"].from_option,
        mode=cast("Mode | None", _choice(given["mode"], "mode")),
        servers=servers,
        signing_key=_signing_key(given["signing_key"], config),
        report=cast(ReportProfile, _choice(given["report"], "report") or "ticket"),
        report_path=_output_file(report_path) if report_path else config.rootpath / DEFAULT_REPORT,
        shard=shard,
        group=group,
        configured=any(given.values()) or bool(os.environ.get(KEY_VARIABLE)) or gating != Gating(),
        gating=gating,
        approved=read_named(given["approved"], config),
        keep_days=_days(given["keep_days"]),
        max_message_bytes=_size(given["max_message"]),
        github=cast('Literal["auto", "off"]', _choice(given["github"], "github") or "auto"),
    )


def check_policy_file(path: Path) -> str:
    """Load the policy once, so that a mistake in it stops the run before any test.

    Returns the policy's name, digest and mode in one line. Raises pytest.UsageError with file and line.
    """
    from pytest_mcp_governance.policy.loader import load_policy

    try:
        policy = load_policy(path.read_text(encoding="utf-8"), name=path.name)
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"mcp-governance: policy {path} cannot be read: {_cause(error)}") from None
    return f"{policy.name} sha256:{policy.sha256[:12]} ({policy.mode})"


def _input_file(given: Given | None, name: str) -> Path | None:
    if given is None:
        return None
    if not given.path.is_file():
        raise pytest.UsageError(f"mcp-governance: {name} file {given.path} does not exist or is not a file")
    return given.path


def _output_file(given: Given) -> Path:
    path, folder = given.path, given.path.parent
    if path.is_dir():
        why = "it is a folder; name a file in it"
    elif not folder.exists():
        why = f"{folder} does not exist; make it"
    elif not folder.is_dir():
        why = f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = f"{folder} cannot be written"
    else:
        return path
    raise pytest.UsageError(f"mcp-governance: the report cannot go to {path}: {why}")


def _choice(given: Given | None, name: str) -> str | None:
    if given is None:
        return None
    if given.value not in _CHOICES[name]:
        raise pytest.UsageError(
            f"mcp-governance: mcp_governance_{name} is {given.value!r}; it must be one of {', '.join(_CHOICES[name])}"
        )
    return given.value


def _days(given: Given | None) -> int:
    if given is None:
        return 0
    if not (
        given.value.isascii()
        and given.value.isdecimal()
        and len(given.value) <= 5
        and 1 <= int(given.value) <= MAX_KEEP_DAYS
    ):
        raise pytest.UsageError(
            f"mcp-governance: mcp_governance_keep_days is {given.value!r}; it must be a number of days from 1 to "
            f"{MAX_KEEP_DAYS}"
        )
    return int(given.value)


def _size(given: Given | None) -> int:
    if given is None:
        return 64 << 20
    match = re.fullmatch(r"([1-9][0-9]{0,6})(KiB|MiB|GiB)", given.value)
    size = int(match[1]) << _POWERS[match[2]] if match else 0
    if not MIN_MESSAGE_BYTES <= size <= MAX_MESSAGE_BYTES:
        raise pytest.UsageError(
            f"mcp-governance: mcp_governance_max_message is {given.value!r}; it must be a size from 64KiB to 1GiB, "
            "such as 64MiB"
        )
    return size


def _shard(shard: Given | None, group: Given | None) -> tuple[str | None, str | None]:
    spec, named = (given.value if given is not None else None for given in (shard, group))
    if spec or named or ATTEMPT_VARIABLE in os.environ:
        from pytest_mcp_governance.plugin.shards import read_attempt, read_shard

        try:
            read_attempt(os.environ)
            read_shard(spec, named, os.environ)
        except GovernanceError as error:
            raise pytest.UsageError(f"mcp-governance: {error}") from None
    return spec, named


def _signing_key(given: Given | None, config: pytest.Config) -> str | None:
    if given is None and os.environ.get(KEY_VARIABLE):
        given = Given(os.environ[KEY_VARIABLE], config.invocation_params.dir, False, False)
    if given is None:
        return None
    if re.search(_KEY_BLOCK, given.value):
        raise pytest.UsageError(_pasted_key())
    if re.match(_URI, given.value):
        return _usable_key(given.value, config)
    try:
        found = given.path.is_file()
    except OSError:  # a pasted key can be longer than a path may be
        found = False
    if not found:
        if re.fullmatch(_KEY_RUN, given.value):
            raise pytest.UsageError(_pasted_key())
        raise pytest.UsageError(
            f"mcp-governance: signing key file {given.path} does not exist; `mcp-governance keygen` makes one"
        )
    return _usable_key(str(given.path), config)


def _usable_key(spec: str, config: pytest.Config) -> str:
    """Load the key once and let it go, so that one that cannot sign stops the run before any test."""
    from pytest_mcp_governance.evidence.keys import load_signing_key

    try:
        load_signing_key(spec, root=config.rootpath)
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: {error}") from None
    return spec


def _pasted_key() -> str:
    return (
        "mcp-governance: the signing key setting names no file and looks like key material (not shown). "
        "Give the path or URI of the key, never the key itself: environments and command lines are "
        "visible to the servers and agents under test. Treat a key that was pasted here as disclosed."
    )


def _cause(error: OSError | UnicodeDecodeError) -> str:
    return f"not UTF-8 at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error.strerror)
