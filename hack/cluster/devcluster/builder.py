"""Building an image from a Dockerfile, unless the very same one is there: by docker or by buildah."""

from __future__ import annotations

import time
from pathlib import Path

from devcluster import bases, buildah, docker, files, images, settings
from devcluster.console import ClusterError, duration, say

OWN_BASE = "the Dockerfile's own"


def build(config: settings.Settings, request: images.Request) -> images.Image:
    """Return the image, built first unless its archive is there. Raises ClusterError with the end of the build's log."""
    if not request.file.is_file():
        raise ClusterError(f"there is no Dockerfile {request.file}")
    if not request.context.is_dir():
        raise ClusterError(f"there is no build context {request.context}")
    base = None if docker.answers() else bases.ensure(bases.named(request.base, config.cache))
    image = images.planned(request, base.reference if base else OWN_BASE, config.images)
    with files.locked(config.images / f"{images.file_name(image.name)}.lock"):
        if image.archive.exists():
            say(f"{image.name} is unchanged")
            return image
        _build(request, image, base, config.logs / f"build-{images.file_name(image.name)}.log")
    return image


def _build(request: images.Request, image: images.Image, base: bases.Base | None, log: Path) -> None:
    say(f"building {image.name} with {'buildah' if base else 'docker'}")
    began = time.monotonic()
    unfinished = image.archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    if base:
        buildah.build(request, image.name, base, unfinished, log)
    else:
        docker.build(request, image.name, unfinished, log)
    unfinished.replace(image.archive)
    for archive in images.older_archives(image):
        archive.unlink()
    say(f"built {image.archive} in {duration(time.monotonic() - began)}")
