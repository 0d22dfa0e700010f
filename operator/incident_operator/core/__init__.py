"""Decisions: the state machine, plans, approvals, expressions, matching. Pure: no I/O, no clock, no kopf."""
