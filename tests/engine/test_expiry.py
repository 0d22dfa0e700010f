"""The time to live of closed Incidents: nothing open goes, nothing that changed, and the first of a group goes last."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from incident_operator.engine.expiry import Expiry
from incident_operator.kubernetes import apiserver, discovery
from incident_operator.kubernetes.apiserver import Reads
from incident_operator.kubernetes.discovery import EVERYWHERE
from tests.kubernetes import fake_routes
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.reflecting import until

CREATED = datetime(2025, 10, 21, tzinfo=UTC)
"""When the fake says that everything was created."""
TTL = timedelta(hours=720)
HOUR = timedelta(hours=1)


@asynccontextmanager
async def expiring(after: timedelta, *namespaces: str) -> AsyncIterator[tuple[FakeApiserver, Expiry]]:
    """An expiry at that time after the creation of everything."""
    async with FakeApiserver() as api, apiserver.Kube(api.access()) as client, Reads(api.access()) as reads:
        yield api, Expiry(client, reads, lambda: CREATED + after, TTL, namespaces or EVERYWHERE, seconds_each=0.0)


def incident(name: str, phase: str = "Resolved", *, ended: datetime | None = CREATED, **meta: Any) -> dict[str, Any]:
    labels = {"incidents.dev/group": name.rpartition("-")[0]}
    times = {"times": {"resolved": ended.isoformat()}} if ended else {}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"namespace": "prod", "name": name, "labels": labels, **meta},
        "spec": {},
        "status": {"phase": phase, **times},
    }


def failed(name: str, judged: datetime) -> dict[str, Any]:
    """One that never resolved: aborted, say."""
    made = incident(name, "Failed", ended=None)
    when = {"type": "Succeeded", "status": "False", "reason": "Aborted", "lastTransitionTime": judged.isoformat()}
    made["status"]["conditions"] = [when]
    return made


def names(api: FakeApiserver, namespace: str | None = None) -> list[str]:
    return [each["metadata"]["name"] for each in api.objects(discovery.incidents(namespace))]


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        (incident("a-00000-1", "Resolved"), False),
        (incident("a-00000-1", "Failed", ended=None), False),
        (incident("a-00000-1", "Suppressed"), False),
        (incident("a-00000-1", "NeedsHuman"), True),
        (incident("a-00000-1", "Pending", ended=None), True),
        (incident("a-00000-1", ended=CREATED + 2 * HOUR), True),
        (failed("a-00000-1", judged=CREATED), False),
        (failed("a-00000-1", judged=CREATED + 2 * HOUR), True),
        (incident("a-00000-1", deletionTimestamp="2025-10-21T00:00:00Z", finalizers=["x/y"]), True),
    ],
    ids=[
        "resolved",
        "failed",
        "suppressed",
        "needs a human",
        "pending",
        "ended later",
        "failed early",
        "failed later",
        "is being deleted",
    ],
)
async def test_what_is_closed_for_its_time_to_live_is_deleted_and_nothing_else(made: dict, kept: bool) -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(made)
        assert await expiry.round() == (0 if kept else 1)
        assert names(api) == (["a-00000-1"] if kept else [])


async def test_nothing_younger_than_the_time_to_live_is_even_read() -> None:
    async with expiring(TTL - HOUR) as (api, expiry):
        api.put(incident("a-00000-1"))
        assert await expiry.round() == 0
        assert [one for one in api.requests if one.path.endswith("/a-1")] == []


async def test_the_first_of_a_group_goes_last() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        for name in ("a-00000-1", "a-00000-2", "a-00000-10", "b-00000-1"):
            api.put(incident(name))
        await expiry.round()
        assert names(api) == ["a-00000-1"]
        await expiry.round()
        assert names(api) == []


async def test_the_first_of_a_group_stays_while_another_is_open() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(incident("a-00000-1"))
        api.put(incident("a-00000-7", "Mitigating"))
        await expiry.round()
        await expiry.round()
        assert names(api) == ["a-00000-1", "a-00000-7"]


@pytest.mark.parametrize(
    "change",
    [
        lambda api: api.put(incident("a-00000-1", ended=CREATED + 2 * HOUR)),
        lambda api: (
            api.remove(discovery.incidents("prod", "a-00000-1")),
            api.put(incident("a-00000-1", "Pending", ended=None)),
        ),
    ],
    ids=["changed", "replaced"],
)
async def test_one_that_changes_at_that_moment_is_left_alone(change: Callable[[FakeApiserver], object]) -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(incident("a-00000-1"))
        api.interleave(lambda: change(api), method="DELETE")
        assert await expiry.round() == 0
        assert names(api) == ["a-00000-1"]


async def test_one_that_is_gone_or_cannot_be_read_does_not_end_the_round() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        odd = incident("a-00000-1")
        api.put({**odd, "spec": {"severity": "P9"}})
        api.put(incident("b-00000-1"))
        api.put(incident("c-1"))
        api.interleave(lambda: api.remove(discovery.incidents("prod", "b-00000-1")), method="GET", path="/b-00000-1")
        assert await expiry.round() == 1
        assert names(api) == ["a-00000-1"]


async def test_where_phases_cannot_be_selected_open_ones_are_still_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fake_routes.SELECTABLE, "Incident", frozenset())
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(incident("a-00000-1", "Verifying"))
        api.put(incident("b-00000-1"))
        assert await expiry.round() == 1
        assert names(api) == ["a-00000-1"]


async def test_only_served_namespaces_are_looked_at() -> None:
    async with expiring(TTL + HOUR, "prod") as (api, expiry):
        api.put(incident("a-00000-1"))
        api.put(incident("a-00000-1", namespace="stage"))
        await expiry.round()
        assert (names(api, "prod"), names(api, "stage")) == ([], ["a-00000-1"])


async def test_an_apiserver_that_is_away_ends_the_round_with_an_error_that_the_next_one_outlives() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(incident("a-00000-1"))
        api.inject(Fault.INTERNAL_ERROR)
        with pytest.raises(apiserver.Unavailable):
            await expiry.round()
        assert await expiry.round() == 1


async def test_a_process_that_leads_no_more_deletes_nothing_more() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        for name in ("a-00000-1", "b-00000-1", "c-1"):
            api.put(incident(name))
        leading = dataclasses.replace(expiry, leads=lambda: len(names(api)) > 1)
        assert await leading.round() == 2
        assert names(api) == ["c-1"]


async def test_it_goes_on_round_after_round_and_a_failed_one_is_only_told() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        quick = dataclasses.replace(expiry, ttl=timedelta(seconds=1))
        api.inject(Fault.INTERNAL_ERROR)
        api.put(incident("a-00000-1"))
        running = asyncio.create_task(quick.run())
        await until(lambda: not names(api))
        running.cancel()


async def test_without_a_time_to_live_nothing_is_asked_or_deleted() -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(incident("a-00000-1"))
        running = asyncio.create_task(dataclasses.replace(expiry, ttl=timedelta()).run())
        await asyncio.sleep(0.05)
        assert not running.done()
        running.cancel()
        assert api.requests == []


@pytest.mark.parametrize(
    "made",
    [incident("a-00000-1", labels={}), incident("by-hand"), incident("a-00000-2")],
    ids=["no group", "no number", "a later one"],
)
async def test_one_that_is_first_of_no_group_is_deleted_without_a_look_at_others(made: dict) -> None:
    async with expiring(TTL + HOUR) as (api, expiry):
        api.put(made)
        assert await expiry.round() == 1
        assert [one for one in api.requests if "labelSelector" in one.params] == []


async def test_an_apiserver_that_refuses_every_list_ends_the_round() -> None:
    async with expiring(TTL + HOUR) as (_, expiry):
        with pytest.raises(apiserver.Invalid):
            await dataclasses.replace(expiry, reads=Refusing()).round()


class Refusing(Reads):
    """Lists nothing, whatever is selected."""

    def __init__(self) -> None:
        pass

    async def page(self, *_: object) -> bytes:
        raise apiserver.Invalid(400, "BadRequest", "no such list")
