"""Bearer tokens in a Secret that the operator makes: rotated by hand, kept through restarts and deletions."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from incident_operator.kubernetes import apiserver, discovery
from incident_operator.receiver.auth import SecretTokens, TokenError, Tokens
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

AT = discovery.secrets("ops", "webhook")


@pytest.fixture
async def api() -> AsyncIterator[FakeApiserver]:
    async with FakeApiserver() as made:
        yield made


@pytest.fixture
async def client(api: FakeApiserver) -> AsyncIterator[apiserver.Kube]:
    async with apiserver.Kube(api.access()) as made:
        yield made


async def started(client: apiserver.Kube, *keys: str, every: float = 60.0) -> tuple[SecretTokens, Tokens]:
    source = SecretTokens(client, "ops", "webhook", keys or ("token",), every)
    await source.start()
    return source, Tokens(source)


def put(api: FakeApiserver, **values: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    meta = {"name": "webhook", "namespace": "ops"}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


def held(api: FakeApiserver) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in api.object(AT)["data"].items()}


def admitted(tokens: Tokens, *candidates: str) -> list[str]:
    return [each for each in candidates if tokens.admits(f"Bearer {each}")]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_the_first_start_makes_a_token_for_each_key(api, client):
    _, tokens = await started(client, "token", "next")
    made = held(api)
    assert set(made) == {"token", "next"}
    assert len(set(made.values())) == 2
    assert all(len(each) == 40 for each in made.values())
    assert admitted(tokens, *made.values(), "another", "") == list(made.values())


async def test_a_second_replica_and_a_restart_keep_the_token(api, client):
    await started(client)
    made = held(api)
    _, tokens = await started(client)
    assert held(api) == made
    assert admitted(tokens, made["token"]) == [made["token"]]


async def test_a_token_of_yours_is_taken_over_and_only_named_keys_count(api, client):
    put(api, token="yours\n", other="not-named")
    _, tokens = await started(client)
    assert admitted(tokens, "yours", "not-named") == ["yours"]
    assert held(api) == {"token": "yours\n", "other": "not-named"}


async def test_what_a_person_changes_counts_at_the_next_look(api, client):
    source, tokens = await started(client, "token", "next")
    for values, valid in (
        ({"token": "a", "next": "b"}, ["a", "b"]),
        ({"token": "c", "next": "b"}, ["b", "c"]),
        ({"next": "b"}, ["b"]),
        ({"next": ""}, []),
        ({"next": "d"}, ["d"]),
    ):
        put(api, **values)
        await source.look()
        assert admitted(tokens, "a", "b", "c", "d", "") == valid
        assert held(api) == values, "a look adds nothing"


async def test_a_secret_that_vanishes_is_made_again_with_the_same_tokens(api, client):
    source, tokens = await started(client, "token", "next")
    before = held(api)
    api.remove(AT)
    with capture_logs() as logs:
        await source.look()
    assert held(api) == before
    assert admitted(tokens, *before.values()) == list(before.values())
    assert [(one["log_level"], one["secret"]) for one in logs] == [("warning", "webhook")]


async def test_a_secret_that_vanished_with_its_last_token_is_made_anew(api, client):
    source, tokens = await started(client)
    old = held(api)["token"]
    put(api)
    await source.look()
    api.remove(AT)
    await source.look()
    assert admitted(tokens, old, held(api)["token"]) == [held(api)["token"]] != [old]


async def test_while_the_apiserver_is_away_the_last_tokens_count_and_it_goes_on_looking(api, client):
    put(api, token="old")
    source, tokens = await started(client, every=0.01)
    api.inject(Fault.SERVICE_UNAVAILABLE, method="GET", times=2)
    with capture_logs() as logs:
        running = asyncio.create_task(source.run())
        await until(lambda: len(logs) == 2)
        assert admitted(tokens, "old") == ["old"]
        put(api, token="new")
        await until(lambda: admitted(tokens, "old", "new") == ["new"])
        running.cancel()
    assert {one["event"] for one in logs[:2]} == {"The bearer tokens cannot be read again"}


async def test_a_defect_in_one_look_does_not_end_the_looking(api, client, monkeypatch):
    put(api, token="old")
    source, tokens = await started(client, every=0.01)
    look, failed = source.look, asyncio.Event()

    async def fails_once() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a defect")
        await look()

    monkeypatch.setattr(source, "look", fails_once)
    put(api, token="new")
    with capture_logs() as logs:
        running = asyncio.create_task(source.run())
        await until(lambda: admitted(tokens, "old", "new") == ["new"])
        running.cancel()
    assert "Reading the bearer tokens again failed" in {one["event"] for one in logs}


async def test_no_token_is_logged(api, client):
    source, _ = await started(client)
    with capture_logs() as logs:
        for values in ({"token": "visible-one"}, {"token": "visible-two"}, {}):
            put(api, **values)
            await source.look()
    assert len(logs) == 3
    assert "visible" not in str(logs)
    assert str(source) == "Secret ops/webhook, token"


async def test_where_nobody_could_post_it_does_not_start(api, client):
    put(api, token=" ")
    with pytest.raises(TokenError, match="no bearer token in Secret ops/webhook, token"):
        await started(client)
