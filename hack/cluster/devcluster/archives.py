"""Image archives, and getting them into whichever cluster is in use."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from devcluster import containerd, existing, images, kind, local, settings
from devcluster.console import ClusterError, say


def load(config: settings.Settings, mode: settings.Mode, archive: Path) -> None:
    """Load the images of an OCI or docker archive."""
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}")
    match mode:
        case settings.Mode.LOCAL:
            local.require_up(config)
            containerd.import_archive(config, archive)
        case settings.Mode.KIND:
            kind.load(config, archive)
        case settings.Mode.EXISTING:
            existing.load(archive)
        case _:
            assert_never(mode)


def load_built(config: settings.Settings, mode: settings.Mode, image: images.Image) -> None:
    """Load a built image, unless the cluster has just this one."""
    if mode is settings.Mode.LOCAL:
        local.require_up(config)
        if containerd.image_key(config, image.name) == image.key:
            say(f"{image.name} is loaded")
            return
    load(config, mode, image.archive)
    if mode is settings.Mode.LOCAL:
        containerd.label_image(config, image.name, image.key)
    say(f"loaded {image.name}")
