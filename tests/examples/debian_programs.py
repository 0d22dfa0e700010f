"""Takes a program out of the base image that the sample platform is built on, so that nothing is installed for a test."""

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster import bases, settings


def program(name: str, directory: Path) -> str:
    """The path of a program of this machine, or else of the base image `platform`, unpacked into the directory."""
    return shutil.which(name) or _unpacked(name, directory)


def _unpacked(name: str, directory: Path) -> str:
    with _root() as root:
        found = next(member for member in root if member.name.lstrip("./") == f"usr/bin/{name}")
        found.name = name
        root.extract(found, directory, filter="data")
    return str(directory / name)


def with_files(command: list[str], below: str, directory: Path) -> list[str]:
    """The command, with the base image's files below `/usr/share/` in place for it alone, where this machine has none."""
    if (Path("/usr/share") / below).exists():
        return command
    with _root() as root:
        wanted = f"usr/share/{below}/"
        members = [member for member in root if member.name.lstrip("./").startswith(wanted) and member.isfile()]
        root.extractall(directory, members, filter="data")
    mount = f'mount --bind {directory}/usr/share /usr/share && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command]


@contextmanager
def _root() -> Iterator[tarfile.TarFile]:
    base = bases.ensure(bases.named("platform", settings.from_environment().cache))
    with tarfile.open(base.archive) as archive:
        layer = max(archive.getmembers(), key=lambda member: member.size)
        content = archive.extractfile(layer)
        with tarfile.open(fileobj=content) as root:
            yield root
