"""Definitions that were just installed are waited for; those that are missing are named."""

import asyncio

import pytest

from incident_operator.kubernetes import apiserver, state
from tests.kubernetes.fake_apiserver import FakeApiserver


@pytest.fixture
def bare(api: FakeApiserver) -> FakeApiserver:
    """An apiserver that does not serve our kinds."""
    api._kinds = [kind for kind in api._kinds if kind.group != "incidents.dev"]
    return api


async def test_what_is_served_a_moment_later_is_waited_for(
    bare: FakeApiserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    async with apiserver.Kube(bare.access()) as client:
        waiting = asyncio.create_task(state.wait_until_served(client))
        for kind, plural in (("Incident", "incidents"), ("Runbook", "runbooks"), ("Connection", "connections")):
            await asyncio.sleep(0.05)
            assert not waiting.done()
            bare.serve("incidents.dev", "v1alpha1", kind, plural)
        await asyncio.wait_for(waiting, 5)


async def test_what_stays_missing_is_named_with_what_to_do(
    bare: FakeApiserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "PATIENCE", 0.5)
    bare.serve("incidents.dev", "v1alpha1", "Incident", "incidents")
    async with apiserver.Kube(bare.access()) as client:
        with pytest.raises(apiserver.NotFound, match=r"connections, runbooks; .* kubectl apply -f crds/"):
            await state.wait_until_served(client)


async def test_a_kind_that_is_listed_before_it_can_be_read_is_read_a_moment_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    answers: list[Exception | None] = [
        apiserver.Unavailable(429, "TooManyRequests", "initializing", maybe_applied=True),
        None,
    ]

    async def read() -> None:
        if answer := answers.pop(0):
            raise answer

    await state.patiently(read)
    assert answers == []


async def test_a_read_that_is_put_off_for_too_long_ends_with_what_it_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(state, "PATIENCE", 0.05)
    tries = []

    async def read() -> None:
        tries.append(1)
        raise apiserver.Unavailable(429, "TooManyRequests", "initializing", maybe_applied=True)

    with pytest.raises(apiserver.Unavailable, match="initializing"):
        await state.patiently(read)
    assert len(tries) == 6


async def test_a_read_that_is_refused_is_not_tried_again() -> None:
    tries = []

    async def read() -> None:
        tries.append(1)
        raise apiserver.Forbidden(403, "Forbidden", "not yours")

    with pytest.raises(apiserver.Forbidden):
        await state.patiently(read)
    assert len(tries) == 1


async def test_where_only_too_many_requests_are_waited_out_all_else_is_told_at_once(monkeypatch) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    answers = [
        apiserver.Unavailable(429, "TooManyRequests", "busy", maybe_applied=True),
        apiserver.Unavailable(503, "Away", "away", maybe_applied=True),
    ]

    async def read() -> None:
        raise answers.pop(0)

    with pytest.raises(apiserver.Unavailable, match="away"):
        await state.patiently(read, only=state.TOO_MANY)
    assert answers == []
