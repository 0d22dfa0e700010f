"""The local cluster's commands: up, down, reset, status. Starting and stopping its parts is in lifecycle.py."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from devcluster import (
    api,
    binary,
    buildah,
    components,
    files,
    leftovers,
    lifecycle,
    node,
    ownership,
    packages,
    settings,
)
from devcluster.console import ClusterError, duration, say
from devcluster.ownership import Claim

KEPT_BY_RESET = "images"


def up(config: settings.Settings) -> None:
    """Bring the cluster up, from whatever state it is in. Does nothing when it is up."""
    packages.require_linux_root()
    with _machine_locked(config):
        claim = _claim(config)
        if claim is Claim.OURS and is_up(config):
            say(f"the cluster is up; KUBECONFIG={config.kubeconfig}")
            return
        packages.ensure(packages.CLUSTER, config.cache)
        built = binary.ensure(config.cache)
        began = time.monotonic()
        if claim is Claim.LEFT_BEHIND:
            _clear_what_others_left(config)
        lifecycle.start(config, built)
        say(f"the cluster is up after {duration(time.monotonic() - began)}; KUBECONFIG={config.kubeconfig}")


def down(config: settings.Settings) -> None:
    """Stop everything in reverse order, etcd last. Data, certificates and logs stay for the next up."""
    packages.require_linux_root()
    with _machine_locked(config):
        _end(config)
    say("the cluster is down; its data is kept")


def reset(config: settings.Settings) -> None:
    """Stop everything and forget all data. Built image archives stay, and the cache, in which nothing stays mounted."""
    packages.require_linux_root()
    with _machine_locked(config):
        _end(config, forget_data=True)
        _forget(config.state)
    if not buildah.let_go(config.cache):
        say(f"another build is under way: {config.cache} stays mounted until it is done and `reset` is run again")
    say(f"the cluster is gone; {config.state} is empty but for built images")


def is_up(config: settings.Settings) -> bool:
    """Tell whether every process runs, the API is ready and the node is."""
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
    """Raise ClusterError unless this clone's cluster answers."""
    if not api.ready(config):
        raise ClusterError("the cluster is not up; run: python3 hack/cluster up")


@contextlib.contextmanager
def _machine_locked(config: settings.Settings) -> Iterator[None]:
    with files.locked(settings.RUNTIME_ROOT / f"{config.instance}.lock"):
        yield


def _claim(config: settings.Settings) -> Claim:
    """Tell what we may do with the machine. Raises ClusterError where it is another clone's."""
    owner = ownership.read(config.runtime)
    verdict = ownership.judge(owner, config.clone, anything_alive=leftovers.anything_alive(config))
    if verdict is Claim.TAKEN and owner is not None:
        raise ownership.refusal(owner, config.instance)
    return verdict


def _clear_what_others_left(config: settings.Settings) -> None:
    owner = ownership.read(config.runtime)
    theirs = dataclasses.replace(config, clone=owner.clone) if owner else config
    say(f"clearing what a dead cluster of {theirs.clone} left behind")
    lifecycle.stop(theirs)


def _end(config: settings.Settings, *, forget_data: bool = False) -> None:
    match _claim(config):
        case Claim.OURS:
            lifecycle.stop(config, forget_data=forget_data)
        case Claim.LEFT_BEHIND:
            _clear_what_others_left(config)
        case Claim.FREE | Claim.TAKEN:
            return


def _forget(state: Path) -> None:
    for entry in state.glob("*"):
        if entry.name == KEPT_BY_RESET:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
