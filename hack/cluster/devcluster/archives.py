"""Image archives of this clone, and loading them into the cluster."""

from __future__ import annotations

from pathlib import Path

from devcluster import containerd, oci, settings
from devcluster.console import ClusterError


def ensure_pause(config: settings.Settings, built: Path) -> None:
    """Load the image that holds every pod's namespaces open."""
    key = built.name
    if containerd.image_key(config, containerd.PAUSE_IMAGE) == key:
        return
    archive = config.data / "pause.tar"
    layer = oci.tar_of("pause", (built / "pause").read_bytes())
    oci.write_archive(archive, containerd.PAUSE_IMAGE, layer, {"Entrypoint": ["/pause"]})
    containerd.import_archive(config, archive)
    containerd.label_image(config, containerd.PAUSE_IMAGE, key)


def load(config: settings.Settings, archive: Path) -> None:
    """Load an archive that someone made into the local cluster."""
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}")
    containerd.import_archive(config, archive)
