"""Runs the runbook of an alert on Kubernetes, and leaves a record of what it did."""
