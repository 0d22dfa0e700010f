"""Which events wake nobody: those that show our own write and nothing else."""

import pytest

from engine.world import INCIDENT, World
from incident_operator.api.incident import Phase
from incident_operator.clients import paths
from incident_operator.core.machine.view import View
from incident_operator.engine.echoes import Echoes
from incident_operator.engine.keys import Key
from incident_operator.engine.progress import Progress
from incident_operator.engine.visit import Visits
from kube.fake_faults import Fault

A = Key("prod", "a")


def test_what_is_not_newer_than_a_visit_knows_is_an_echo() -> None:
    echoes = Echoes()
    echoes.expect(A, "9")
    echoes.expect(A, "7")
    assert [echoes.is_echo(A, version) for version in ("7", "9", "10")] == [True, True, False]
    assert not echoes.is_echo(Key("prod", "b"), "9")


async def test_what_a_visit_read_needs_no_other_visit(pack: World) -> None:
    visits = pack.engine()
    created = pack.incident().metadata.resource_version
    await visits.visit(INCIDENT)
    assert visits.recorder.echoes.is_echo(INCIDENT, created)
    assert visits.recorder.echoes.is_echo(INCIDENT, pack.incident().metadata.resource_version)


async def test_how_this_process_closed_an_incident_is_known_by_the_version_that_did(pack: World) -> None:
    visits = pack.engine()
    await pack.annotate("abort", "now alice@example.com")
    await visits.visit(INCIDENT)
    stored = pack.incident()
    assert stored.status.phase is Phase.FAILED
    ending = visits.recorder.echoes.ending(INCIDENT, stored.metadata.resource_version)
    assert ending is not None
    assert ending.phase is Phase.FAILED
    assert visits.recorder.echoes.ending(INCIDENT, str(int(stored.metadata.resource_version) + 1)) is None


async def test_an_incident_that_stays_open_has_no_ending(pack: World) -> None:
    visits = pack.engine()
    await visits.visit(INCIDENT)
    assert visits.recorder.echoes.ending(INCIDENT, pack.incident().metadata.resource_version) is None


def test_a_key_that_is_gone_has_no_echo() -> None:
    echoes = Echoes()
    echoes.expect(A, "7")
    echoes.forget(A)
    assert not echoes.is_echo(A, "7")


def test_what_is_remembered_is_bounded() -> None:
    echoes = Echoes()
    for number in range(20_001):
        echoes.expect(Key("prod", str(number)), "1")
    assert not echoes.is_echo(Key("prod", "0"), "1")
    assert echoes.is_echo(Key("prod", "20000"), "1")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("metadata", {"annotations": {"note": "by hand"}}),
        ("metadata", {"deletionTimestamp": "2025-10-21T00:31:00Z", "finalizers": ["x/y"]}),
        ("spec", {"truncatedAlerts": 3}),
    ],
    ids=["an annotation", "its deletion", "an alert"],
)
async def test_a_version_that_holds_somebody_elses_change_too_is_no_echo(
    pack: World, part: str, change: dict[str, object]
) -> None:
    visits = pack.engine()

    def note() -> None:
        body = pack.api.object(paths.incidents(*INCIDENT))
        pack.api.put({**body, part: {**body[part], **change}})

    # our write is applied but its reply is lost; somebody writes before we find it by its mark
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    pack.api.interleave(note, method="PATCH", path="/status")
    stored = (await visits.recorder.publish(*(await first_write(visits)))).stored
    assert stored.metadata.resource_version == pack.incident().metadata.resource_version
    assert not visits.recorder.echoes.is_echo(INCIDENT, stored.metadata.resource_version)


async def test_a_version_that_holds_our_write_alone_is_an_echo(pack: World) -> None:
    visits = pack.engine()
    pack.api.inject(Fault.REPLY_LOST, method="PATCH", path="/status")
    stored = (await visits.recorder.publish(*(await first_write(visits)))).stored
    assert visits.recorder.echoes.is_echo(INCIDENT, stored.metadata.resource_version)


async def first_write(visits: Visits) -> tuple[Progress, View]:
    incident = await visits.state.read(*INCIDENT)
    view = await visits._view(incident)
    told = view.with_status(incident.status.model_copy(update={"runbook_revision": "pack-1"}))
    return Progress(incident, told.incident), told
