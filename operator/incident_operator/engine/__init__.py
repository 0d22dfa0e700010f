"""Drives Incidents: worker pool, one visit, deadlines. Gathers, asks the core to decide, acts, records."""
