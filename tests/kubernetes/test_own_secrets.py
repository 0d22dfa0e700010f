"""The operator's own Secrets: made once, completed, never overwritten."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping

import pytest

from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.state import made_once
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

AT = discovery.secrets("ops", "mine")


@pytest.fixture
async def client(api: FakeApiserver) -> AsyncIterator[apiserver.Kube]:
    async with apiserver.Kube(api.access()) as made:
        yield made


def put(api: FakeApiserver, values: Mapping[str, bytes] | None, **more: object) -> None:
    data = {} if values is None else {"data": {key: base64.b64encode(value).decode() for key, value in values.items()}}
    meta = {"name": "mine", "namespace": "ops", **more}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", **data})


def stored(api: FakeApiserver) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in api.object(AT)["data"].items()}


def methods(api: FakeApiserver) -> list[str]:
    return [request.method for request in api.requests]


async def test_it_is_made_once_and_only_read_after_that(api: FakeApiserver, client: apiserver.Kube) -> None:
    assert await made_once(client, "ops", "mine", {"key": b"first"}) == {"key": b"first"}
    assert await made_once(client, "ops", "mine", {"key": b"second"}) == {"key": b"first"}
    assert methods(api) == ["GET", "POST", "GET"]
    made = api.object(AT)
    assert (made["type"], made["metadata"]["labels"]) == (
        "Opaque",
        {"app.kubernetes.io/managed-by": "incident-operator"},
    )


async def test_two_that_begin_together_get_the_same(api: FakeApiserver, client: apiserver.Kube) -> None:
    values = [{"key": b"one"}, {"key": b"other"}]
    found = await asyncio.gather(*(made_once(client, "ops", "mine", each) for each in values))
    assert found[0] == found[1] == stored(api)


async def test_who_comes_second_takes_what_the_first_has_made(api: FakeApiserver, client: apiserver.Kube) -> None:
    api.interleave(lambda: put(api, {"key": b"theirs"}), method="POST", path="/secrets")
    assert await made_once(client, "ops", "mine", {"key": b"ours"}) == {"key": b"theirs"}
    assert methods(api) == ["GET", "POST", "GET"]


@pytest.mark.parametrize("there", [{"other": b"yours", "key": b"kept"}, {"other": b"yours"}, {}, None])
async def test_missing_keys_are_added_and_nothing_is_overwritten(
    api: FakeApiserver, client: apiserver.Kube, there: dict[str, bytes] | None
) -> None:
    put(api, there, labels={"mine": "too"})
    found = await made_once(client, "ops", "mine", {"key": b"new", "next": b"new"})
    assert found == stored(api) == {"key": b"new", "next": b"new", **(there or {})}
    assert api.object(AT)["metadata"]["labels"] == {"mine": "too"}


async def test_a_key_that_somebody_else_adds_at_that_moment_is_theirs(
    api: FakeApiserver, client: apiserver.Kube
) -> None:
    put(api, {})
    api.interleave(lambda: put(api, {"key": b"theirs"}), method="PATCH", path="/secrets")
    assert await made_once(client, "ops", "mine", {"key": b"ours"}) == {"key": b"theirs"}
    assert stored(api) == {"key": b"theirs"}


async def test_an_answer_that_was_lost_is_not_made_a_second_time(api: FakeApiserver, client: apiserver.Kube) -> None:
    api.inject(Fault.REPLY_LOST, method="POST")
    with pytest.raises(apiserver.Unavailable):
        await made_once(client, "ops", "mine", {"key": b"first"})
    assert await made_once(client, "ops", "mine", {"key": b"second"}) == {"key": b"first"}


@pytest.mark.parametrize(("verb", "there"), [("get", None), ("create", None), ("patch", {"other": b"x"})])
async def test_missing_rights_are_told_with_the_role_that_is_needed(
    api: FakeApiserver, client: apiserver.Kube, verb: str, there: dict[str, bytes] | None
) -> None:
    if there is not None:
        put(api, there)
    api.forbid("", verb, "secrets")
    with pytest.raises(apiserver.Forbidden) as caught:
        await made_once(client, "ops", "mine", {"key": b"secret-value"})
    assert f"cannot {verb} resource" in str(caught.value)
    needed = "a Role in namespace ops has to allow create on secrets, and get and patch on the Secret mine"
    assert needed in str(caught.value)
    assert "secret-value" not in str(caught.value)


async def test_who_is_overtaken_again_and_again_gives_up(api: FakeApiserver, client: apiserver.Kube) -> None:
    put(api, {})
    api.inject(Fault.CONFLICT, method="PATCH", times=5)
    with pytest.raises(apiserver.Conflict, match="Secret ops/mine changes all the time"):
        await made_once(client, "ops", "mine", {"key": b"ours"})
