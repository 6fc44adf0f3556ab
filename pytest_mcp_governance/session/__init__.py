"""HOW IT RAN: the recorder process, the wire between agent and server, screens. Decides nothing, renders nothing."""
