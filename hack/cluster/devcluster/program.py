"""The command line: arguments in, one function called, one clear line of error and exit code 1 where it fails."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from devcluster import archives, builder, console, docker, existing, images, kind, local, selection, settings, users
from devcluster.settings import Mode


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(_parser().parse_args(arguments))
    except console.ClusterError as error:
        console.complain(error)
    except OSError as error:
        console.complain(console.ClusterError(f"{error.filename or 'system'}: {error.strerror or error}"))
    except KeyboardInterrupt:
        return 130
    return 1


def _run(given: argparse.Namespace) -> int:
    config = settings.from_environment()
    mode = selection.choose(os.environ.get("CLUSTER", ""), selection.remembered(config), docker.answers)
    match given.command:
        case "up":
            _up(config, mode)
        case "down":
            _end(config, mode, forget_data=False)
        case "reset":
            _end(config, mode, forget_data=True)
        case "status":
            return 0 if _status(config, mode) else 1
        case "kubeconfig":
            print(config.kubeconfig)
        case "env":
            print(_exports(config, mode))
        case "load-image":
            archives.load(config, mode, given.archive.resolve())
        case "build-image":
            _build_image(config, mode, given)
        case "user":
            _user(config, mode, users.User(given.name, tuple(given.group)))
    return 0


def _up(config: settings.Settings, mode: Mode) -> None:
    match mode:
        case Mode.LOCAL:
            local.up(config)
        case Mode.KIND:
            kind.up(config)
        case Mode.EXISTING:
            existing.up(config, os.environ)
        case _:
            assert_never(mode)
    selection.remember(config, mode)


def _end(config: settings.Settings, mode: Mode, *, forget_data: bool) -> None:
    match mode:
        case Mode.LOCAL:
            local.reset(config) if forget_data else local.down(config)
        case Mode.KIND:
            kind.delete(config)
        case Mode.EXISTING:
            existing.leave(config)
        case _:
            assert_never(mode)
    if forget_data or mode is not Mode.LOCAL:
        selection.forget(config)


def _status(config: settings.Settings, mode: Mode) -> bool:
    match mode:
        case Mode.LOCAL:
            return local.status(config)
        case Mode.KIND:
            return kind.status(config)
        case Mode.EXISTING:
            return existing.status(config)
        case _:
            assert_never(mode)


def _exports(config: settings.Settings, mode: Mode) -> str:
    lines = [f"export KUBECONFIG={config.kubeconfig}"]
    if mode is Mode.LOCAL:
        lines.append(f'export PATH={config.programs}:"$PATH"')
    return "\n".join(lines)


def _build_image(config: settings.Settings, mode: Mode, given: argparse.Namespace) -> None:
    context = given.context.resolve()
    request = images.Request(given.tag, given.file.resolve(), context, tuple(given.build_arg), given.base)
    image = builder.build(config, request)
    if not given.no_load:
        archives.load_built(config, mode, image)


def _user(config: settings.Settings, mode: Mode, user: users.User) -> None:
    program = str(config.programs / "kubectl") if mode is Mode.LOCAL else "kubectl"
    target = config.state / "users" / f"{user.name}.kubeconfig"
    users.ensure([program, "--kubeconfig", str(config.kubeconfig)], users.checked(user), target)
    print(target)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 hack/cluster", description=settings.__doc__, epilog=_ENVIRONMENT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _PLAIN_COMMANDS.items():
        commands.add_parser(name, help=text, description=text)
    loading = commands.add_parser("load-image", help="load an OCI or docker image archive into the cluster")
    loading.add_argument("archive", type=Path)
    _add_building(
        commands.add_parser("build-image", help="build an image from a Dockerfile and load it into the cluster")
    )
    user = commands.add_parser("user", help="print the path of a kubeconfig for a user with a client certificate")
    user.add_argument("name")
    user.add_argument("--group", action="append", default=[], help="a group of the user; may be repeated")
    return parser


def _add_building(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", required=True, help="the image's name, as pods will name it")
    parser.add_argument("--file", type=Path, required=True, help="the Dockerfile")
    parser.add_argument("--context", type=Path, required=True, help="the directory that COPY reads from")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--base", default="python", help="without docker: the base of hack/images/bases.json given as BASE_IMAGE"
    )
    parser.add_argument("--no-load", action="store_true", help="only write the archive to .cluster/images")


_PLAIN_COMMANDS = {
    "up": "bring the cluster up; does nothing when it is up",
    "down": "stop the cluster and keep its data",
    "reset": "stop the cluster and forget its data",
    "status": "what runs; exit code 1 unless all of it does",
    "kubeconfig": "print the path of the administrator's kubeconfig",
    "env": 'shell lines that point KUBECONFIG and PATH at the cluster: eval "$(python3 hack/cluster env)"',
}

_ENVIRONMENT = (
    "environment: CLUSTER=local|kind|existing (default: kind where docker answers, otherwise local); CLUSTER_CONTEXT names "
    "the context for existing; CLUSTER_INSTANCE=0..9 for more than one local cluster on a machine"
)
