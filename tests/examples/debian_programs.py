"""Takes a program out of the base image that the sample platform is built on, so that nothing is installed for a test."""

import shutil
import tarfile
from pathlib import Path

from devcluster import bases, settings


def program(name: str, directory: Path) -> str:
    """The path of a program of this machine, or else of the base image `platform`, unpacked into the directory."""
    return shutil.which(name) or _unpacked(name, directory)


def _unpacked(name: str, directory: Path) -> str:
    base = bases.ensure(bases.named("platform", settings.from_environment().cache))
    with tarfile.open(base.archive) as archive:
        layer = max(archive.getmembers(), key=lambda member: member.size)
        content = archive.extractfile(layer)
        with tarfile.open(fileobj=content) as root:
            found = next(member for member in root if member.name.lstrip("./") == f"usr/bin/{name}")
            found.name = name
            root.extract(found, directory, filter="data")
    return str(directory / name)
