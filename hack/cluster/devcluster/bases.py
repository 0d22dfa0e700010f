"""Base images made from Debian packages, for machines that cannot pull any. Which there are: hack/images/bases.json."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from devcluster import commands, files, oci, packages, settings
from devcluster.console import ClusterError, duration, say

BUILD_SECONDS = 900
# What no program here reads at run time: half a gigabyte of a base with PostgreSQL and Prometheus.
EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/javascript/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
    "/usr/lib/postgresql/*/lib/llvmjit*",
    "/usr/lib/*/libLLVM*",
)
REPOSITORY = "localhost/incident-operator/base"


@dataclass(frozen=True, slots=True)
class Base:
    """A Debian root file system with these packages, as an image archive in the user's cache."""

    name: str
    packages: tuple[str, ...]
    suite: str
    cache: Path

    @property
    def key(self) -> str:
        """What distinguishes this base from one of the same name and other content."""
        words = (self.name, self.suite, platform.machine(), *self.packages, *EXCLUDED)
        return files.digest(word.encode() for word in words)

    @property
    def reference(self) -> str:
        """What a Dockerfile's FROM may name."""
        return f"{REPOSITORY}-{self.name}:{self.key}"

    @property
    def archive(self) -> Path:
        """Where it is, or will be."""
        return self.cache / "images" / f"base-{self.name}-{self.key}.tar"


def named(name: str, cache: Path) -> Base:
    """Return the base of that name. Raises ClusterError, with the names there are, where there is none."""
    known = json.loads(settings.BASES_FILE.read_text())
    if name not in known:
        raise ClusterError(f"there is no base image {name!r}; {settings.BASES_FILE} has {', '.join(sorted(known))}")
    return Base(name, tuple(known[name]), suite_in(Path("/etc/os-release").read_text()), cache)


def suite_in(os_release: str) -> str:
    """Return the code name of this machine's Debian release, whose package sources the base is made from."""
    for line in os_release.splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise ClusterError("/etc/os-release names no VERSION_CODENAME: base images can only be made on Debian or Ubuntu")


def ensure(base: Base) -> Base:
    """Make the base where it is not in the cache yet."""
    with files.locked(base.cache / "images" / f"base-{base.name}.lock"):
        if not base.archive.exists():
            packages.ensure(packages.IMAGES, base.cache)
            _make(base)
    return base


def _make(base: Base) -> None:
    say(f"making the base image {base.name!r} from Debian packages, once for this machine (15 s to 1 minute)")
    began = time.monotonic()
    root = base.archive.with_name(f"{base.archive.stem}-root.tar")
    log = base.archive.with_name(f"base-{base.name}.log")
    commands.run_logged([*_mmdebstrap(base), root, *_sources()], log, timeout=BUILD_SECONDS)
    container = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/bash"]}
    oci.write_archive(base.archive, base.reference, root.read_bytes(), container)
    root.unlink()
    for superseded in base.archive.parent.glob(f"base-{base.name}-{'?' * len(base.key)}.tar"):
        if superseded != base.archive:
            superseded.unlink()
    say(f"made {base.archive} in {duration(time.monotonic() - began)}")


def _mmdebstrap(base: Base) -> list[str]:
    included = ",".join(base.packages)
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    return ["mmdebstrap", "--variant=minbase", f"--include={included}", *excluded, base.suite]


def _sources() -> list[Path]:
    """List the machine's own package sources, so that its mirrors are used."""
    directory = Path("/etc/apt/sources.list.d")
    return [
        path
        for path in (
            Path("/etc/apt/sources.list"),
            *sorted(directory.glob("*.list")),
            *sorted(directory.glob("*.sources")),
        )
        if path.exists()
    ]
