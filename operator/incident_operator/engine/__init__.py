"""Drives Incidents: workers, one reconciliation, delayed adds. Gathers, asks the core to decide, acts, records."""
