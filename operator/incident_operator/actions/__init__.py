"""The actions of a Runbook: a file each, and a line each."""

from typing import Any

from incident_operator.actions import exec, get, http, job, logs, promql, scale  # noqa: A004 # the action's own name
from incident_operator.actions.sql import execute, query
from incident_operator.core.action import Action

ACTIONS: tuple[Action[Any], ...] = (
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
