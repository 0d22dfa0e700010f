"""The actions of a Runbook: a file each, and a line each. docs/adding-an-action.md shows how to add one."""

from incident_operator.actions import exec, get, http, logs, promql, scale  # noqa: A004 # the action's own name
from incident_operator.actions.job import job  # the action's own name
from incident_operator.actions.sql import execute, query
from incident_operator.core.action import Actions

ACTIONS: Actions = (
    logs.ACTION,
    get.ACTION,
    promql.ACTION,
    http.ACTION,
    query.ACTION,
    execute.ACTION,
    scale.ACTION,
    job.ACTION,
    exec.ACTION,
)
"""In the order in which they are told of."""
