"""The scheduler's jobs."""
