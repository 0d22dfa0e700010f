"""Connections: read as the operator, their Secrets as the Runbook's account."""

import base64

import pytest

from incident_operator.clients.connections import Connections, EndpointError, Teaching
from incident_operator.connections import postgres
from incident_operator.core import reasons
from incident_operator.core.redactor import Redactor
from incident_operator.kubernetes import apiserver
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import service_account

USER = "system:serviceaccount:prod:rb-pricing"
META = {"name": "db", "namespace": "prod"}


def connection(**spec):
    postgres = {"type": "postgres", "postgres": {"host": "db", "database": "dawsos"}}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Connection",
        "metadata": dict(META),
        "spec": postgres | spec,
    }


def secret(password="s3cr3t-p4ss"):
    data = {"username": b"reader", "password": password.encode()}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": dict(META), "data": encoded}


@pytest.fixture
def redactor():
    return Redactor()


@pytest.fixture
async def connections(api: FakeApiserver):
    async with apiserver.Kube(api.access()) as client:
        yield Connections(client)


async def test_the_secret_is_read_as_the_account_and_the_connection_as_the_operator(api, connections):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    endpoint = await connections.endpoint("prod", "db", "rb-pricing")
    assert postgres.CONNECTION.of(endpoint.connection.spec).host == "db"
    assert endpoint.secret == {"username": "reader", "password": "s3cr3t-p4ss"}
    assert [(request.path.split("/")[-2], request.user) for request in api.requests] == [
        ("connections", ""),
        ("secrets", USER),
    ]


async def test_a_credential_that_was_read_is_masked_from_then_on(api, connections, redactor):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    endpoint = await Teaching(connections, redactor).endpoint("prod", "db", "rb-pricing")
    assert redactor.masks.text("login of reader with s3cr3t-p4ss failed") == "login of reader with *** failed"
    assert "s3cr3t" not in repr(endpoint)


async def test_what_a_client_gets_for_credentials_is_masked_once_it_says_so(api, connections, redactor):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    endpoint = await Teaching(connections, redactor).endpoint("prod", "db", "rb-pricing")
    endpoint.fetched("fetched-t0ken")
    assert redactor.masks.text("Bearer fetched-t0ken, s3cr3t-p4ss") == "Bearer ***, ***"
    assert redactor.masks.whose("fetched-t0ken") == "db"


async def test_what_changes_in_a_connection_alone_crowds_out_no_older_credential(api, connections, redactor):
    api.put(connection(secretRef={"name": "db"}))
    found = Teaching(connections, redactor)
    for password in ("f1rst-p4ss", "s3cond-p4ss"):
        api.put(secret(password))
        for used_by in range(5):
            api.put(connection(secretRef={"name": "db"}) | {"status": {"usedBy": used_by}})
            await found.endpoint("prod", "db", "rb-pricing")
    assert redactor.masks.text("f1rst-p4ss, s3cond-p4ss") == "***, ***"


async def test_what_was_read_to_learn_it_serves_the_step_that_follows(api, connections, redactor):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    found = Teaching(connections, redactor)
    assert await found.learn("prod", ["db"], "rb-pricing")
    assert (await found.endpoint("prod", "db", "rb-pricing")).secret["password"] == "s3cr3t-p4ss"
    assert len(api.requests) == 2


async def test_one_connection_that_cannot_be_read_keeps_no_other_from_being_learned(api, connections, redactor):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    assert not await Teaching(connections, redactor).learn("prod", ["missing", "db"], "rb-pricing")
    assert redactor.masks.text("s3cr3t-p4ss") == "***"


async def test_a_rotated_secret_changes_the_version_and_nothing_is_kept(api, connections):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    before = await connections.endpoint("prod", "db", "rb-pricing")
    assert (await connections.endpoint("prod", "db", "rb-pricing")).version == before.version
    api.put(secret("n3w-p4ssword"))
    after = await connections.endpoint("prod", "db", "rb-pricing")
    assert after.version != before.version
    assert after.secret["password"] == "n3w-p4ssword"


async def test_a_connection_without_a_secret_reads_none(api, connections):
    api.put(connection())
    assert (await connections.endpoint("prod", "db", "rb-pricing")).secret == {}
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("objects", "denied", "reason", "told"),
    [
        ([], False, reasons.CONNECTION_NOT_FOUND, "there is no Connection db in prod"),
        ([connection(type="carrier-pigeon")], False, reasons.CONNECTION_NOT_FOUND, "malformed at spec.type"),
        (
            [connection(secretRef={"name": "db"})],
            False,
            reasons.SECRET_UNREADABLE,
            'Connection db names Secret "db", which is not in prod',
        ),
        (
            [connection(secretRef={"name": "db"}), secret()],
            True,
            reasons.SECRET_UNREADABLE,
            f'Connection db: {USER} may not get secret "db"',
        ),
    ],
)
async def test_what_is_missing_is_told_by_name(api, connections, objects, denied, reason, told):
    for made in [service_account("rb-pricing"), *objects]:
        api.put(made)
    if denied:
        api.forbid(USER, "get", "secrets")
    with pytest.raises(EndpointError) as refused:
        await connections.endpoint("prod", "db", "rb-pricing")
    assert refused.value.reason == reason
    assert told in refused.value.message


async def test_an_account_that_does_not_exist_is_told_instead_of_a_role_for_it(api, connections):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    api.forbid(USER, "get", "secrets")
    with pytest.raises(EndpointError) as refused:
        await connections.endpoint("prod", "db", "rb-pricing")
    assert "there is no ServiceAccount rb-pricing in prod" in refused.value.message
    assert "Role" not in refused.value.message
    api.forbid("", "get", "serviceaccounts")
    api.forbid(USER, "get", "serviceaccounts")
    with pytest.raises(EndpointError, match="grant it with a Role"):  # who may not tell tells nothing
        await connections.endpoint("prod", "db", "rb-pricing")


async def test_a_namespace_that_has_not_opted_in_is_told_how_to(api, connections):
    api.put(connection(secretRef={"name": "db"}))
    api.refuse_impersonation(USER)
    with pytest.raises(EndpointError, match="bind its impersonator role in prod"):
        await connections.endpoint("prod", "db", "rb-pricing")


@pytest.mark.parametrize("path", ["/connections/", "/secrets/"])
async def test_an_apiserver_that_does_not_answer_is_no_missing_connection(api, connections, path):
    api.put(connection(secretRef={"name": "db"}))
    api.put(secret())
    api.inject(Fault.SERVICE_UNAVAILABLE, path=path)
    with pytest.raises(EndpointError) as refused:
        await connections.endpoint("prod", "db", "rb-pricing")
    assert refused.value.reason == reasons.CONNECTION_FAILED
