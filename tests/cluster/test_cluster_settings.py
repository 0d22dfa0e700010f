"""Where things are, and which numbers an instance uses."""

import dataclasses
import itertools
from pathlib import Path

import pytest
from devcluster import binary, console, selection, settings
from devcluster.settings import Mode


def of_instance(number):
    return settings.Settings(clone=Path("/clone"), instance=number, cache=Path("/cache"))


def test_two_instances_share_no_port_bridge_network_or_directory():
    for first, second in itertools.combinations([of_instance(number) for number in range(10)], 2):
        assert not set(dataclasses.astuple(first.ports)) & set(dataclasses.astuple(second.ports))
        assert not first.pod_network.overlaps(second.pod_network)
        assert not first.service_network.overlaps(second.service_network)
        assert first.bridge != second.bridge
        assert first.state != second.state
        assert first.runtime != second.runtime


def test_ports_stay_below_node_ports_and_ephemeral_ports():
    assert max(dataclasses.astuple(of_instance(settings.MAX_INSTANCE).ports)) < 30000


def test_a_bridge_name_fits_into_the_kernels_fifteen_characters():
    assert len(of_instance(9).bridge) <= 15


def test_only_instance_zero_owns_the_machines_table_of_services():
    assert [number for number in range(10) if of_instance(number).has_service_proxy] == [0]


def test_the_cache_follows_xdg_and_else_the_home_directory():
    assert settings.from_environment({"XDG_CACHE_HOME": "/x", "HOME": "/h"}).cache == Path("/x/incident-operator")
    assert settings.from_environment({"HOME": "/h"}).cache == Path("/h/.cache/incident-operator")


@pytest.mark.parametrize("text", ["10", "-1", "one", "1.5", "\u0661", " 1"])
def test_an_instance_that_is_no_number_from_0_to_9_is_refused(text):
    with pytest.raises(console.ClusterError, match="expected a number from 0 to 9"):
        settings.from_environment({"CLUSTER_INSTANCE": text})


def test_an_empty_instance_is_instance_zero():
    assert settings.from_environment({"CLUSTER_INSTANCE": ""}).instance == 0


@pytest.mark.parametrize(
    ("asked", "remembered", "chosen"),
    [
        ("local", None, Mode.LOCAL),
        ("existing", None, Mode.EXISTING),
        ("", Mode.EXISTING, Mode.EXISTING),
        ("kind", Mode.KIND, Mode.KIND),
    ],
)
def test_the_mode_is_as_asked_or_as_it_was(asked, remembered, chosen):
    assert selection.choose(asked, remembered, docker_answers=lambda: False) is chosen


@pytest.mark.parametrize(("answers", "chosen"), [(True, Mode.KIND), (False, Mode.LOCAL)])
def test_unasked_the_mode_is_kind_where_docker_answers(answers, chosen):
    assert selection.choose("", None, docker_answers=lambda: answers) is chosen


def test_another_mode_than_what_is_up_is_refused_with_the_command_that_ends_it():
    with pytest.raises(console.ClusterError, match="CLUSTER=local python3 hack/cluster reset"):
        selection.choose("kind", Mode.LOCAL, docker_answers=lambda: True)


def test_an_unknown_mode_is_refused_with_those_there_are():
    with pytest.raises(console.ClusterError, match="expected local, kind, existing"):
        selection.choose("minikube", None, docker_answers=lambda: True)


def test_the_mode_is_remembered_until_reset(config):
    assert selection.remembered(config) is None
    selection.remember(config, Mode.LOCAL)
    assert selection.remembered(config) is Mode.LOCAL
    selection.forget(config)
    assert selection.remembered(config) is None


def test_kubectl_and_the_apiserver_are_told_their_version():
    flags = binary.linker_flags("v1.36.3")
    assert "gitVersion=v1.36.3 " in flags
    assert "gitMajor=1 " in flags
    assert flags.endswith("gitMinor=36")


@pytest.mark.parametrize(("text", "version"), [("go1.26.8", (1, 26)), ("go version go1.30rc1 linux/amd64", (1, 30))])
def test_gos_version_is_read(text, version):
    assert binary.go_version(text) == version


def test_the_linked_version_is_the_one_that_the_go_module_requires():
    assert f"k8s.io/kubernetes {settings.KUBERNETES_VERSION}\n" in (settings.BINARY_SOURCE / "go.mod").read_text()


def test_every_staging_module_is_replaced_by_the_release_of_the_same_number():
    lines = (settings.BINARY_SOURCE / "go.mod").read_text().splitlines()
    replaced = [line.split() for line in lines if line.startswith("\tk8s.io/") and "=>" in line]
    assert len(replaced) == 33
    assert {line[3] for line in replaced} == {settings.KUBERNETES_VERSION.replace("v1.", "v0.")}
