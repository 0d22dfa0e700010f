"""Building images without a docker engine: Debian's buildah, on a base image made here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import bases, commands, files, images, mounts, packages, settings

BUILD_SECONDS = 1800
MAX_UNNAMED_IMAGES = 20
WANTED_OF_HOST = (Path("/etc/ssl/certs"), Path("/etc/pip.conf"))


@dataclass(frozen=True, slots=True)
class Storage:
    """buildah's own storage, apart from any other of this user."""

    cache: Path
    driver: str

    @property
    def options(self) -> tuple[str, ...]:
        """What every command of buildah is told."""
        running = settings.RUNTIME_ROOT / "buildah"
        return ("--root", str(self.cache / "buildah"), "--runroot", str(running), "--storage-driver", self.driver)


def build(request: images.Request, name: str, base: bases.Base, output: Path, log: Path) -> None:
    """Build an image on a base and write it as an archive."""
    packages.ensure(packages.IMAGES, base.cache)
    storage = Storage(base.cache, "overlay" if mounts.can_hold_overlays(base.cache) else "vfs")
    with files.locked(_lock(base.cache)), _without_containers(storage):
        if not commands.succeeds(["buildah", *storage.options, "inspect", "--type", "image", base.reference]):
            commands.run(pull_command(storage, base), timeout=BUILD_SECONDS)
        volumes = [path for path in WANTED_OF_HOST if path.exists()]
        commands.run_logged(build_command(storage, request, name, base, volumes), log, timeout=BUILD_SECONDS)
        commands.run(push_command(storage, name, output), timeout=BUILD_SECONDS)
        _forget_old_builds(storage)


def let_go(cache: Path) -> bool:
    """Unmount what builds have left mounted in the cache, so that it can be removed; False where one is under way."""
    if not (cache / "buildah").exists():
        return True
    with files.locked_if_free(_lock(cache)) as free:
        if free:
            mounts.unmount_below([cache / "buildah"])
        return free


def _lock(cache: Path) -> Path:
    return cache / "buildah.lock"


@contextlib.contextmanager
def _without_containers(storage: Storage) -> Iterator[None]:
    """Remove the containers in which the block builds: `bud` leaves one behind, mounted, each time."""
    try:
        yield
    finally:
        # one that cannot be removed is in nobody's way before the cache is to be removed, and says nothing of the build
        commands.succeeds(["buildah", *storage.options, "rm", "--all"])


def pull_command(storage: Storage, base: bases.Base) -> list[str]:
    """Return the command that takes the base out of its archive."""
    return ["buildah", *storage.options, "pull", f"oci-archive:{base.archive}"]


def build_command(
    storage: Storage, request: images.Request, name: str, base: bases.Base, volumes: Sequence[Path]
) -> list[str]:
    """Return buildah's command line.

    Chroot isolation needs no more rights than root in a container has. volumes are files of the host, mounted read-only
    while building: pip needs the host's certificate authorities and its own settings, where there are any.
    """
    options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers"]
    arguments = [word for given in _arguments(request, base) for word in ("--build-arg", given)]
    mounted = [word for path in volumes for word in ("--volume", f"{path}:{path}:ro")]
    named = ["--tag", name, "--file", str(request.file)]
    return ["buildah", *storage.options, "bud", *options, *named, *arguments, *mounted, str(request.context)]


def push_command(storage: Storage, name: str, output: Path) -> list[str]:
    """Return the command that writes the image to a file, under its full name.

    A docker archive, since buildah compresses the layers of an OCI archive, which takes longer than all the rest.
    """
    return ["buildah", *storage.options, "push", name, f"docker-archive:{output}:{name}"]


def _forget_old_builds(storage: Storage) -> None:
    """Bound the disk that builds take: what earlier builds of changed sources left is dropped, all of it, now and then."""
    listed = commands.run(["buildah", *storage.options, "images", "--quiet", "--filter", "dangling=true"])
    if len(listed.split()) > MAX_UNNAMED_IMAGES:
        commands.run(["buildah", *storage.options, "rmi", "--prune"])


def _arguments(request: images.Request, base: bases.Base) -> tuple[str, ...]:
    return (f"BASE_IMAGE={base.reference}", *request.arguments)
