"""How attacks are carried out and looked at, before an apiserver and a receiver that are not the real ones."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from demonstration import chart
from demonstration.cluster import REPOSITORY, Cluster
from demonstration.shell import Failure

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import compiler, reading
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.kubernetes import apiserver, discovery
from proofs.siege import hostile, judge, play, posting, program, rig, witnesses
from proofs.siege.hostile import NOT_TAKEN, Attack
from proofs.siege.judge import Limits
from proofs.siege.play import Play
from proofs.siege.posting import Sender, Urgent
from proofs.siege.told import Told
from proofs.siege.witnesses import SAMPLER, Seen, Witnesses
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

NOBODY = Cluster(REPOSITORY / "nobody", REPOSITORY / "nobody")


@dataclass
class Receiver:
    """Answers posts with what is next of its answers, the last one again and again."""

    answers: list[int] = field(default_factory=lambda: [200])
    bodies: list[Any] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.tokens.add(request.headers["Authorization"])
        return web.Response(status=self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/api/v1/alerts", made.handle)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/api/v1/alerts"))
        yield made


@pytest.fixture
async def sender(receiver: Receiver) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(session, receiver.url, "a-token")


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApiserver]:
    monkeypatch.setattr(play, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(play, "_AGAIN_EVERY", 0.01)
    async with FakeApiserver() as made:
        yield made


@pytest.fixture
async def made(api: FakeApiserver, sender: Sender) -> AsyncIterator[Play]:
    async with apiserver.Kube(api.access()) as client:
        yield Play(client, sender, Urgent(NOBODY, sender), Witnesses(NOBODY, client), patience=5.0, alerts=1)


def attack(*objects: dict[str, Any], **changes: Any) -> Attack:
    return Attack(**{"name": "one", "what": "one", "objects": lambda: list(objects), "accept": NOT_TAKEN, **changes})


def runbook(name: str = "one") -> dict[str, Any]:
    return hostile._runbook(name, diagnose=[hostile._step("look", http={"connection": "web"})])


def incident(name: str, phase: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "evil", "labels": {"incidents.dev/runbook": "one"}}
    return {
        "apiVersion": "incidents.dev/v1alpha1",
        "kind": "Incident",
        "metadata": meta,
        "spec": {},
        "status": {"phase": phase},
    }


def judged(api: FakeApiserver, name: str, status: str, reason: str) -> None:
    stored = api.object(discovery.runbooks("evil", name))
    ready = {"type": "Ready", "status": status, "reason": reason, "message": ""}
    api.put({**stored, "status": {"observedGeneration": stored["metadata"]["generation"], "conditions": [ready]}})


async def test_what_the_apiserver_refuses_is_told_as_refused(api: FakeApiserver, made: Play) -> None:
    api.inject(Fault.FORBIDDEN, method="POST", path="/runbooks")
    assert await made._carried_out(attack(runbook())) == Counter({Told.REFUSED: 1})


async def test_an_attack_ends_when_people_are_told_of_it(api: FakeApiserver, made: Play) -> None:
    playing = asyncio.create_task(made._carried_out(attack(runbook())))
    while not api.objects(discovery.runbooks("evil")):
        await asyncio.sleep(0.01)
    judged(api, "one", "False", "Invalid")
    assert await asyncio.wait_for(playing, 4) == Counter({Told.INVALID: 1})


async def test_an_apiserver_that_stumbles_is_looked_at_again(api: FakeApiserver, watched: Play) -> None:
    api.inject(Fault.SERVICE_UNAVAILABLE, method="GET", path="/runbooks/one", times=3)
    api.inject(Fault.SERVICE_UNAVAILABLE, method="GET", path="/pods", times=2)
    playing = asyncio.create_task(watched.attack(attack(runbook())))
    while not api.objects(discovery.runbooks("evil")):
        await asyncio.sleep(0.01)
    judged(api, "one", "False", "Invalid")
    row = await asyncio.wait_for(playing, 20)
    assert (row.told, row.failed) == (Counter({Told.INVALID: 1}), "")


async def test_what_nobody_is_told_of_is_told_as_nothing_once_time_is_over(api: FakeApiserver, made: Play) -> None:
    hurried = Play(made.kube, made.sender, made.urgent, made.witnesses, patience=0.05, alerts=1)
    assert await hurried._carried_out(attack(runbook())) == Counter({Told.NOTHING: 1})


async def test_a_runbook_that_is_ready_is_told_of_by_its_incidents(
    api: FakeApiserver, made: Play, receiver: Receiver
) -> None:
    playing = asyncio.create_task(made._carried_out(attack(runbook(), alerts=2)))
    while len(receiver.bodies) < 2:
        await asyncio.sleep(0.01)  # alerts go on coming while nothing is told
    assert receiver.bodies[0] == receiver.bodies[1]
    judged(api, "one", "True", "Ready")
    api.put(incident("one-1", "NeedsHuman"))
    assert await asyncio.wait_for(playing, 4) == Counter({Told.NEEDS_HUMAN: 1})


async def test_an_apiserver_that_stumbles_is_asked_again(api: FakeApiserver, made: Play) -> None:
    api.inject(Fault.SERVICE_UNAVAILABLE, method="POST", times=2)
    api.inject(Fault.REPLY_LOST, method="POST")
    assert await made._create(runbook())
    assert len(api.objects(discovery.runbooks("evil"))) == 1


@pytest.mark.parametrize("attack", hostile.attacks(), ids=lambda attack: attack.name)
def test_every_kind_of_object_has_its_place(attack: Attack) -> None:
    assert {each["kind"] for each in attack.objects()} <= set(play._PLACES)


def test_the_alerts_of_an_attack_say_their_namespace_and_stay_the_same() -> None:
    (busy,) = [each for each in hostile.attacks() if each.name == "busy"]
    at = posting.now()
    sent = [json.loads(message) for message in posting.messages(busy, at)]
    assert posting.messages(busy, at) == posting.messages(busy, at)
    assert [len(each["alerts"]) for each in sent] == [20] * 50
    assert {alert["labels"]["namespace"] for each in sent for alert in each["alerts"]} == set(hostile.busy_namespaces())
    assert {alert["labels"]["alertname"] for each in sent for alert in each["alerts"]} == {"Siege-busy"}


async def test_an_alert_is_sent_until_it_is_taken(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "_PAUSE", 0.0)
    receiver.answers = [503, 503, 200]
    assert await sender.send(b"{}")
    assert (len(receiver.bodies), receiver.tokens) == (3, {"Bearer a-token"})
    receiver.answers = [503]
    assert not await sender.send(b"{}", patience=0.05)


def test_an_alert_that_never_came_to_its_act_waited_for_ever() -> None:
    assert posting.waited({"a": 1.0, "b": 2.0}, {"a": 1.5}) == (0.5, float("inf"))


def test_the_sampler_tells_of_every_process_but_itself() -> None:
    program = [sys.executable, "-u", "-c", SAMPLER]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdin.close()  # whoever asked is gone
        assert process.wait(timeout=60) == 0
    sizes = json.loads(line)
    assert sizes[str(os.getpid())] > 1 << 20
    assert str(process.pid) not in sizes
    seen = Seen()
    seen.sampled(line)
    assert seen.memory == sum(sizes.values())


def test_a_limit_is_read_as_kubernetes_writes_it() -> None:
    def deployment(memory: str) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"memory": memory}}}]}}}}

    assert [rig.limit_of(deployment(text)) for text in ("512Mi", "1Gi", "1000")] == [512 << 20, 1 << 30, 1000]


def test_the_runbook_whose_p0_is_measured_can_run() -> None:
    (urgent,) = [each for each in rig.fort() if each["kind"] == "Runbook"]
    stored = {**urgent, "metadata": {**urgent["metadata"], "uid": "u", "generation": 1, "resourceVersion": "1"}}
    parsed = reading.runbook_of(stored)
    assert isinstance(parsed, Runbook)
    assert isinstance(compiler.compile_runbook(parsed, None, ACTIONS), Compiled)


def test_every_namespace_of_the_siege_is_served() -> None:
    served = set(rig.namespaces())
    assert {namespace for each in hostile.attacks() for namespace in each.namespaces} | {rig.FORT} == served


def test_the_program_knows_the_attacks_by_name() -> None:
    chosen = program._arguments(["--attacks", "when", "sixty", "--replicas", "1"])
    assert [each.name for each in program._chosen(chosen.attacks)] == ["when", "sixty"]
    assert len(program._chosen([])) == len(hostile.attacks())


KUBECTL = """#!/bin/sh
echo "$@" >> "$0.log"
echo '{"1": 1048576, "7": 2097152}'
exec sleep 60
"""
"""Stands for kubectl: notes what it is asked, and answers as the sampler does."""


class Waiting(Urgent):
    """Stands for the P0 alerts: each waits for a tenth of a second."""

    async def waits(self, name: str, number: int, pause: float, over: asyncio.Event | None = None) -> tuple[float, ...]:
        if over is not None:
            await over.wait()
        return (0.1,) * number


def pod(restarts: int = 0) -> dict[str, Any]:
    meta = {"name": "operator", "namespace": chart.NAMESPACE, "labels": {"app.kubernetes.io/instance": chart.RELEASE}}
    status = {"podIP": "127.0.0.1", "containerStatuses": [{"restartCount": restarts}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": []}, "status": status}


def lease() -> dict[str, Any]:
    meta = {"name": chart.RELEASE, "namespace": chart.NAMESPACE}
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 3600, "renewTime": datetime.now(UTC).isoformat()}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


@pytest.fixture
async def watched(
    api: FakeApiserver, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Play]:
    """A siege of one Pod, whose health is answered, and whose memory is told by what stands for kubectl."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    monkeypatch.setattr(witnesses, "_EVERY", 0.01)
    api.put(pod())
    api.put(lease())
    app = web.Application()
    app.router.add_get("/healthz", _healthy)
    cluster = Cluster(tmp_path / "kubeconfig", tmp_path)
    async with TestServer(app) as server, apiserver.Kube(api.access()) as client:
        monkeypatch.setattr(witnesses, "_HEALTH", server.port)
        yield Play(client, sender, Waiting(cluster, sender), Witnesses(cluster, client), patience=5.0, alerts=3)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def test_an_attack_is_looked_at_by_all_witnesses_while_it_lasts(
    api: FakeApiserver, watched: Play, tmp_path: Path
) -> None:
    seen = watched.witnesses.seen
    playing = asyncio.create_task(watched.attack(attack(runbook())))
    while not (
        api.objects(discovery.runbooks("evil"))
        and (seen := watched.witnesses.seen).memory
        and seen.looks
        and seen.holders
        and seen.writes
    ):
        await asyncio.sleep(0.01)
    judged(api, "one", "False", "Invalid")
    row = await asyncio.wait_for(playing, 10)
    assert (row.told, row.waits, row.failed) == (Counter({Told.INVALID: 1}), (0.1,) * 3, "")
    assert (row.seen.memory, row.seen.helpers, row.seen.holders) == (3 << 20, 2 << 20, ["one"])
    assert (row.seen.unanswered, row.seen.lapses, row.restarts) == (0, 0, 0)
    assert judge.findings(row, Limits(512 << 20, (0.1,), (60.0,))) == []
    asked = (tmp_path / "kubectl.log").read_text()
    assert asked.startswith(f"exec --stdin -n {chart.NAMESPACE} operator -- /opt/venv/bin/python3 -u -c")


async def test_what_breaks_during_an_attack_is_in_its_row(
    api: FakeApiserver, watched: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnesses, "_HEALTH", 1)  # nobody answers there any more
    api.inject(Fault.INTERNAL_ERROR, method="POST", times=1000)
    playing = asyncio.create_task(watched.attack(attack(runbook())))
    while not watched.witnesses.seen.unanswered:
        await asyncio.sleep(0.01)
    api.put(pod(restarts=2))
    row = await asyncio.wait_for(playing, 10)
    assert "it could not be carried out" in row.failed
    assert row.seen.unanswered > 0
    assert row.restarts == 2


async def test_a_start_anew_that_does_not_succeed_is_a_finding(watched: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Cluster) -> None:
        raise Failure("the rollout did not end")

    monkeypatch.setattr(rig, "begun_anew", fails)
    row = await asyncio.wait_for(watched.restart(), 10)
    assert row.failed == "it did not become ready: the rollout did not end"
    assert row.waits == (0.1,) * 3
