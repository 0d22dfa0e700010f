"""Starting and stopping the parts of the local cluster, in order. The caller holds the machine's lock."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from devcluster import (
    api,
    binary,
    certificates,
    commands,
    components,
    configuration,
    containerd,
    files,
    kernel,
    leftovers,
    network,
    node,
    ownership,
    pause,
    ports,
    processes,
    settings,
)

READY_SECONDS = 120.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BEGINNING_OF_TIME = "1970-01-01T00:00:00Z"
FOUNDATION = ("etcd", "containerd", "kube-apiserver")


def start(config: settings.Settings, built: Path) -> None:
    """Start what does not run, and return when a pod could be created. built is the directory of the Go binary."""
    if not certificates.exist(config):
        stop(config)  # what may still run trusts an authority that is gone
    _prepare(config, built)
    parts = components.in_order(config, built)
    no_container_before = _drop_dead_containers(config, parts)
    _launch(config, [part for part in parts if part.name in FOUNDATION])
    _await(config, "kube-apiserver", lambda: api.ready(config))
    _apply_manifests(config)
    _await(config, "containerd", lambda: containerd.answers(config))
    pause.ensure(config, built)
    _launch(config, [part for part in parts if part.name not in FOUNDATION])
    _await(config, "kubelet", lambda: node.is_ready(config))
    _await(config, "kubelet", lambda: node.has_forgotten_dead_pods(config, no_container_before))
    _await(config, "kube-controller-manager", lambda: node.accepts_pods(config))
    _await(config, "coredns", lambda: ports.is_open("127.0.0.1", config.ports.coredns_ready))


def stop(config: settings.Settings, *, forget_data: bool = False) -> None:
    """Stop all parts in reverse order, end all containers, and remove every mount, rule and device of the cluster.

    Where its data is forgotten next, no part is given time to put it in order: that is most of what stopping takes.
    """
    for part in reversed(components.in_order(config, config.cache)):
        if part.name == "containerd":
            leftovers.end_containers(config)
        processes.stop(components.process_of(config, part), grace=0.0 if forget_data else part.grace)
    _end_containers(config)
    network.remove(config)
    kernel.restore(config.runtime)
    shutil.rmtree(config.runtime, ignore_errors=True)


def _prepare(config: settings.Settings, built: Path) -> None:
    config.state.mkdir(parents=True, exist_ok=True)
    files.write(config.state / ".gitignore", "*\n")
    ownership.claim(config.runtime, config.clone)
    kernel.prepare()
    network.ensure(config)
    configuration.ensure(config)
    binary.link(built, config.programs)


def _drop_dead_containers(config: settings.Settings, parts: Sequence[components.Component]) -> str:
    """Clear the remains of containers that a reboot or a kill of everything ended, for containerd to start cleanly.

    Returns the time (UTC, as in the API) before which no living container began.
    """
    pids = {part.name: components.process_of(config, part).pid() for part in parts}
    if pids["containerd"] is not None or leftovers.shim_pids(config):
        return BEGINNING_OF_TIME
    _end_containers(config)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _end_containers(config: settings.Settings) -> None:
    leftovers.end_containers(config)
    leftovers.remove(config)


def _launch(config: settings.Settings, parts: Sequence[components.Component]) -> None:
    for part in parts:
        process = components.process_of(config, part)
        if process.pid() is None:
            ports.require_free(part.name, part.ports)
            processes.start(process, part.argv, SEARCH_PATH)


def _await(config: settings.Settings, name: str, ready: processes.Condition) -> None:
    part = components.Component(name, ())
    processes.wait_until(ready, READY_SECONDS, components.process_of(config, part))


def _apply_manifests(config: settings.Settings) -> None:
    kubectl: list[str | Path] = [config.programs / "kubectl", "--kubeconfig", config.kubeconfig]
    commands.run([*kubectl, "apply", "--server-side", "--filename", settings.MANIFESTS])
