"""The `job` action: a Job from a template, followed to its end."""
