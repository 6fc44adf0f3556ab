"""How it starts: what a machine needs, whether it has it, and how to get it."""
