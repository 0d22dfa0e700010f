"""What image is wanted, and which archive would hold it. Pure but for reading the build context."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from devcluster import dockerfile, files


@dataclass(frozen=True, slots=True)
class Request:
    """An image to be built. base names one of hack/images/bases.json; arguments are NAME=VALUE."""

    tag: str
    file: Path
    context: Path
    arguments: tuple[str, ...]
    base: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image of known content: its full name, a key that changes with what it is built from, and its archive."""

    name: str
    key: str
    archive: Path


def planned(request: Request, base: str, directory: Path) -> Image:
    """Return the image that would be built now, on the given base, into the directory."""
    text = request.file.read_text()
    copied = files.digest_of_files(dockerfile.context_files(text, request.context), request.context)
    name = full_name(request.tag)
    words = (name, text, base, platform.machine(), copied, *request.arguments)
    key = files.digest(word.encode() for word in words)
    return Image(name, key, directory / f"{file_name(name)}-{key}.tar")


def full_name(tag: str) -> str:
    """Return a reference with its registry and tag, as Kubernetes resolves the short one of a pod."""
    registry, slash, _ = tag.partition("/")
    if not slash:
        name = f"docker.io/library/{tag}"
    elif registry == "localhost" or "." in registry or ":" in registry:
        name = tag
    else:
        name = f"docker.io/{tag}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def file_name(name: str) -> str:
    """Return a full name as part of a file name."""
    return name.removeprefix("docker.io/").removeprefix("library/").replace("/", "_").replace(":", "_")


def older_archives(image: Image) -> list[Path]:
    """List archives of the same name that were built from something else."""
    found = image.archive.parent.glob(f"{file_name(image.name)}-{'?' * len(image.key)}.tar")
    return [archive for archive in found if archive != image.archive]
