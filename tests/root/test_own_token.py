"""What the operator makes for itself outlives every process: the webhook's token, and the key of its markers."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from incident_operator import app
from incident_operator.core.redactor import Redactor
from incident_operator.kubernetes import discovery, state
from incident_operator.kubernetes.apiserver import Forbidden
from incident_operator.kubernetes.priority import Priority
from incident_operator.kubernetes.state import SecretError
from incident_operator.process import Parts
from incident_operator.settings import Settings
from tests.e2e.operator_process import free_port
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.receiver import messages

OWN = Settings(token_secret="webhook", webhook_address="127.0.0.1")
TOKEN, MARKERS = discovery.secrets("ops", "webhook"), discovery.secrets("prod", "incident-operator-markers")


@pytest.fixture
def settings(kubeconfig: str) -> Settings:
    return Settings(kubeconfig=kubeconfig, health_address="127.0.0.1", health_port=0)


@asynccontextmanager
async def running(parts: Parts, chosen: Settings = OWN) -> AsyncIterator[str]:
    """A process's receiver, from its start to its end; yields where it is posted to."""
    parts.inbox.incident_index.mark_ready()
    parts.inbox.runbook_index.mark_ready()
    open_at = replace(chosen, webhook_port=free_port())
    async with app.receiver(
        open_at, parts.client, "ops", parts.inbox, CollectorRegistry(), Priority(), Redactor()
    ) as intake:
        assert intake is not None
        yield f"http://127.0.0.1:{open_at.webhook_port}/api/v1/alerts"


async def post(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    body = messages.body(messages.alert())
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status


def token(api: FakeApiserver) -> str:
    return base64.b64decode(api.object(TOKEN)["data"]["token"]).decode()


def key(api: FakeApiserver) -> bytes:
    return base64.b64decode(api.object(MARKERS)["data"]["key"])


async def test_after_a_restart_the_old_token_still_lets_alertmanager_in(api: FakeApiserver, parts: Parts) -> None:
    async with running(parts) as url:
        old = token(api)
        assert (await post(url, old), await post(url, "another")) == (200, 401)
    async with running(parts) as url:
        assert await post(url, old) == 200
    assert token(api) == old


async def test_a_token_that_is_added_by_an_upgrade_stands_beside_the_old_one(api: FakeApiserver, parts: Parts) -> None:
    async with running(parts):
        old = token(api)
    async with running(parts, replace(OWN, token_keys=("token", "next"))) as url:
        added = base64.b64decode(api.object(TOKEN)["data"]["next"]).decode()
        assert (await post(url, old), await post(url, added)) == (200, 200)
    async with running(parts, replace(OWN, token_keys=("next",))) as url:
        assert (await post(url, old), await post(url, added)) == (401, 200)


async def test_a_throttled_start_waits_and_makes_one_token(
    api: FakeApiserver, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    api.inject(Fault.TOO_MANY_REQUESTS, path="/secrets", times=2)
    async with running(parts) as url:
        assert await post(url, token(api)) == 200


async def test_without_a_setting_for_tokens_no_secret_is_made_for_them(api: FakeApiserver, settings: Settings) -> None:
    async with app._built(settings, Redactor()):
        assert [one["metadata"]["name"] for one in api.objects(discovery.secrets("prod"))] == [
            "incident-operator-markers"
        ]


async def test_the_key_of_the_markers_is_made_once_beside_the_lease(api: FakeApiserver, settings: Settings) -> None:
    async with app._built(settings, Redactor()):
        made = key(api)
    assert len(made) == 32
    async with app._built(settings, Redactor()):
        assert key(api) == made


async def test_a_start_without_the_right_to_its_secrets_says_which_role_is_missing(
    api: FakeApiserver, settings: Settings
) -> None:
    api.forbid("", "create", "secrets")
    with pytest.raises(Forbidden, match="a Role in namespace prod has to allow create on secrets"):
        async with app._built(settings, Redactor()):
            pass


async def test_a_key_that_is_too_short_is_told_and_not_used(api: FakeApiserver, settings: Settings) -> None:
    meta = {"name": "incident-operator-markers", "namespace": "prod"}
    data = {"key": base64.b64encode(b"short").decode()}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    with pytest.raises(SecretError) as caught:
        async with app._built(settings, Redactor()):
            pass
    told = "Secret prod/incident-operator-markers: the key of the markers has 5 bytes; 32 are needed"
    assert str(caught.value) == told
