"""A cluster per test, with the Runbook that has every stage."""

from collections.abc import AsyncIterator

import pytest

from tests.engine.fake_cluster import FakeCluster, fake_cluster

RUNBOOK = """
title: "Pack failed"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"', 'namespace="prod"']
parameters: [{name: date, type: date, from: alert.labels.pack_date}]
diagnose:
- name: packs
  sqlQuery: {connection: read, statement: "SELECT 1"}
  outputs: {last: "result.rows[0].id"}
- name: queries
  sqlQuery: {connection: read, statement: "SELECT 2"}
mitigate:
- name: serve
  sqlExecute: {connection: write, statement: "UPDATE p SET f = 1 WHERE id = %(id)s", params: {id: "${steps.packs.outputs.last}"}, maxRows: 1}
  undo: {sqlExecute: {connection: write, statement: "UPDATE p SET f = 0", maxRows: 1}}
remediate:
- name: rebuild
  job: {from: deployment/scheduler, command: [build, "${params.date}"]}
- name: mark
  sqlExecute: {connection: write, statement: "UPDATE p SET f = 2", maxRows: 5}
verify:
- name: works
  http: {connection: api, method: POST, path: /execute, safe: true}
  expect: result.status == 200
  until: {every: 2s, for: 2m}
"""


UNKEYED = """
title: "Cache is stale"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"', 'namespace="prod"']
remediate:
- name: flush
  exec: {target: statefulset/cache, command: [flush]}
- name: rebuild
  job: {from: deployment/scheduler, command: [build]}
verify:
- name: works
  http: {connection: api, method: POST, path: /execute, safe: true}
  expect: result.status == 200
"""
PROBE = """
  probe: {http: {connection: api, path: /flushed}, expect: result.status == 200}
"""


@pytest.fixture
async def cache() -> AsyncIterator[FakeCluster]:
    """A firing alert, and a Runbook whose first act leaves no mark: an `exec`, then a Job, then a verification."""
    async with fake_cluster(UNKEYED) as made:
        yield made


@pytest.fixture
async def probed_cache() -> AsyncIterator[FakeCluster]:
    """The same, with a probe that says whether the cache was flushed."""
    flush, build = UNKEYED.split("- name: rebuild")
    async with fake_cluster(f"{flush.rstrip()}{PROBE}- name: rebuild{build}") as made:
        yield made


@pytest.fixture
async def pack() -> AsyncIterator[FakeCluster]:
    """A firing alert, and a Runbook of two reads, a mitigation, two remediations under one approval, a verification."""
    async with fake_cluster(RUNBOOK) as made:
        yield made


@pytest.fixture
async def spare() -> AsyncIterator[FakeCluster]:
    """Another such cluster."""
    async with fake_cluster(RUNBOOK) as made:
        yield made
