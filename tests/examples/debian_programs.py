"""Takes programs out of the base images in `hack/images/bases.json`, so that nothing is installed for a test."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster import bases, settings


def program(name: str, directory: Path) -> str:
    """The path of a program of this machine, or else of the base image `platform`, unpacked into the directory."""
    return shutil.which(name) or _unpacked(name, directory)


def daemon(name: str, base: str, directory: Path) -> tuple[str, dict[str, str]]:
    """The path of a program of `/usr/sbin` and the environment to run it in, with those libraries of the base image
    that this machine does not have. All of it may be read and run by every user of the machine."""
    if installed := shutil.which(name, path="/usr/sbin"):
        return installed, dict(os.environ)
    libraries = directory / "lib"
    libraries.mkdir(parents=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    path = directory / name
    with _root(base) as root:
        _write(root, f"usr/sbin/{name}", path)
        # a library that was just written may need others that are not here either
        while absent := _absent_libraries(path, environment):
            for library in absent:
                _write(root, library, libraries / library)
    return str(path), environment


def _absent_libraries(path: Path, environment: dict[str, str]) -> list[str]:
    listing = subprocess.run(["ldd", path], env=environment, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines() if line.endswith("=> not found")]


def _write(root: tarfile.TarFile, ending: str, path: Path) -> None:
    """Write the file whose path in the image ends so, or what it links to."""
    found = next(member for member in root if member.name.endswith(f"/{ending}"))
    content = root.extractfile(found)
    assert content is not None, f"{found.name} is not a file"
    path.write_bytes(content.read())
    path.chmod(0o755)


def _unpacked(name: str, directory: Path) -> str:
    with _root("platform") as root:
        found = next(member for member in root if member.name.lstrip("./") == f"usr/bin/{name}")
        found.name = name
        root.extract(found, directory, filter="data")
    return str(directory / name)


def with_files(command: list[str], below: str, directory: Path) -> list[str]:
    """The command, with the base image's files below `/usr/share/` in place for it alone, where this machine has none."""
    if (Path("/usr/share") / below).exists():
        return command
    with _root("platform") as root:
        wanted = f"usr/share/{below}/"
        members = [member for member in root if member.name.lstrip("./").startswith(wanted) and member.isfile()]
        root.extractall(directory, members, filter="data")
    mount = f'mount --bind {directory}/usr/share /usr/share && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command]


@contextmanager
def _root(name: str) -> Iterator[tarfile.TarFile]:
    base = bases.ensure(bases.named(name, settings.from_environment().cache))
    with tarfile.open(base.archive) as archive:
        layer = max(archive.getmembers(), key=lambda member: member.size)
        content = archive.extractfile(layer)
        with tarfile.open(fileobj=content) as root:
            yield root
