"""Which kind of cluster the commands act on: what CLUSTER says, what is up, or what this machine can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devcluster import files, settings
from devcluster.console import ClusterError


def choose(asked: str, remembered: settings.Mode | None, docker_answers: Callable[[], bool]) -> settings.Mode:
    """Return the mode: as asked (the value of CLUSTER, maybe empty), else as up now, else kind where docker answers.

    Raises ClusterError for an unknown mode, or one that is not what is up.
    """
    wanted = _parsed(asked) if asked else None
    if wanted and remembered and wanted is not remembered:
        raise ClusterError(
            f"CLUSTER={wanted.value}, but this clone's cluster is {remembered.value}; "
            f"end that first: CLUSTER={remembered.value} python3 hack/cluster reset"
        )
    chosen = wanted or remembered
    if chosen:
        return chosen
    return settings.Mode.KIND if docker_answers() else settings.Mode.LOCAL


def remembered(config: settings.Settings) -> settings.Mode | None:
    """Return the mode of the last up, until reset."""
    try:
        return _parsed(_record(config).read_text().strip())
    except (OSError, ClusterError):
        return None


def remember(config: settings.Settings, mode: settings.Mode) -> None:
    """Note the mode for the commands that follow."""
    files.write(_record(config), f"{mode.value}\n")


def forget(config: settings.Settings) -> None:
    """Let the next command choose again."""
    _record(config).unlink(missing_ok=True)


def _record(config: settings.Settings) -> Path:
    return config.state / "mode"


def _parsed(text: str) -> settings.Mode:
    try:
        return settings.Mode(text)
    except ValueError:
        raise ClusterError(f"CLUSTER={text!r}: expected {', '.join(mode.value for mode in settings.Mode)}") from None
