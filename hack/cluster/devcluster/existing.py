"""CLUSTER=existing: a cluster that somebody else runs. Acts on it only under a context that was named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devcluster import commands, files, settings
from devcluster.console import ClusterError, say


def up(config: settings.Settings, environment: Mapping[str, str]) -> None:
    """Copy the named context of the current KUBECONFIG into this clone, and check that its cluster answers."""
    context = named_context(environment)
    files.write(config.state / ".gitignore", "*\n")
    files.write(config.kubeconfig, commands.run(view_command(context)), 0o600)
    commands.run(["kubectl", "--kubeconfig", config.kubeconfig, "get", "--raw", "/readyz"], timeout=30)
    say(f"using the cluster of context {context}; KUBECONFIG={config.kubeconfig}")


def leave(config: settings.Settings) -> None:
    """Forget the cluster. It is not ours to stop."""
    config.kubeconfig.unlink(missing_ok=True)
    say("the existing cluster was left as it is")


def load(archive: Path) -> None:
    """Raise: nothing can be loaded into a cluster whose nodes are not ours."""
    raise ClusterError(f"CLUSTER=existing pulls its images: push {archive} to a registry that it can reach")


def status(config: settings.Settings) -> bool:
    """Print the nodes, and return whether a context is in use."""
    if not config.kubeconfig.exists():
        say("no context is in use; run: CLUSTER=existing CLUSTER_CONTEXT=NAME python3 hack/cluster up")
        return False
    say(commands.run(["kubectl", "--kubeconfig", config.kubeconfig, "get", "nodes"]).rstrip())
    return True


def named_context(environment: Mapping[str, str]) -> str:
    """Return the context to act on. Raises ClusterError where none is named: the current one may be somebody's production."""
    context = environment.get("CLUSTER_CONTEXT", "")
    if not context:
        raise ClusterError(
            "CLUSTER=existing acts on a named context only; see `kubectl config get-contexts`, "
            "then set CLUSTER_CONTEXT=NAME"
        )
    return context


def view_command(context: str) -> list[str]:
    """Print one context of KUBECONFIG with its certificates and tokens in it."""
    return ["kubectl", "config", "view", "--raw", "--flatten", "--minify", "--context", context]
