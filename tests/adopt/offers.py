"""Projects whose servers offer what a test says."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

OFFERING = Path(__file__).parents[1] / "servers" / "offering.py"
READ = {"readOnlyHint": True, "openWorldHint": False}


def tool(name: str, annotations: object = None, **properties: object) -> dict[str, object]:
    schema = {"type": "object", "properties": properties}
    return {"name": name, "inputSchema": schema} | ({} if annotations is None else {"annotations": annotations})


def entry(folder: Path, name: str, **offer: object) -> dict[str, object]:
    """A server's entry; its offer lies beside, so that changing it does not change the command."""
    path = folder / f"{name}.offer.json"
    path.write_text(json.dumps(offer), encoding="utf-8")
    return {"command": sys.executable, "args": [str(OFFERING), path.name]}


def project(folder: Path, servers: Mapping[str, object], name: str = "mcp.json", key: str = "mcpServers") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: servers}), encoding="utf-8")
    return path
