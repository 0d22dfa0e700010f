"""The reflector: what the apiserver tells arrives once, and what it does not tell is found all the same."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Reads, elements, members, split
from incident_operator.kubernetes.errors import ApiError
from incident_operator.kubernetes.reflector import Pace
from tests.kubernetes import fake_routes, fake_watch
from tests.kubernetes.apiservers import Apiserver
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.reflecting import until, watching

INCIDENTS = discovery.incidents("prod")


def incident(name: str, phase: str = "", **spec: object) -> dict:
    made = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": {"namespace": "prod", "name": name}}
    return {**made, "spec": spec, **({"status": {"phase": phase}} if phase else {})}


async def streams(api: FakeApiserver, count: int = 1) -> None:
    """Wait until so many watches were asked for, and the last one is open."""
    await until(lambda: len(watches(api)) >= count and api.watches.open)


def watches(api: FakeApiserver) -> list[str]:
    return [one.params["resourceVersion"] for one in api.requests if "watch" in one.params]


def lists(api: FakeApiserver) -> int:
    return len([one for one in api.requests if one.path == INCIDENTS and "watch" not in one.params])


async def test_what_is_there_and_what_comes_is_seen_and_what_closes_or_goes_has_left(apiserver: Apiserver) -> None:
    await apiserver.widget("there")
    closed = await apiserver.widget("closed")
    await apiserver.client.merge_patch(apiserver.widgets("closed", "status"), {"status": {"phase": "Resolved"}})
    async with watching(apiserver.access, apiserver.widgets()) as told:
        assert told.names() == ["there"]
        await apiserver.widget("new")
        await told.until("seen", "new")
        await apiserver.client.merge_patch(apiserver.widgets("new", "status"), {"status": {"phase": "Mitigating"}})
        await until(lambda: ("seen", "new", "Mitigating") in told.events)
        await apiserver.client.merge_patch(apiserver.widgets("new", "status"), {"status": {"phase": "Failed"}})
        await told.until("left", "new")
        await apiserver.client.delete(apiserver.widgets("there"))
        await told.until("left", "there")
        await apiserver.client.delete(apiserver.widgets("closed"))
        await apiserver.widget("last")
        await told.until("seen", "last")
    assert closed["metadata"]["name"] not in told.names() + told.names("left")
    assert ("left", "new", "Mitigating") in told.events, (
        "it is told in the state before it left: closed or gone is not said"
    )


async def test_a_list_longer_than_a_page_is_read_to_its_end(apiserver: Apiserver) -> None:
    for number in range(5):
        await apiserver.widget(f"w{number}")
    async with watching(apiserver.access, apiserver.widgets(), pace=Pace(chunk=2)) as told:
        assert told.names() == [f"w{number}" for number in range(5)]


async def test_an_ended_watch_goes_on_from_its_bookmark_without_a_list(apiserver: Apiserver) -> None:
    async with watching(apiserver.access, apiserver.widgets(), pace=Pace(watch=1.0, pauses=(0.01,))) as told:
        await apiserver.client.create(
            discovery.configmaps(apiserver.namespace), {"metadata": {"name": "moves-the-version"}}
        )
        await asyncio.sleep(2.5)
        await apiserver.widget("later")
        await told.until("seen", "later")
    assert told.events == [("seen", "later", "")]


async def test_the_apiserver_says_that_a_version_is_too_old_and_all_is_listed(api: FakeApiserver) -> None:
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.watches.hide()
        api.put(incident("unseen"))
        api.put(incident("seen"))
        api.watches.compact()
        api.watches.send(fake_watch.line("ERROR", {"kind": "Status", "code": 410}))
        await told.until("seen", "unseen")
    assert lists(api) == 2


@pytest.mark.parametrize("times", [1, 3])
async def test_a_watch_refused_as_gone_begins_with_a_list(api: FakeApiserver, times: int) -> None:
    api.inject(Fault.GONE, path="incidents", times=1)  # the first list, told below
    with pytest.raises(ApiError):
        async with watching(api.access(), INCIDENTS):
            pass
    api.put(incident("a"))
    async with watching(api.access(), INCIDENTS) as told:
        api.inject(Fault.GONE, path="incidents", times=times)
        await streams(api)
        api.put(incident("b"))
        await told.until("seen", "b")
    assert told.names() == ["a", "b"], "what has not changed is not told again"


async def test_an_added_event_that_is_lost_is_found_by_the_next_list(api: FakeApiserver) -> None:
    pace = Pace(watch=1.0, between_lists=0.5, pauses=(0.01,))
    async with watching(api.access(), INCIDENTS, pace=pace) as told:
        await streams(api)
        api.watches.hide()
        api.put(incident("hidden"))
        await told.until("seen", "hidden")
    assert lists(api) >= 2


async def test_a_deletion_that_is_lost_is_found_by_the_next_list(api: FakeApiserver) -> None:
    api.put(incident("going"))
    api.put(incident("closing"))
    async with watching(api.access(), INCIDENTS, pace=Pace(watch=1.0, between_lists=0.5, pauses=(0.01,))) as told:
        await streams(api)
        api.watches.hide(3)
        api.remove(discovery.incidents("prod", "going"))
        api.put(incident("closing", "Resolved"))
        await told.until("left", "going")
        await told.until("left", "closing")


async def test_an_old_state_that_is_told_again_changes_nothing(api: FakeApiserver) -> None:
    api.put(incident("a", "Mitigating"))
    old = api.object(discovery.incidents("prod", "a"))
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.put(incident("a", "Resolved"))
        await told.until("left", "a")
        api.watches.send(fake_watch.line("ADDED", old))
        api.put(incident("b"))
        await told.until("seen", "b")
    assert told.names() == ["a", "b"]


@pytest.mark.parametrize("how", [fake_watch.BREAK, fake_watch.END])
async def test_a_lost_connection_is_taken_up_where_it_was(api: FakeApiserver, how: bytes) -> None:
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.put(incident("a"))
        await told.until("seen", "a")
        api.watches.send(how)
        api.put(incident("b"))
        await told.until("seen", "b")
    assert told.names() == ["a", "b"]
    assert lists(api) == 1


async def test_a_stream_that_is_silent_for_longer_than_its_time_is_given_up(api: FakeApiserver) -> None:
    pace = Pace(watch=1.0, slack=-0.8, pauses=(0.01,))
    async with watching(api.access(), INCIDENTS, pace=pace) as told:
        await streams(api)
        api.watches.open.clear()  # this one is told nothing any more
        api.put(incident("a"))
        await told.until("seen", "a")
    assert lists(api) == 1


@pytest.mark.parametrize(
    "text",
    [b"not json\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {"metadata": 5}}\n', b"x" * 9_000_000],
    ids=["no JSON", "no object", "no metadata", "endless line"],
)
async def test_what_cannot_be_read_ends_in_a_list_and_not_in_silence(api: FakeApiserver, text: bytes) -> None:
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.watches.hide()
        api.put(incident("hidden"))
        api.watches.send(text)
        await told.until("seen", "hidden")


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.TOO_MANY_REQUESTS, Fault.UNAUTHORIZED, Fault.DROPPED])
async def test_an_apiserver_in_trouble_is_asked_again_with_growing_pauses(api: FakeApiserver, fault: Fault) -> None:
    api.put(incident("a"))
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.inject(fault, path="incidents", times=3)
        api.watches.send(fake_watch.END)
        api.watches.send(fake_watch.END)
        await streams(api, 5)
        api.put(incident("b"))
        await told.until("seen", "b")
    assert lists(api) == 1


async def test_retry_after_is_obeyed(api: FakeApiserver) -> None:
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api._faults.headers["Retry-After"] = "1"
        api.inject(Fault.TOO_MANY_REQUESTS, path="incidents")
        api.watches.send(fake_watch.END)
        await until(lambda: len(watches(api)) == 2)
        await asyncio.sleep(0.3)
        assert len(watches(api)) == 2
        api.put(incident("a"))
        await told.until("seen", "a")


async def test_a_stream_that_ends_at_once_again_and_again_is_not_asked_without_a_pause(api: FakeApiserver) -> None:
    pace = Pace(watch=30.0, pauses=(0.05, 0.1, 0.2))
    async with watching(api.access(), INCIDENTS, pace=pace):
        for _ in range(50):
            api.watches.send(fake_watch.END)
            await asyncio.sleep(0.01)
    assert len(watches(api)) < 8


async def test_where_phases_cannot_be_selected_all_are_watched(
    api: FakeApiserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fake_routes.SELECTABLE, "Incident", frozenset())
    api.put(incident("closed", "Resolved"))
    async with watching(api.access(), INCIDENTS) as told:
        await streams(api)
        api.put(incident("closing"))
        api.put(incident("closing", "Resolved"))
        await until(lambda: ("seen", "closing", "Resolved") in told.events)
        assert ("seen", "closed", "Resolved") in told.events


async def test_one_that_cannot_be_read_does_not_keep_others_from_being_seen(api: FakeApiserver) -> None:
    api.put(incident("dreaming", "Dreaming"))
    api.put(incident("odd", alerts="none"))
    with capture_logs() as logs:
        async with watching(api.access(), INCIDENTS) as told:
            await streams(api)
            api.put(incident("odd", alerts=[5]))
            api.put(incident("fine"))
            await told.until("seen", "fine")
    assert told.names() == ["dreaming", "fine"]
    assert [one["name"] for one in logs if one["log_level"] == "error"] == ["dreaming", "odd", "odd"]


def as_text(made: dict, deep: str) -> bytes:
    """The object as the apiserver would write it, with a field and managed fields that no decoder takes."""
    meta = {**made["metadata"], "resourceVersion": "7", "managedFields": ["DEEP"]}
    text = json.dumps({**made, "metadata": meta, "spec": {"alerts": [], "free": "DEEP"}})
    return text.replace('"DEEP"', deep).encode()


@pytest.mark.parametrize("depth", [900, 1100, 9000])
async def test_one_nested_object_does_not_keep_the_others_of_its_page_or_watch_from_being_seen(
    api: FakeApiserver, depth: int
) -> None:
    deep = as_text(incident("deep"), '{"a":' * depth + "1" + "}" * depth)
    api.put(incident("before"))
    api.planted[INCIDENTS] = deep
    with capture_logs() as logs:
        async with watching(api.access(), INCIDENTS) as told:
            await streams(api)
            api.watches.send(
                b'{"type":"ADDED","object":%s}\n' % deep.replace(b'"7"', b'"%d"' % (api.watches.version + 1))
            )
            api.put(incident("between"))
            api.put(incident("after"))
            await told.until("seen", "after")
    assert [name for name in told.names() if name != "deep"] == ["before", "after"]
    unread = {one["name"] for one in logs if one["log_level"] == "error"}
    assert unread == (set() if depth < 1000 else {"deep"}), (
        "what it is nested in is skipped, as long as that is possible"
    )
    assert lists(api) == 1, "the stream goes on"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{}", {}),
        (b' { "a" : 1 , "b\\"," : "}{][,:\\\\" } ', {"a": b"1", 'b\\",': b'"}{][,:\\\\"'}),
        (b'{"a":[1,{"b":2}],"c":{"d":{}}}', {"a": b'[1,{"b":2}]', "c": b'{"d":{}}'}),
    ],
)
def test_an_object_is_taken_apart_without_reading_its_values(text: bytes, found: dict[str, bytes]) -> None:
    assert members(text) == found


def test_an_array_is_taken_apart_without_reading_its_elements() -> None:
    assert elements(b' [ {"a":[1,2]} ,"x,y",[[]] , 3] ') == [b'{"a":[1,2]}', b'"x,y"', b"[[]]", b"3"]
    assert elements(b"[]") == []


@pytest.mark.parametrize("text", [b"", b"5", b"[1", b'{"a":1}', b"[[1]"])
def test_what_is_not_an_array_is_not_taken_apart(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|ends before"):
        elements(text)


@pytest.mark.parametrize("text", [b"[1]", b"{1:2}", b'{"a" 1}'])
def test_what_is_not_an_object_is_not_taken_apart(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|no name"):
        members(text)


async def test_lines_are_whole_wherever_the_network_cuts_them() -> None:
    async def chunks(*texts: bytes) -> AsyncIterator[bytes]:
        for text in texts:
            yield text

    assert [line async for line in split(chunks(b"a", b"b\nc\n", b"\n", b"d", b"\ne"))] == [b"ab", b"c", b"d"]
    with pytest.raises(ApiError, match="longer than 3 bytes"):
        [line async for line in split(chunks(b"ab", b"cd"), longest=3)]


async def test_a_page_that_is_refused_is_an_error_of_the_client(api: FakeApiserver) -> None:
    api.inject(Fault.INTERNAL_ERROR)
    async with Reads(api.access()) as reads:
        with pytest.raises(kube.Unavailable):
            await reads.page(INCIDENTS, {})
