"""The state machine: what to do next with an Incident. Read `machine.py` first."""
