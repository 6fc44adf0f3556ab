"""WHAT HAPPENED: ledger, disclosures, blobs, statements, the single file, and the verifier.

Knows nothing of pytest, MCP, policies or pages. Import the module you need; this one stays empty so that
the verifier pulls in no writer and the writer no verifier.
"""
