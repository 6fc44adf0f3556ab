"""Credentials that stand in a server's definition: found, and replaced by the name of a variable.

By the variable's name, by the option before them and by their form. A value leaves this module only where it looks
like none; the form of a vendor's token is the policy's business (`policy.detectors`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from pytest_mcp_governance.policy.detectors import builtin_secrets

# AUTH, KEY, PASS, PAT and DSN only as a word or its end: AUTHOR, KEYBOARD, PATH and COMPASS_URL are no credentials.
_SECRET_NAME = re.compile(
    r"TOKEN(?!S|IZ)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|COOKIE|API_?KEY"
    r"|(?:^|_)(?:PASS|PAT|PWD|DSN|BEARER|AUTHORIZATION)(?:_|$)|(?:KEY|AUTH)S?(?:_|$)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"|true|false|[0-9]{1,5}|\.{0,2}/[^:@]*|~/[^:@]*", re.IGNORECASE)
_ONLY_VARIABLES = re.compile(r"(?:[A-Za-z]+ )?(?:\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\})+")
_OPTION = re.compile(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", re.DOTALL)
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): ?(.+)", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_QUERY_SECRET = re.compile(r"[?&;](?:[a-z_-]*(?:key|token|secret|password|auth|sig))=[^&\s]", re.IGNORECASE)


def variable_name(text: str) -> str:
    """A name that an environment variable may have, from any text: `api-key` becomes API_KEY."""
    name = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
    return name if name and not name[0].isdigit() else f"MCP_{name}".rstrip("_")


def replace_in_env(name: str, value: str) -> str | None:
    """What stands in the place of a variable's value: `${NAME}` if the value is a credential, None if it is not."""
    secret = (is_secret_name(name) and not _HARMLESS.fullmatch(value)) or _has_secret_form(value)
    return f"${{{variable_name(name)}}}" if secret and not _ONLY_VARIABLES.fullmatch(value) else None


def replace_in_args(server: str, args: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Arguments without credentials, and the variables that stand for them now.

    Taken for one: what follows `--token` and the like, with `=` or as the next argument; a URL with a password; a
    header with a secret name; anything in the form of a vendor's token.
    """
    made: list[str] = []
    names: list[str] = []
    before = ""
    for arg in args:
        name, kept, value = _named(arg, before, server)
        before = arg
        if value is None or _ONLY_VARIABLES.fullmatch(value):
            made.append(arg)
            continue
        names.append(name)
        made.append(f"{kept}${{{name}}}")
    return tuple(made), tuple(dict.fromkeys(names))


def is_secret_name(name: str) -> bool:
    """Whether a variable or option of this name holds a credential."""
    return _SECRET_NAME.search(name.replace("-", "_")) is not None


def _named(arg: str, before: str, server: str) -> tuple[str, str, str | None]:
    """The variable for a credential in `arg`, what stays in front of it, and the credential or None."""
    option = _OPTION.fullmatch(arg)
    if option is not None:
        flag, value = option[1], option[2]
        if value is None:
            return "", "", None
        secret = (is_secret_name(flag) and not _HARMLESS.fullmatch(value)) or _has_secret_form(value)
        return variable_name(flag), arg[: len(arg) - len(value)], value if secret else None
    earlier = _OPTION.fullmatch(before)
    if earlier is not None and earlier[2] is None and is_secret_name(earlier[1]) and not _HARMLESS.fullmatch(arg):
        return variable_name(earlier[1]), "", arg
    header = _HEADER.fullmatch(arg)
    if header is not None and is_secret_name(header[1]):
        return variable_name(header[1]), arg[: len(arg) - len(header[2])], header[2]
    assigned = _ASSIGNMENT.fullmatch(arg)
    if assigned is not None and is_secret_name(assigned[1]) and not _HARMLESS.fullmatch(assigned[2]):
        return variable_name(assigned[1]), f"{assigned[1]}=", assigned[2]
    return variable_name(f"{server}_SECRET"), "", arg if _has_secret_form(arg) else None


def _has_secret_form(text: str) -> bool:
    if builtin_secrets(text):
        return True
    if "://" not in text:
        return False
    try:
        password = urlsplit(text).password
    except ValueError:
        return True  # a URL that cannot be read may hold one all the same
    return bool(password and not _ONLY_VARIABLES.fullmatch(password)) or bool(_QUERY_SECRET.search(text))
