"""Silenced alerts: told as such in their Incidents, and their end noticed, from the API of each Alertmanager by itself."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from incident_operator.api.incident import Incident
from incident_operator.clients import addresses
from incident_operator.kubernetes import discovery
from incident_operator.receiver.polling import AlertmanagerPoll
from tests.kubernetes.fake_faults import Fault
from tests.receiver import messages
from tests.receiver.messages import alert
from tests.receiver.receiver_setup import Receivers
from tests.receiver.test_polling import DATE, reader, ready

START = "2025-10-21T00:10:12.500Z"
UNTIL = "2025-10-21T03:00:00.000Z"


@dataclass
class Process:
    """One Alertmanager."""

    started: str = "2025-10-20T12:00:00.000Z"
    alerts: list[messages.Json] = field(default_factory=list)
    silences: dict[str, messages.Json] = field(default_factory=dict)
    away: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)
    restarts_while_asked: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.away:
            return web.Response(status=503)
        match request.path.removeprefix("/api/v2/").split("/"):
            case ["status"]:
                told = {"uptime": self.started, "cluster": {"status": "ready"}, "versionInfo": {"version": "0.28.0"}}
                if self.restarts_while_asked:
                    self.started = f"2025-10-21T00:00:00.{len(self.asked):03}Z"
                return web.json_response({**told, "config": {"original": ""}})
            case ["alerts"]:
                return web.json_response(self.alerts)
            case ["alerts", "groups"]:
                active = [each for each in self.alerts if each["status"]["state"] == "active"]
                groups = [{"labels": {}, "receiver": {"name": "x"}, "alerts": active}]
                return web.json_response(groups, headers={"Date": DATE})
            case ["silence", name] if name in self.silences:
                return web.json_response(self.silences[name])
            case _:
                return web.Response(status=404)


@contextlib.asynccontextmanager
async def running(*processes: Process, hosts: tuple[str, ...] = (), port: int = 0) -> AsyncIterator[None]:
    """Have Alertmanagers answer, each at a host of its own where these are named, all at one port then."""
    async with contextlib.AsyncExitStack() as stack:
        for number, process in enumerate(processes):
            app = web.Application()
            app.router.add_get("/api/v2/{rest:.*}", process.answer)
            host = hosts[number] if hosts else "127.0.0.1"
            server = await stack.enter_async_context(TestServer(app, host=host, port=port or None))
            port = server.port if hosts else 0
            process.url = str(server.make_url("")).rstrip("/")
        yield


def listed(*silences: str, **labels: str) -> messages.Json:
    """An alert as the API lists it."""
    told = alert(starts=START, ends="2025-10-21T00:24:00.000Z", **labels)
    state = {"state": "suppressed" if silences else "active", "silencedBy": list(silences), "inhibitedBy": []}
    return {**told, "status": state}


def silence(by: str = "bob@dawsos.com", until: str = UNTIL) -> messages.Json:
    return {"id": "x", "createdBy": by, "endsAt": until, "comment": "on it", "status": {"state": "active"}}


def connect(receivers: Receivers, *processes: Process, name: str = "alerts", **where: Any) -> None:
    where = where or {"addresses": [process.url for process in processes]}
    spec = {"type": "alertmanager", "alertmanager": where}
    meta = {"name": name, "namespace": "prod"}
    receivers.api.put({"apiVersion": "incidents.dev/v1alpha1", "kind": "Connection", "metadata": meta, "spec": spec})


async def fires(receivers: Receivers, **labels: str) -> None:
    await receivers.one.take(alert(starts="2025-10-21T00:10:12.500300700Z", **labels))


def stored(receivers: Receivers) -> Incident:
    return Incident.model_validate(receivers.incident())


async def rounds(reading: AlertmanagerPoll, number: int) -> None:
    for _ in range(number):
        await reading.once()


async def test_the_end_of_a_silenced_alert_is_noticed_and_says_where_it_comes_from(receivers: Receivers):
    process = Process(alerts=[listed("s-1")], silences={"s-1": silence()})
    await fires(receivers)
    async with running(process):
        connect(receivers, process)
        reading = reader(receivers)
        await reading.once()
        process.alerts = []
        await reading.once()
        assert stored(receivers).spec.alerts[0].status == "firing"
        await reading.once()
    (ended,) = stored(receivers).spec.alerts
    assert ended.status == "resolved"
    assert (
        ended.end_told_by
        == "while it was silenced or inhibited; missing in 2 later lists of each Alertmanager, says Connection alerts"
    )
    assert ended.ends_at is not None
    assert ready(receivers) == ("True", "")


async def test_it_is_told_that_an_alert_is_silenced_until_when_and_by_whom(receivers: Receivers):
    process = Process(alerts=[listed("s-1", "s-2")])
    process.silences = {"s-1": silence("early", "2025-10-21T01:00:00.000Z"), "s-2": silence("bob\n\u202e@dawsos.com")}
    await fires(receivers)
    async with running(process):
        connect(receivers, process)
        reading = reader(receivers)
        await reading.once()
        kept = stored(receivers).spec.silence
        assert kept is not None
        assert (kept.alerts, kept.connection, kept.end_is_noticed) == (1, "alerts", True)
        assert kept.until is not None
        assert kept.until.isoformat() == "2025-10-21T03:00:00+00:00"
        assert "\n" not in kept.by
        assert "\u202e" not in kept.by
        writes = len(receivers.writes)
        await rounds(reading, 3)
        await reader(receivers).once()
        assert len(receivers.writes) == writes, "what is known costs no write"
        process.alerts = [listed()]
        await reading.once()
        assert stored(receivers).spec.silence is None
        assert len(receivers.writes) == writes + 1


async def test_behind_one_url_silences_are_told_and_no_end_is_noticed(receivers: Receivers):
    process = Process(alerts=[listed("s-1")], silences={"s-1": silence()})
    await fires(receivers)
    async with running(process):
        connect(receivers, url=process.url)
        reading = reader(receivers)
        await reading.once()
        kept = stored(receivers).spec.silence
        assert kept is not None
        assert not kept.end_is_noticed
        process.alerts = []
        await rounds(reading, 4)
    assert stored(receivers).spec.alerts[0].status == "firing"
    assert "/api/v2/status" not in process.asked


@pytest.mark.parametrize("trouble", ["away", "restarts", "restarts while asked", "never had it"])
async def test_a_peer_that_says_nothing_of_it_ends_nothing(receivers: Receivers, trouble: str):
    has, other = Process(alerts=[listed("s-1")]), Process(started="2025-10-20T13:00:00.000Z")
    await fires(receivers)
    async with running(has, other):
        connect(receivers, has, other)
        reading = reader(receivers)
        await reading.once()
        if trouble == "never had it":
            await rounds(reading, 4)
        elif trouble == "away":
            has.away = True
            await rounds(reading, 4)
        else:
            has.alerts, has.started = [], "2025-10-21T00:15:00.000Z"
            has.restarts_while_asked = trouble == "restarts while asked"
            await rounds(reading, 4)
    assert stored(receivers).spec.alerts[0].status == "firing"


async def test_one_that_does_not_answer_is_told_and_the_open_alerts_of_the_others_are_read(receivers: Receivers):
    here, away = Process(alerts=[listed(pack_date="lost")]), Process(away=True)
    async with running(here, away):
        connect(receivers, away, here)
        await reader(receivers).once()
    assert stored(receivers).spec.common_labels["pack_date"] == "lost"
    assert ready(receivers) == ("False", f"{away.url}: GET /api/v2/alerts/groups was answered with 503")


async def test_every_address_of_a_headless_service_is_asked_by_itself(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
):
    one, two = Process(alerts=[listed("s-1")]), Process(alerts=[listed("s-1")])
    hosts = ("127.0.0.1", "127.0.0.2")

    async def resolved(name: str, _port: int) -> list[str]:
        assert name == "alertmanager-operated.monitoring.svc"
        return list(hosts)

    monkeypatch.setattr(addresses, "resolved", resolved)
    await fires(receivers)
    async with running(one, two, hosts=hosts):
        port = one.url.rpartition(":")[2]
        connect(receivers, addresses=[f"http://alertmanager-operated.monitoring.svc:{port}"])
        reading = reader(receivers)
        await reading.once()
        one.alerts = []
        await rounds(reading, 3)
        assert stored(receivers).spec.alerts[0].status == "firing", "the other one has it still"
        two.alerts = []
        await rounds(reading, 2)
    assert stored(receivers).spec.alerts[0].status == "resolved"
    assert ready(receivers) == ("True", "")


async def test_an_end_that_could_not_be_stored_is_stored_in_the_next_round(receivers: Receivers):
    process = Process(alerts=[listed("s-1")])
    await fires(receivers)
    async with running(process):
        connect(receivers, process)
        reading = reader(receivers)
        await reading.once()
        process.alerts = []
        await reading.once()
        receivers.api.inject(Fault.INTERNAL_ERROR, method="PATCH", path="incidents")
        await reading.once()
        assert stored(receivers).spec.alerts[0].status == "firing"
        await reading.once()
    assert stored(receivers).spec.alerts[0].status == "resolved"


async def test_two_connections_that_differ_do_not_overwrite_each_other(receivers: Receivers):
    quiet, loud = Process(alerts=[listed("s-1")], silences={"s-1": silence()}), Process(alerts=[listed()])
    await fires(receivers)
    async with running(quiet, loud):
        connect(receivers, quiet)
        connect(receivers, loud, name="other")
        reading = reader(receivers)
        await rounds(reading, 2)
        writes = len(receivers.writes)
        await rounds(reading, 3)
    assert len(receivers.writes) == writes
    kept = stored(receivers).spec.silence
    assert kept is not None
    assert kept.connection == "alerts"


async def test_what_a_connection_that_is_gone_told_is_told_anew_once_it_is_over(receivers: Receivers):
    process = Process(alerts=[listed("s-1")], silences={"s-1": silence(until="2025-10-21T00:19:00.000Z")})
    await fires(receivers)
    async with running(process):
        connect(receivers, process, name="gone")
        await reader(receivers).once()
        receivers.api.remove(discovery.connections("prod", "gone"))
        process.silences = {"s-1": silence()}
        connect(receivers, process)
        await reader(receivers).once()
    kept = stored(receivers).spec.silence
    assert kept is not None
    assert kept.connection == "alerts"


async def test_where_nothing_fires_nothing_more_is_asked(receivers: Receivers):
    process = Process(alerts=[])
    async with running(process):
        connect(receivers, process)
        await reader(receivers).once()
    assert process.asked == ["/api/v2/alerts/groups"]


@pytest.mark.parametrize("where", [{"serviceAccountName": "x"}, {"addresses": []}], ids=["neither", "none"])
async def test_a_connection_that_leads_nowhere_is_told(receivers: Receivers, where: messages.Json, capsys):
    connect(receivers, **where)
    await reader(receivers).once()
    told = capsys.readouterr().out + str(receivers.api.object(discovery.connections("prod", "alerts")).get("status"))
    assert "either url or addresses" in told or "addresses" in told


HOSTILE_NAMES = ["..", ".", "%2e%2e", "a/b", "\x00", "a\r\nb: c", "x" * 1_000_000, "", "?x=1#f", "\ud800"]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
async def test_a_silence_may_have_any_name_and_costs_no_other_alert_its_end(receivers: Receivers, name: str):
    process = Process(alerts=[listed(name)], silences={"s-1": silence()})
    await fires(receivers)
    async with running(process):
        connect(receivers, process)
        reading = reader(receivers)
        await reading.once()
        assert ready(receivers) == ("True", ""), "the round came to its end"
        kept = stored(receivers).spec.silence
        assert kept is not None
        assert (kept.alerts, kept.until, kept.by) == (1, None, "")
        process.alerts = []
        await rounds(reading, 2)
    assert stored(receivers).spec.alerts[0].status == "resolved"
