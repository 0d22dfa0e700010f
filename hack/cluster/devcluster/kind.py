"""CLUSTER=kind: a cluster in docker containers, by kind's own commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devcluster import commands, configuration, files, settings
from devcluster.console import say

CREATE_SECONDS = 900
PROGRAMS = ("docker", "kind", "kubectl", "helm")
POLICY_IN_NODE = "/etc/kubernetes/incident-operator/audit-policy.json"
LOGS_IN_NODE = "/var/log/incident-operator"


def up(config: settings.Settings) -> None:
    """Create the cluster, or find it there."""
    for program in PROGRAMS:
        commands.require_program(program, "CLUSTER=kind needs docker, kind, kubectl and helm on PATH")
    name = cluster_name(config)
    files.write(config.state / ".gitignore", "*\n")
    if name in commands.run(["kind", "get", "clusters"]).split():
        commands.run(kubeconfig_command(config))
        say(f"the kind cluster {name} is there; KUBECONFIG={config.kubeconfig}")
        return
    say(f"creating the kind cluster {name} (1 to 3 minutes, and kind's node image the first time)")
    config.logs.mkdir(parents=True, exist_ok=True)
    files.write(config.configuration / "audit-policy.json", json.dumps(configuration.audit_policy(), indent=2))
    files.write(config.configuration / "kind.json", json.dumps(cluster_definition(config), indent=2))
    commands.run_logged(create_command(config), config.logs / "kind.log", timeout=CREATE_SECONDS)
    say(f"the cluster is up; KUBECONFIG={config.kubeconfig}")


def delete(config: settings.Settings) -> None:
    """Delete the cluster with all it holds: kind cannot stop one and keep its data."""
    commands.run(delete_command(config), timeout=CREATE_SECONDS)
    config.kubeconfig.unlink(missing_ok=True)
    say(f"the kind cluster {cluster_name(config)} is gone")


def load(config: settings.Settings, archive: Path) -> None:
    """Load an image archive into the cluster's node."""
    commands.run(load_command(config, archive), timeout=CREATE_SECONDS)


def status(config: settings.Settings) -> bool:
    """Print the node, and return whether the cluster answers."""
    if not config.kubeconfig.exists():
        say(f"there is no kind cluster {cluster_name(config)} of this clone")
        return False
    say(commands.run(["kubectl", "--kubeconfig", config.kubeconfig, "get", "nodes"]).rstrip())
    return True


def cluster_name(config: settings.Settings) -> str:
    """One kind cluster per instance."""
    return settings.KIND_CLUSTER if config.instance == 0 else f"{settings.KIND_CLUSTER}-{config.instance}"


def create_command(config: settings.Settings) -> list[str]:
    """Make the cluster and wait for its node."""
    definition = str(config.configuration / "kind.json")
    return [*_kind(config, "create", "cluster"), "--config", definition, "--wait", "180s"]


def delete_command(config: settings.Settings) -> list[str]:
    """Delete the cluster and its entry in our kubeconfig."""
    return _kind(config, "delete", "cluster")


def kubeconfig_command(config: settings.Settings) -> list[str]:
    """Write the administrator's kubeconfig again."""
    return _kind(config, "export", "kubeconfig")


def load_command(config: settings.Settings, archive: Path) -> list[str]:
    """Load an image archive into every node."""
    return ["kind", "load", "image-archive", str(archive), "--name", cluster_name(config)]


def cluster_definition(config: settings.Settings) -> dict[str, Any]:
    """Kind's cluster configuration: one node, whose apiserver writes the same audit log as the local cluster's."""
    mounts = [
        {
            "hostPath": str(config.configuration / "audit-policy.json"),
            "containerPath": POLICY_IN_NODE,
            "readOnly": True,
        },
        {"hostPath": str(config.logs), "containerPath": LOGS_IN_NODE},
    ]
    patches = [json.dumps(_audit_patch(version)) for version in ("v1beta3", "v1beta4")]
    node = {"role": "control-plane", "extraMounts": mounts, "kubeadmConfigPatches": patches}
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}


def _audit_patch(version: str) -> dict[str, Any]:
    """Return a patch of kubeadm's configuration. kind applies the one whose version it uses; arguments differ in shape."""
    arguments = {"audit-log-path": f"{LOGS_IN_NODE}/audit.log", "audit-policy-file": POLICY_IN_NODE}
    listed = [{"name": name, "value": value} for name, value in arguments.items()]
    volumes = [
        {
            "name": "audit-policy",
            "hostPath": POLICY_IN_NODE,
            "mountPath": POLICY_IN_NODE,
            "readOnly": True,
            "pathType": "File",
        },
        {"name": "audit-log", "hostPath": LOGS_IN_NODE, "mountPath": LOGS_IN_NODE, "pathType": "DirectoryOrCreate"},
    ]
    return {
        "apiVersion": f"kubeadm.k8s.io/{version}",
        "kind": "ClusterConfiguration",
        "apiServer": {"extraArgs": arguments if version == "v1beta3" else listed, "extraVolumes": volumes},
    }


def _kind(config: settings.Settings, *verb: str) -> list[str]:
    return ["kind", *verb, "--name", cluster_name(config), "--kubeconfig", str(config.kubeconfig)]
