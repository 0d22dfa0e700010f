"""The verbs of a Runbook, one family a file, and their registry."""
