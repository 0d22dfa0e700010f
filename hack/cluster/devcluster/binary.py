"""The one Go program that is every component: built once per version into the user's cache, shared by all clones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from devcluster import commands, files, progress, settings
from devcluster.console import ClusterError, duration, say

MINIMUM_GO = (1, 26)
EXPECTED = (
    "6 to 7 minutes on 2 idle cores and half an hour on busy ones, 3 GB of memory and 5 GB of disk (Go's own caches); "
    "seconds where Go has built it before"
)
BUILD_SECONDS = 3600
LIST_SECONDS = 900
PACKAGES_ABOUT = 3232
"""Where Go cannot list them."""
LINKED_PROGRAMS = ("kubectl", "helm")


def ensure(cache: Path) -> Path:
    """Return the directory that holds `cluster` and `pause`, built first where this version has not been built yet."""
    directory = cache / key()
    if _complete(directory):
        return directory
    with files.locked(cache / f"{directory.name}.lock"):
        if not _complete(directory):
            _build(directory)
    return directory


def key() -> str:
    """Return the version and a digest of the Go sources: another clone with the same sources has the same key."""
    names = [path for path in settings.BINARY_SOURCE.rglob("*") if path.suffix in {".go", ".mod", ".sum"}]
    return f"{settings.KUBERNETES_VERSION}-{files.digest_of_files(names, settings.BINARY_SOURCE)}"


def link(built: Path, programs: Path) -> None:
    """Put kubectl and helm into the clone's own bin directory."""
    programs.mkdir(parents=True, exist_ok=True)
    for name in LINKED_PROGRAMS:
        unfinished = programs / f".{name}.{os.getpid()}"
        unfinished.symlink_to(built / "cluster")
        unfinished.replace(programs / name)


def linker_flags(version: str) -> str:
    """Kubectl and the apiserver refuse to work together unless they know their version."""
    major, minor = version.removeprefix("v").split(".")[:2]
    module = "k8s.io/component-base/version"
    return f"-s -w -X {module}.gitVersion={version} -X {module}.gitMajor={major} -X {module}.gitMinor={minor}"


def go_version(text: str) -> tuple[int, int]:
    """Return the version in what `go version` prints. Raises ClusterError where there is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    if found is None:
        raise ClusterError(f"cannot read Go's version in {text!r}")
    return int(found[1]), int(found[2])


def _complete(directory: Path) -> bool:
    return (directory / "cluster").exists() and (directory / "pause").exists()


def _build(directory: Path) -> None:
    _require_go()
    say(f"building Kubernetes {settings.KUBERNETES_VERSION} from source, once for this machine; it takes {EXPECTED}")
    began = time.monotonic()
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    flags = linker_flags(settings.KUBERNETES_VERSION)
    _compile(".", flags, unfinished / "cluster")
    _compile("./pause", "-s -w", unfinished / "pause")
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)
    say(f"built {directory} in {duration(time.monotonic() - began)}")


def _require_go() -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            "Go is needed to build the cluster's binary: install Go 1.26 or later from https://go.dev/dl"
        )
    found = go_version(commands.run(["go", "env", "GOVERSION"]))
    if found < MINIMUM_GO:
        raise ClusterError(f"Go {found[0]}.{found[1]} is too old: install Go 1.26 or later from https://go.dev/dl")


def packages_compiled(log: str) -> int:
    """Return how many packages `go build -v` has told of; it tells of modules that it downloads as well."""
    return sum(not line.startswith("go: ") for line in log.splitlines())


def _compile(package: str, flags: str, output: Path) -> None:
    log = output.with_name(f"{output.name}.log")
    command = ["go", "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(output), package]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    with progress.reported(lambda: "downloading the sources of Kubernetes"):
        total = _packages_of(package, environment)
    with log.open("w") as written:
        build = subprocess.Popen(command, cwd=settings.BINARY_SOURCE, env=environment, stdout=written, stderr=written)
        with progress.reported(lambda: _compiled(log, total)):
            code = build.wait(BUILD_SECONDS)
    if code != 0:
        raise ClusterError(f"go build failed with exit code {code}; the end of {log}:{commands.tail(log)}")


def _packages_of(package: str, environment: Mapping[str, str]) -> int:
    """Return how many packages there are to compile, at most: Go tells only of those that it has not compiled before."""
    command = ["go", "list", "-deps", package]
    try:
        listed = subprocess.run(
            command,
            cwd=settings.BINARY_SOURCE,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return PACKAGES_ABOUT
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else PACKAGES_ABOUT


def _compiled(log: Path, total: int) -> str:
    return (
        f"packages of Kubernetes compiled: {progress.share(packages_compiled(log.read_text(errors='replace')), total)}"
    )
