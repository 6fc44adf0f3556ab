"""What fastmcp's own proxy costs. Run by a Python that has fastmcp, as a stdio server, with a server's command."""

import sys

from fastmcp.server import create_proxy

if __name__ == "__main__":
    behind = {"mcpServers": {"echo": {"command": sys.argv[1], "args": sys.argv[2:]}}}
    create_proxy(behind, name="proxy").run(show_banner=False)
