"""A credential that a service refuses and that ends with a newline is said to, by its key and never by its value."""

import pytest
from aiohttp import web

from incident_operator.actions import promql
from incident_operator.actions.promql import Promql
from incident_operator.clients import alertmanagers, redaction
from incident_operator.clients.alertmanagers import AlertmanagerError, Place
from incident_operator.clients.connections import Probes
from incident_operator.clients.prometheus import Prometheus
from incident_operator.connections import CONNECTIONS
from incident_operator.core.outcomes import Failed, Succeeded
from tests.actions.http_calls import FakeConnections, call, endpoint, request, sending
from tests.actions.played import Played, clients

VALUE = "s3cr3t/passw0rd"
WRONG = {"username": "app", "password": f"{VALUE}\n"}
RIGHT = {"username": "app", "password": VALUE}
HINT = "; the Secret's password ends with a newline: blanks and line ends are part of the value; create it without them: kubectl create"


@pytest.fixture
def prometheus():
    made = Prometheus()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        (RIGHT, ""),
        ({"username": "app\r\n", "password": VALUE}, "username ends with a newline"),
        ({"username": " app", "password": f"{VALUE}\n"}, "username begins or ends with a blank and password ends with a newline"),
        ({"password": "a\nb"}, "password holds a line end"),
        ({"token": f"{VALUE}\n"}, ""),
        ({"token": f"Bearer {VALUE}"}, "token holds a blank or a line end"),
        ({"ca.crt": "-----BEGIN\n"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_named_by_its_key(secret, told):
    found = redaction.of(secret)
    assert told in found
    assert bool(found) == bool(told)
    assert VALUE not in found


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", [each.key for each in CONNECTIONS if each.key != "postgres"])
async def test_a_probe_that_is_refused_says_what_looks_wrong(service, prometheus, kind, status):
    service.answer = web.Response(status=status)
    found = await Probes(None, prometheus).probe(endpoint(service.url, WRONG, kind=kind))
    assert found is not None
    assert HINT in found.message
    assert str(status) in found.message
    assert VALUE not in found.message
    service.answer = web.Response(status=status)
    fine = await Probes(None, prometheus).probe(endpoint(service.url, RIGHT, kind=kind))
    assert fine is None or HINT not in fine.message


async def test_a_step_that_is_refused_says_what_looks_wrong(service, prometheus):
    service.answer = web.Response(status=401)
    connections = FakeConnections(endpoint(service.url, WRONG))
    read = await sending(connections).run(call(request()))
    assert isinstance(read, Succeeded)
    assert read.summary.endswith("printf %s instead of echo")
    service.answer = web.Response(status=401)  # one answer is sent once
    sent = await sending(connections).run(call(request("POST", "/send")))
    assert isinstance(sent, Failed)
    assert HINT in sent.message
    service.answer = web.Response(status=401)
    metrics = FakeConnections(endpoint(service.url, WRONG, kind="prometheus"))
    asked = Played(promql.ACTION, clients(connections=metrics, prometheus=prometheus))
    found = await asked.run(call(Promql.model_validate({"connection": "metrics", "query": "up"})))
    assert isinstance(found, Failed)
    assert HINT in found.message


async def test_reading_open_alerts_again_says_what_looks_wrong(service):
    service.answer, place = web.Response(status=401), Place(service.url)
    with pytest.raises(AlertmanagerError, match="the Secret's password ends with a newline"):
        await alertmanagers.open_alerts(endpoint(service.url, WRONG, kind="alertmanager"), place, 5.0)
    with pytest.raises(AlertmanagerError, match="the Secret's token holds a blank or a line end"):
        await alertmanagers.open_alerts(endpoint(service.url, {"token": "a\nb"}, kind="alertmanager"), place, 5.0)
    assert len(service.seen) == 1, "what no header can hold is not sent"
