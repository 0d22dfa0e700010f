"""Runbooks for these tests: a whole one, and the means to change one place of it."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.expressions.cel import Facts, StepFact
from incident_operator.core.runbooks import compiler
from incident_operator.core.runbooks.compiler import Compiled, Problem

NOW = datetime(2025, 10, 21, 0, 33, 0, tzinfo=UTC)
CONNECTIONS = {
    "dawsos-read": "postgres",
    "dawsos-write": "postgres",
    "api": "http",
    "metrics": "prometheus",
}

RB_01 = r"""
title: "RB-01: Pricing pack build failure"
severity: P1
serviceAccountName: rb-pricing-pack
match: ['alertname="PricingPackBuildFailure"', 'severity=~"critical|page"']
groupBy: [pack_date]
objectives: {acknowledge: 5m, mitigate: 15m, resolve: 2h}
parameters:
- {name: date, type: date, from: alert.labels.pack_date}
diagnose:
- name: build-log
  logs: {from: deployment/scheduler, tail: 200, pattern: '(?P<step>build_pack: .*)'}
  outputs: {lastStep: 'result.matches.size() > 0 ? result.matches[result.matches.size() - 1].step : ""'}
- name: packs
  sqlQuery: {connection: dawsos-read, statement: "SELECT id, date, is_fresh FROM pricing_pack ORDER BY date DESC LIMIT 5"}
  outputs: {lastGood: "result.rows.filter(r, r.date < params.date)[0].id", fresh: "result.rows.exists(r, r.is_fresh)"}
- name: build-time
  promql: {connection: metrics, query: 'pack_build_duration_seconds{pack=%(pack)s} % 60', params: {pack: "${params.date}"}}
mitigate:
- name: serve-last-good
  description: Users can run patterns again, on yesterday's prices.
  when: "!steps.packs.outputs.fresh"
  sqlExecute:
    connection: dawsos-write
    before: {statement: "SELECT id, is_fresh FROM pricing_pack WHERE id = %(id)s", params: {id: "${steps.packs.outputs.lastGood}"}}
    statement: "UPDATE pricing_pack SET is_fresh = TRUE WHERE id = %(id)s AND NOT is_fresh"
    params: {id: "${steps.packs.outputs.lastGood}"}
    maxRows: 1
  outputs: {served: "result.rowsChanged"}
  undo:
    sqlExecute:
      connection: dawsos-write
      statement: "UPDATE pricing_pack SET is_fresh = FALSE WHERE id = %(id)s AND %(served)s > 0"
      params: {id: "${steps.packs.outputs.lastGood}", served: '${steps["serve-last-good"].outputs.served}'}
      maxRows: 1
  undoOn: [Resolved]
remediate:
- name: rebuild
  job: {from: deployment/scheduler, command: [python3, -m, jobs.build_pack, --date, "${params.date}", --force]}
  timeout: 20m
  approval: {expiresAfter: 30m}
- name: mark-fresh
  sqlExecute:
    connection: dawsos-write
    maxRows: 2
    statements:
    - {statement: "UPDATE pricing_pack SET is_fresh = FALSE WHERE date < %(date)s", params: {date: "${params.date}"}}
    - {statement: "UPDATE pricing_pack SET is_fresh = TRUE WHERE id = %(id)s", params: {id: "PP-${params.date}"}}
verify:
- name: execute
  http: {connection: api, method: POST, path: /execute, safe: true, json: {pattern_id: portfolio_overview, inputs: {}}}
  expect: "result.status == 200"
  until: {every: 2s, for: 2m}
review:
  tasks: ["Root cause analysis: document why the build failed"]
"""

_SPEC = yaml.safe_load(RB_01)


def spec() -> dict[str, Any]:
    """The whole Runbook's spec, to be changed at will."""
    return copy.deepcopy(_SPEC)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The whole Runbook with one place replaced (or removed, where the value is None), e.g. `verify.0.until`."""
    document = spec()
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in way:
        place = place[part]
    if value is None:
        del place[last]
    elif isinstance(last, int) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return document


def compile_spec(
    document: Mapping[str, Any], connections: Mapping[str, str] | None = CONNECTIONS
) -> Compiled | tuple[Problem, ...]:
    return compiler.compile_runbook(Runbook.model_validate({"spec": document}), connections, ACTIONS)


def facts(params: Mapping[str, Any] | None = None, **steps: StepFact) -> Facts:
    incident = {"name": "pricing-pack-5f2c1-1", "severity": "P1", "resolved": False, "alerts": []}
    return Facts(incident, params or {}, {name.replace("_", "-"): fact for name, fact in steps.items()})
