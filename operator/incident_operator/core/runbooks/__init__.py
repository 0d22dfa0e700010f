"""From a Runbook as written to one that can run, or to everything that is wrong with it."""
