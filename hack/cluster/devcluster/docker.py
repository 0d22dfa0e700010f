"""Building images with a docker engine, where there is one."""

from __future__ import annotations

from pathlib import Path

from devcluster import commands, images

BUILD_SECONDS = 1800


def answers() -> bool:
    """Tell whether docker is installed and its engine answers."""
    return commands.succeeds(["docker", "version", "--format", "{{.Server.Version}}"], timeout=10)


def build(request: images.Request, name: str, output: Path, log: Path) -> None:
    """Build an image and save it as an archive."""
    commands.run_logged(build_command(request, name), log, timeout=BUILD_SECONDS)
    commands.run(save_command(name, output), timeout=BUILD_SECONDS)


def build_command(request: images.Request, name: str) -> list[str]:
    """Return docker's command line. BASE_IMAGE stays what the Dockerfile says."""
    arguments = [word for argument in request.arguments for word in ("--build-arg", argument)]
    return ["docker", "build", "--tag", name, "--file", str(request.file), *arguments, str(request.context)]


def save_command(name: str, output: Path) -> list[str]:
    """Return the command that writes an image to a file."""
    return ["docker", "save", "--output", str(output), name]
