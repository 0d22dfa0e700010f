"""The local cluster's life: up, down, reset, status. What each step consists of is in the modules that it calls."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from devcluster import (
    api,
    archives,
    binary,
    components,
    configuration,
    containerd,
    files,
    leftovers,
    network,
    node,
    ownership,
    packages,
    ports,
    processes,
    settings,
)
from devcluster.console import ClusterError, duration, say

START_SECONDS = 60.0
KEPT_BY_RESET = "images"


def up(config: settings.Settings) -> None:
    """Bring the cluster up, from whatever state it is in. Does nothing when it is up."""
    packages.require_linux_root()
    with _machine_locked(config):
        _refuse_second_clone(config)
        if is_up(config):
            say(f"the cluster is up; KUBECONFIG={config.kubeconfig}")
            return
        packages.ensure(packages.CLUSTER)
        built = binary.ensure(config.cache)
        began = time.monotonic()
        _clear_what_others_left(config)
        _start(config, built)
        say(f"the cluster is up after {duration(time.monotonic() - began)}; KUBECONFIG={config.kubeconfig}")


def down(config: settings.Settings) -> None:
    """Stop everything in reverse order, etcd last. Data, certificates and logs stay for the next up."""
    packages.require_linux_root()
    with _machine_locked(config):
        _refuse_second_clone(config)
        _stop(config, config.state)
    say("the cluster is down; its data is kept")


def reset(config: settings.Settings) -> None:
    """Stop everything and forget all data. Built image archives stay."""
    packages.require_linux_root()
    with _machine_locked(config):
        _refuse_second_clone(config)
        _stop(config, config.state)
        _forget(config.state)
    say(f"the cluster is gone; {config.state} is empty but for built images")


def is_up(config: settings.Settings) -> bool:
    """Whether every process runs, the API is ready and the node is."""
    alive = all(components.process_of(config, part).pid() for part in components.in_order(config, config.cache))
    return alive and api.ready(config) and node.is_ready(config)


def status(config: settings.Settings) -> bool:
    """Print what runs and what does not; returns whether all of it does."""
    for part in components.in_order(config, config.cache):
        pid = components.process_of(config, part).pid()
        say(f"{part.name:24} {f'pid {pid}' if pid else 'not running'}")
    ready = is_up(config)
    say(f"{'node':24} {'Ready' if ready else 'not ready'}")
    return ready


def require_up(config: settings.Settings) -> None:
    """Raise ClusterError unless containerd and the API answer."""
    if not api.ready(config):
        raise ClusterError("the cluster is not up; run: python3 hack/cluster up")


@contextlib.contextmanager
def _machine_locked(config: settings.Settings) -> Iterator[None]:
    with files.locked(settings.RUNTIME_ROOT / f"{config.instance}.lock"):
        yield


def _refuse_second_clone(config: settings.Settings) -> None:
    owner = ownership.read(config.runtime)
    verdict = ownership.judge(owner, config.clone, anything_alive=leftovers.anything_alive(config))
    if verdict is ownership.Claim.TAKEN and owner is not None:
        raise ownership.refusal(owner, config.instance)


def _clear_what_others_left(config: settings.Settings) -> None:
    owner = ownership.read(config.runtime)
    if owner is not None and owner.clone == config.clone:
        return
    if config.runtime.exists():
        say(f"clearing what a dead cluster left behind in {config.runtime}")
        _stop(config, owner.state if owner else config.state)


def _start(config: settings.Settings, built: Path) -> None:
    _prepare(config, built)
    parts = {part.name: part for part in components.in_order(config, built)}
    if components.process_of(config, parts["containerd"]).pid() is None and not leftovers.shim_pids(config):
        _drop_dead_containers(config)
    _launch(config, [parts.pop(name) for name in ("etcd", "containerd", "kube-apiserver")])
    _await(config, "kube-apiserver", lambda: api.ready(config))
    _await(config, "containerd", lambda: containerd.answers(config))
    archives.ensure_pause(config, built)
    _launch(config, list(parts.values()))
    _await(config, "kubelet", lambda: node.is_ready(config))
    _await(config, "kube-controller-manager", lambda: node.accepts_pods(config))
    _await(config, "coredns", lambda: ports.is_open("127.0.0.1", config.ports.coredns_ready))


def _prepare(config: settings.Settings, built: Path) -> None:
    config.state.mkdir(parents=True, exist_ok=True)
    files.write(config.state / ".gitignore", "*\n")
    ownership.claim(config.runtime, ownership.Owner(config.clone, config.state))
    network.ensure(config)
    configuration.ensure(config)
    binary.link(built, config.programs)


def _drop_dead_containers(config: settings.Settings) -> None:
    """After a reboot or a kill of everything no container lives: containerd starts cleanly without their remains."""
    leftovers.end_containers(config)
    leftovers.unmount([config.runtime, config.data / "kubelet"])
    leftovers.remove_traces(config)
    shutil.rmtree(containerd.state_directory(config), ignore_errors=True)
    shutil.rmtree(config.runtime / "addresses", ignore_errors=True)


def _launch(config: settings.Settings, parts: Sequence[components.Component]) -> None:
    for part in parts:
        process = components.process_of(config, part)
        if process.pid() is not None:
            continue
        ports.require_free(part.name, part.ports)
        processes.start(process, part.argv, _path())


def _await(config: settings.Settings, name: str, ready: processes.Condition) -> None:
    part = components.Component(name, ())
    processes.wait_until(ready, START_SECONDS, components.process_of(config, part))


def _stop(config: settings.Settings, state: Path) -> None:
    for part in reversed(components.in_order(config, config.cache)):
        if part.name == "containerd":
            leftovers.end_containers(config)
        processes.stop(components.process_of(config, part), grace=part.grace)
    leftovers.end_containers(config)
    leftovers.unmount([config.runtime, state / "data" / "kubelet"])
    leftovers.remove_traces(config)
    network.remove(config)
    shutil.rmtree(config.runtime, ignore_errors=True)


def _forget(state: Path) -> None:
    for entry in state.glob("*"):
        if entry.name == KEPT_BY_RESET:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _path() -> str:
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
