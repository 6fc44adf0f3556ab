"""Servers and agents over HTTP: the recorder's door for agents, one request as it passes, the way to the server."""
