"""The in-process servers of one audit: each is served from the first gateway to it until the audit ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_mcp_governance.errors import ConfigurationError, GovernanceError
from pytest_mcp_governance.plugin.servers import NAME, Server

if TYPE_CHECKING:
    from pytest_mcp_governance.session.memory import MemoryServer


class InProcess:
    """Keeps the servers that run; several threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: dict[str, MemoryServer] = {}

    def entries(self, chosen: Mapping[str, object]) -> dict[str, Server]:
        """What the recorder is told of these servers; those that are objects are served from now on.

        Raises:
            ServerError: one cannot be served.
        """
        return {name: dict(e) if isinstance(e, Mapping) else self._serve(name, e) for name, e in chosen.items()}

    def close(self) -> tuple[str, ...]:
        """End them all; return what went wrong, in words."""
        with self._lock:
            served, self._served = self._served, {}
        failures = []
        for server in served.values():
            try:
                server.close()
            except GovernanceError as error:
                failures.append(str(error))
        return tuple(failures)

    def _serve(self, name: str, given: object) -> Server:
        from pytest_mcp_governance.session.memory import MemoryServer

        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"mcp_audit_servers: server name {name!r} must consist of letters, digits, _ and -"
            )
        with self._lock:
            if name not in self._served:
                server = MemoryServer(name, given)
                server.start()
                self._served[name] = server
            return self._served[name].entry
