"""What is shown of an Incident holds no credential, and nothing that is computed with is altered by that."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from incident_operator.api.incident import Phase, StepRecord
from incident_operator.api.meta import ObjectKey
from incident_operator.core.action import Call
from incident_operator.core.outcomes import Failed, Outcome, Pending, Succeeded
from incident_operator.engine.evidence import configmap_name
from incident_operator.engine.reconciler import Reconciler
from incident_operator.kubernetes import discovery
from tests.engine.fake_cluster import INCIDENT, FakeCluster, Killed, fake_cluster

PASSWORD = "p&ss<w>or'd+/x\\y9Z"
RUNBOOK = """
title: "Pack failed"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"']
diagnose:
- name: look
  sqlQuery: {connection: read, statement: "SELECT count(*) AS orders FROM orders"}
  expect: EXPECT
  outputs: {one: OUTPUT, all: result.rows.size()}
- name: next
  when: '"one" in steps.look.outputs && steps.look.outputs.one != "nothing"'
  sqlQuery: {connection: write, statement: "SELECT %(one)s", params: {one: "${steps.look.outputs.one}"}}
verify:
- name: works
  sqlQuery: {connection: write, statement: "SELECT 1"}
  expect: result.rows.size() >= 0
"""


def runbook(expect: str = "result.rows.size() > 0", output: str = "result.rows[0].orders") -> str:
    return RUNBOOK.replace("EXPECT", json.dumps(expect)).replace("OUTPUT", json.dumps(output))


def put_secret(made: FakeCluster, connection: str, namespace: str = "prod", **data: str) -> None:
    where = {"type": "postgres", "postgres": {"host": "db", "database": "orders"}, "secretRef": {"name": connection}}
    meta = {"name": connection, "namespace": namespace}
    of = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Connection", "metadata": meta, "spec": where}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    made.api.put(of)
    made.api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": encoded})


def brings(made: FakeCluster, *rows: dict[str, Any], step: str = "look") -> None:
    made.targets.answers[step] = lambda _: Succeeded({"rows": list(rows)}, f"{len(rows)} rows")


def record(made: FakeCluster, step: str) -> StepRecord:
    return next(each for each in made.incident().status.steps if each.name == step)


def stored(made: FakeCluster) -> str:
    """All that an Incident left in the cluster, but for the Secrets."""
    of = [
        made.api.objects(path)
        for path in (discovery.incidents("prod"), discovery.configmaps("prod"), discovery.events("prod"))
    ]
    return json.dumps(of, ensure_ascii=False)


def sent_to(made: FakeCluster, step: str) -> Any:
    return next(call.spec.to_json()["params"] for call in made.targets.calls if call.step == step)


@pytest.fixture
async def orders() -> AsyncIterator[FakeCluster]:
    async with fake_cluster(runbook()) as made:
        put_secret(made, "read", username="app", password="x", dbname="orders", port="5432", host="db-1.prod.svc")
        put_secret(made, "write", username="app_writer", password=PASSWORD)
        yield made


async def test_a_secret_with_plain_words_alters_neither_names_nor_values(orders: FakeCluster) -> None:
    brings(orders, {"orders": "PP-5432 of db-1.prod.svc", "app_writer": 1})
    await orders.engine().reconcile(INCIDENT)
    assert record(orders, "look").outputs == {"one": "PP-5432 of db-1.prod.svc", "all": 1}
    assert sent_to(orders, "next") == {"one": "PP-5432 of db-1.prod.svc"}
    assert "***" not in stored(orders)


async def test_a_key_that_is_written_like_a_credential_is_still_found() -> None:
    async with fake_cluster(
        runbook('result.rows[0]["orders-key-9"] == 3', 'string(result.rows[0]["orders-key-9"])')
    ) as made:
        put_secret(made, "read", password="orders-key-9")
        brings(made, {"orders-key-9": 3})
        await made.engine().reconcile(INCIDENT)
        assert record(made, "look").outputs == {"one": "3", "all": 1}


async def test_an_expression_sees_the_result_as_it_came_and_nobody_else_does() -> None:
    told = {"orders": "nothing", "log": f'level=error dsn="{PASSWORD}"', "long": "x" * 300}
    async with fake_cluster(runbook(f"result.rows[0].log.contains({json.dumps(PASSWORD)})")) as made:
        put_secret(made, "write", password=PASSWORD)
        brings(made, told)
        await made.engine().reconcile(INCIDENT)
        assert record(made, "look").state.value == "Succeeded"
        data = made.api.object(discovery.configmaps("prod", configmap_name(made.incident().metadata.uid, "evidence")))[
            "data"
        ]
        assert json.loads(data["look.json"])["rows"] == [told | {"log": 'level=error dsn="***"'}]
        assert PASSWORD not in stored(made)


async def test_an_output_that_holds_a_credential_is_not_kept_and_whoever_needs_it_is_told_why(
    orders: FakeCluster,
) -> None:
    brings(orders, {"orders": f"postgres://app:{PASSWORD}@db/orders"})
    await orders.engine().reconcile(INCIDENT)
    look = record(orders, "look")
    why = "output one is not kept: it holds a credential of Connection write"
    assert (look.state.value, look.outputs, look.summary) == ("Succeeded", {"all": 1}, f"1 rows; {why}")
    assert record(orders, "next").state.value == "Skipped"


async def test_a_step_that_needs_an_output_with_a_credential_says_whose_it_is() -> None:
    async with fake_cluster(runbook().replace('"one" in steps.look.outputs && ', "")) as made:
        put_secret(made, "read", password=PASSWORD)
        brings(made, {"orders": PASSWORD})
        await made.engine().reconcile(INCIDENT)
        told = "look gave no one (1 rows; output one is not kept: it holds a credential of Connection read)"
        assert told in record(made, "next").summary


ENDINGS: dict[str, Outcome] = {
    "failed": Failed("BadRequest", f"refused {PASSWORD}", retryable=False, result={"body": f"{'x' * 300} {PASSWORD}"}),
    "pending": Pending(5.0, f"waits with {PASSWORD}"),
    "succeeded": Succeeded({"rows": [{"orders": 1}]}, f"told {PASSWORD}"),
}


@pytest.mark.parametrize("outcome", ENDINGS.values(), ids=ENDINGS.keys())
async def test_however_a_step_ends_its_words_are_masked(orders: FakeCluster, outcome: Outcome) -> None:
    orders.targets.answers["look"] = lambda _: outcome
    await orders.engine().reconcile(INCIDENT)
    assert "***" in record(orders, "look").summary
    assert "w>or" not in stored(orders)


@pytest.mark.parametrize("expect", ["result.rows[0].orders", "result.rows[0].orders.missing"])
async def test_why_an_expectation_has_no_answer_tells_no_credential(expect: str) -> None:
    async with fake_cluster(runbook(expect)) as made:
        put_secret(made, "read", password=PASSWORD + "0123456789" * 9)
        brings(made, {"orders": PASSWORD + "0123456789" * 9})
        await made.engine().reconcile(INCIDENT)
        assert record(made, "look").state.value == "Failed"
        assert "w>or" not in stored(made)


async def test_what_one_namespace_keeps_secret_changes_nothing_in_another(orders: FakeCluster) -> None:
    engine = orders.engine()
    evil = engine.executor.redactors.of(ObjectKey("evil", "incident"), "uid-evil")
    evil.redactor.learn("a", "1", lambda: ["object-1", "PP-2025-10-20", "Succeeded!", "deployment/web"])
    brings(orders, {"orders": "PP-2025-10-20 of deployment/web"})
    await engine.reconcile(INCIDENT)
    assert record(orders, "look").outputs == {"one": "PP-2025-10-20 of deployment/web", "all": 1}
    assert "***" not in stored(orders)


async def test_a_secret_that_was_rotated_is_known_before_a_first_step_reads_it(orders: FakeCluster) -> None:
    engine = orders.engine()
    put_secret(orders, "write", username="app_writer", password="New-Passw0rd-222")
    brings(orders, {"orders": "the new one is New-Passw0rd-222"})
    await engine.reconcile(INCIDENT)
    assert "New-Passw0rd-222" not in stored(orders)
    assert "one" not in (record(orders, "look").outputs or {})


async def test_a_secret_that_is_rotated_while_the_incident_waits_is_known_before_its_next_step(
    orders: FakeCluster,
) -> None:
    engine = orders.engine()
    orders.targets.answers["look"] = lambda _: Pending(30.0, "waits")
    await engine.reconcile(INCIDENT)
    put_secret(orders, "write", username="app_writer", password="New-Passw0rd-222")
    orders.later(seconds=61)
    brings(orders, {"orders": f"{PASSWORD}, New-Passw0rd-222", "long": "x" * 300})
    await engine.reconcile(INCIDENT)
    assert record(orders, "look").outputs == {"all": 1}
    assert '"***, ***"' in stored(orders).replace("\\", "")


async def test_a_secret_that_cannot_be_read_stops_no_step_that_does_without_it(orders: FakeCluster) -> None:
    orders.api.forbid("system:serviceaccount:prod:rb", "get", "secrets")
    brings(orders, {"orders": "5"})
    await orders.engine().reconcile(INCIDENT)
    assert [record(orders, step).state.value for step in ("look", "next")] == ["Succeeded", "Succeeded"]


async def test_the_secrets_are_read_once_for_an_incident_and_not_for_each_step(orders: FakeCluster) -> None:
    engine = orders.engine()
    brings(orders, {"orders": "5"})
    await engine.reconcile(INCIDENT)
    orders.later(seconds=30)
    await engine.reconcile(INCIDENT)
    asked = [one.path for one in orders.api.requests if "/secrets/" in one.path]
    assert sorted(asked) == ["/api/v1/namespaces/prod/secrets/read", "/api/v1/namespaces/prod/secrets/write"]


async def test_what_an_incident_knew_is_gone_once_it_is_closed(orders: FakeCluster) -> None:
    engine: Reconciler = orders.engine()
    brings(orders, {"orders": "5"})
    await engine.reconcile(INCIDENT)
    assert len(engine.executor.redactors._of) == 1
    await orders.resolve_alert()
    await engine.reconcile(INCIDENT)
    assert orders.incident().status.phase is Phase.RESOLVED
    assert not engine.executor.redactors._of


async def test_what_a_step_learns_itself_is_masked_in_what_it_brings(orders: FakeCluster) -> None:
    def read(call: Call[Any]) -> Outcome:
        masked = engine.executor.redactors.of(INCIDENT, call.incident_uid)
        masked.redactor.learn("read", "now", lambda: ["fetched-t0ken-1"])
        return Succeeded({"rows": [{"orders": "fetched-t0ken-1"}]}, "got fetched-t0ken-1")

    engine = orders.engine()
    orders.targets.answers["look"] = read
    await engine.reconcile(INCIDENT)
    assert "fetched-t0ken-1" not in stored(orders)


LOOKED_UP = """
title: "Pack failed"
severity: P1
serviceAccountName: rb
match: ['alertname="PackFailed"']
mitigate:
- name: serve
  scale: {target: deployment/web, replicas: 2}
verify:
- name: works
  sqlQuery: {connection: write, statement: "SELECT 1"}
  expect: result.rows.size() >= 0
"""


async def test_what_a_look_at_an_interrupted_act_brings_is_masked_although_nothing_was_shown_before() -> None:
    async with fake_cluster(LOOKED_UP) as made:
        put_secret(made, "write", password=PASSWORD)
        made.targets.kill_after = "serve"
        with pytest.raises(Killed):
            await made.engine().reconcile(INCIDENT)
        made.targets.answers["serve"] = lambda _: Succeeded({"note": "x" * 300 + PASSWORD}, f"told {PASSWORD}")
        await made.engine().reconcile(INCIDENT)
        assert made.targets.looks == ["serve"]
        assert record(made, "serve").summary == "told ***"
        assert "w>or" not in stored(made)
