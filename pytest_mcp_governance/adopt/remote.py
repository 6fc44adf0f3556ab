"""A server that a client's configuration reaches by URL: what the recorder is told of it, variables filled in.

The whole URL and the headers stay in memory, for the recorder alone; what is shown of such a server is `entries`'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_mcp_governance.adopt.entries import Server
from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.session.http.server import HttpServer

URL_KEYS = ("url", "serverUrl", "httpUrl")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def remote_entry(
    name: str, server: Server, entry: Mapping[str, object], environ: Mapping[str, str]
) -> Mapping[str, object]:
    """The entry {"url", "headers", "type"} of a server, as the recorder takes it.

    Args:
        name: its name in the evidence.
        server: as `entries.read_entry` gave it.
        entry: what it was read from.
        environ: where `${NAME}`, `${env:NAME}` and `${NAME:-default}` take their values.

    Raises:
        ConfigurationError: it cannot be used, or a variable of it is not set; no value of it is shown.
    """
    headers = entry.get("headers")
    found: dict[str, object] = {
        "url": _filled(str(entry[url_key(entry)]), environ),
        "headers": {
            str(key): _filled(value, environ) if isinstance(value, str) else value
            for key, value in (headers if isinstance(headers, dict) else {}).items()
        },
        "type": server.transport,
    }
    HttpServer.from_mapping(name, found)
    return found


def url_key(entry: Mapping[str, object]) -> str:
    """Under which key an entry has its URL: clients differ."""
    return next(key for key in URL_KEYS if entry.get(key))


def _filled(text: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        known = environ.get(found[1], found[2])
        if known is None:
            raise ConfigurationError(f"it needs the environment variable {found[1]}, which is not set")
        return known

    filled = _VARIABLE.sub(value, text)
    if "${" in filled:
        raise ConfigurationError("it has a variable that only its client knows; write ${NAME} and set NAME")
    return filled
