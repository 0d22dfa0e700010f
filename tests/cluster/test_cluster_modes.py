"""Command lines of the clusters that somebody else's program runs: kind, and an existing one."""

import json

import pytest
from devcluster import console, existing, kind


def test_kind_makes_one_cluster_per_instance_with_our_kubeconfig(config):
    command = kind.create_command(config)
    assert command[:3] == ["kind", "create", "cluster"]
    assert command[command.index("--name") + 1] == "incident-operator-3"
    assert command[command.index("--kubeconfig") + 1] == str(config.kubeconfig)


def test_kind_loads_an_archive_into_that_cluster(config, tmp_path):
    archive = tmp_path / "image.tar"
    assert kind.load_command(config, archive) == [
        *("kind", "load", "image-archive", str(archive)),
        *("--name", "incident-operator-3"),
    ]


def test_kind_deletes_only_that_cluster(config):
    command = kind.delete_command(config)
    assert command[:3] == ["kind", "delete", "cluster"]
    assert command[command.index("--name") + 1] == "incident-operator-3"


@pytest.mark.parametrize(("version", "shape"), [("v1beta3", dict), ("v1beta4", list)])
def test_kinds_apiserver_gets_the_audit_log_in_either_version_of_kubeadm(config, version, shape):
    node = kind.cluster_definition(config)["nodes"][0]
    patches = [json.loads(patch) for patch in node["kubeadmConfigPatches"]]
    patch = next(patch for patch in patches if patch["apiVersion"] == f"kubeadm.k8s.io/{version}")
    arguments = patch["apiServer"]["extraArgs"]
    assert isinstance(arguments, shape)
    given = arguments if shape is dict else {argument["name"]: argument["value"] for argument in arguments}
    assert set(given) == {"audit-log-path", "audit-policy-file"}


def test_kinds_audit_log_appears_where_the_local_clusters_does(config):
    mounts = kind.cluster_definition(config)["nodes"][0]["extraMounts"]
    assert {"hostPath": str(config.logs), "containerPath": kind.LOGS_IN_NODE} in mounts


def test_an_existing_cluster_is_refused_unless_its_context_is_named():
    with pytest.raises(console.ClusterError, match="set CLUSTER_CONTEXT=NAME"):
        existing.named_context({"KUBECONFIG": "/somewhere"})


def test_an_existing_cluster_is_reached_by_its_named_context_only():
    command = existing.view_command(existing.named_context({"CLUSTER_CONTEXT": "staging"}))
    assert command[-2:] == ["--context", "staging"]
    assert "--minify" in command


def test_nothing_is_loaded_into_an_existing_cluster(tmp_path):
    with pytest.raises(console.ClusterError, match="to a registry that it can reach"):
        existing.load(tmp_path / "image.tar")
