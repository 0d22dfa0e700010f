"""The attacks are what they say they are: hostile by weight and cost, and well-formed in all else."""

import json
from typing import Any

import pytest

from incident_operator import connections as types
from incident_operator.api.runbook import Runbook
from incident_operator.core.runbooks import reading
from proofs.siege import hostile, servers
from proofs.siege.hostile import MIB, Attack

ALL = hostile.attacks()
ETCD = 1.5 * MIB
"""An object that is larger is refused by etcd, whatever the operator's definitions say."""
DEFINED_TO_BE_REFUSED = {"sixty"}
"""Attacks whose Runbooks the definitions may refuse by their size alone."""


def size(document: Any) -> int:
    return len(json.dumps(document))


def of_kind(attack: Attack, kind: str) -> list[Any]:
    return [each for each in attack.objects() if each["kind"] == kind]


def examples(attack: Attack) -> list[Any]:
    """The last object of each kind: those of a kind differ in their numbers alone."""
    return list({each["kind"]: each for each in attack.objects()}.values())


def test_no_two_attacks_have_a_name_in_common() -> None:
    assert len({attack.name for attack in ALL}) == len(ALL)


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: attack.name)
def test_what_is_sent_fits_into_etcd(attack: Attack) -> None:
    assert max(size(each) for each in examples(attack)) < ETCD


@pytest.mark.parametrize(
    "attack", [each for each in ALL if each.name not in DEFINED_TO_BE_REFUSED], ids=lambda attack: attack.name
)
def test_its_runbooks_are_well_formed_so_that_only_their_cost_is_hostile(attack: Attack) -> None:
    for each in [each for each in examples(attack) if each["kind"] == "Runbook"]:
        stored = {**each, "metadata": {**each["metadata"], "uid": "u", "generation": 1, "resourceVersion": "1"}}
        assert isinstance(reading.runbook_of(stored), Runbook)


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: attack.name)
def test_its_connections_are_well_formed(attack: Attack) -> None:
    for each in [each for each in examples(attack) if each["kind"] == "Connection"]:
        types.connection_of(each)


def test_every_attack_that_is_evaluated_has_alerts_for_its_runbook() -> None:
    for attack in ALL:
        if attack.alerts and attack.namespaces == (servers.EVIL,):
            matches = [each["spec"]["match"] for each in of_kind(attack, "Runbook")]
            assert matches == [[f'alertname="{attack.alertname}"']], attack.name


def test_there_are_as_many_as_the_table_says() -> None:
    counts = {attack.name: len(list(attack.objects())) for attack in ALL}
    assert (counts["sixty"], counts["connections"], counts["configmaps"]) == (60, 1000, 81)
    by_name = {attack.name: attack for attack in ALL}
    assert size(examples(by_name["sixty"])[0]) > 1.3e6 - 1e4
    assert len(hostile.labelled()["metadata"]["labels"]) == 14_000
    (secret,) = of_kind(by_name["secret"], "Secret")
    assert len(secret["stringData"]) == 1024
    assert sum(map(len, secret["stringData"].values())) < MIB
    assert by_name["hanging"].alerts == 18
    assert len(of_kind(by_name["busy"], "Runbook")) == hostile.BUSY == 50


def test_what_evil_has_beside_is_its_own() -> None:
    made = servers.servers()
    assert {each["metadata"]["namespace"] for each in made} == {servers.EVIL}
    for each in made:
        if each["kind"] == "Connection":
            types.connection_of(each)


def test_the_endless_server_is_a_program() -> None:
    compile(servers.ENDLESS, "endless", "exec")
