"""The command line: `run` the operator, `check` a Runbook file, print an Incident's `report`."""

import asyncio
import dataclasses
import importlib.metadata
import sys
from pathlib import Path
from typing import NoReturn

import click
import uvloop

from incident_operator import logs
from incident_operator import settings as settings_module
from incident_operator.clients import access as accesses
from incident_operator.clients import kube
from incident_operator.clients.own_secrets import SecretError
from incident_operator.commands import checking, reporting
from incident_operator.receiver.auth import TokenError
from incident_operator.receiver.tls import CertificateError

_EXPECTED = (
    accesses.AccessError,
    kube.ApiError,
    settings_module.SettingError,
    SecretError,
    TokenError,
    CertificateError,
    OSError,
)
"""What can be wrong with what we were given; anything else is a defect and shows its traceback."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(importlib.metadata.version("incident-operator"), prog_name="incident-operator")
def main() -> None:
    """Runs the runbook of an alert: diagnose, mitigate, ask a human, remediate, verify, restore, report."""


@main.command()
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Kubeconfig to use outside a cluster.")
@click.option("--context", help="Context of the kubeconfig.")
def run(kubeconfig: str | None, context: str | None) -> None:
    """Run the operator, inside a cluster or outside it, until SIGTERM.

    Everything else is set by environment variables INCIDENT_OPERATOR_…; docs/settings.md lists them.
    """
    from incident_operator import app, process  # noqa: PLC0415 # heavy; the other commands start quickly without it

    try:
        chosen = settings_module.from_environment()
        chosen = dataclasses.replace(chosen, kubeconfig=kubeconfig or chosen.kubeconfig, context=context)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.run(chosen, process.end_at_the_latest))
    except _EXPECTED as error:
        _fail(error)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check Runbooks in YAML FILES as the operator would, without a cluster; exit 1 if one is not right.

    What the next release will refuse is a warning, on stderr, and the exit code is 0.
    """
    problems = [problem for file in files for problem in checking.check(file)]
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    if not any(checking.holds_runbook(file) for file in files):
        _fail("no Runbook in what was given: looked for documents of kind Runbook")
    for line in (line for file in files for line in checking.warned(file)):
        click.echo(f"warning: {line}", err=True)
    click.echo(f"{len(files)} file{'s' if len(files) > 1 else ''} checked: no problem found")
    if named := [line for file in files for line in checking.unasked(file)]:
        click.echo(
            "\nThese steps ask a person, unless an administrator names them in the operator's setting `unasked`:"
        )
        click.echo("\n".join(f"- {line}" for line in named))


@main.command()
@click.argument("name", callback=lambda _context, _parameter, given: given.removeprefix("incident/"))
@click.option("-n", "--namespace", help="Namespace of the Incident; the context's own unless given.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False))
@click.option("--context")
@click.option("--digests", is_flag=True, help="Add the SHA-256 of plans and evidence.")
def report(name: str, namespace: str | None, kubeconfig: str | None, context: str | None, *, digests: bool) -> None:
    """Print the report of Incident NAME as Markdown, from its record: how it ended, or where it stands now."""
    logs.configure("auto")
    try:
        chosen = kubeconfig or settings_module.from_environment().kubeconfig
        click.echo(asyncio.run(reporting.report(name, namespace, chosen, context, digests=digests)))
    except (*_EXPECTED, ValueError) as error:
        _fail(error)


def _fail(error: Exception | str) -> NoReturn:
    click.echo(f"Error: {error}", err=True)
    sys.exit(1)
