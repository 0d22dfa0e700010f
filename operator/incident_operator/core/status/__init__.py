"""What people and machines read of an Incident: phase, messages, conditions, objectives, the report."""
