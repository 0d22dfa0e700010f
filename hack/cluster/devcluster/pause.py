"""The image that holds every pod's namespaces open. The cluster brings its own, since it can pull none."""

from __future__ import annotations

from pathlib import Path

from devcluster import containerd, oci, settings


def ensure(config: settings.Settings, built: Path) -> None:
    """Load it where the cluster has no such image, or another version's."""
    key = built.name
    if containerd.image_key(config, containerd.PAUSE_IMAGE) == key:
        return
    archive = config.data / "pause.tar"
    layer = oci.tar_of("pause", (built / "pause").read_bytes())
    oci.write_archive(archive, containerd.PAUSE_IMAGE, layer, {"Entrypoint": ["/pause"]})
    containerd.import_archive(config, archive)
    containerd.label_image(config, containerd.PAUSE_IMAGE, key)
