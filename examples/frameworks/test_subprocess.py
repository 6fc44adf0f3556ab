"""An agent in a process of its own, in any language: it is started with the gateway's command."""

import json
import subprocess
import sys
from pathlib import Path

from scripted import REQUEST, Script

AGENT = Path(__file__).with_name("plain_agent.py")


def test_a_process_reads_instead(mcp_audit, script: Script, note: Path, reads_instead):
    with mcp_audit.gateway("files", agent="plain-1", request=REQUEST) as gw, mcp_audit.expect_denied():
        command = [sys.executable, AGENT, note, *gw.command("files")]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said = json.loads(ran.stdout)
    script.seen += said["seen"]
    reads_instead(said["answer"])


def test_a_process_reads_its_servers_from_a_file(mcp_audit, script: Script, note: Path, reads_instead, tmp_path: Path):
    with mcp_audit.gateway("files", agent="plain-2", request=REQUEST) as gw, mcp_audit.expect_denied():
        (tmp_path / "agent.mcp.json").write_text(json.dumps(gw.config))
        entry = json.loads((tmp_path / "agent.mcp.json").read_text())["mcpServers"]["files"]
        command = [sys.executable, AGENT, note, entry["command"], *entry["args"]]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said = json.loads(ran.stdout)
    script.seen += said["seen"]
    reads_instead(said["answer"])
