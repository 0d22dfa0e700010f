"""The command line: `run` the operator, `check` Runbooks, print an Incident's `report`.

What a command does is imported when it runs: `--version`, `--help` and completion answer at once.
"""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

PROBLEMS = 1
"""Exit code where something is wrong with what was given; click's own for wrong usage is 2."""


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        import importlib.metadata  # noqa: PLC0415

        click.echo(f"incident-operator, version {importlib.metadata.version('incident-operator')}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
def main() -> None:
    """Runs the runbook of an alert: diagnose, mitigate, ask a human, remediate, verify, restore, report."""


class _Run(click.Command):
    """A command whose options are the settings, which are imported when somebody asks for them."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from incident_operator import settings  # noqa: PLC0415

        self.params = list(settings.OPTIONS)
        return super().get_params(ctx)


@main.command(cls=_Run)
def run(**given: Any) -> None:
    """Run the operator, inside a cluster or outside it, until SIGTERM.

    Every option can be set by a variable too, whose name stands beside it; an empty variable counts as unset. Secrets are
    in files and Secrets, never in options. docs/settings.md names the values of the chart.
    """
    import asyncio  # noqa: PLC0415 # heavy, as are those below

    import uvloop  # noqa: PLC0415

    from incident_operator import app, process, settings  # noqa: PLC0415
    from incident_operator.commands.reporting import EXPECTED  # noqa: PLC0415

    chosen = settings.checked(settings.Settings(**given))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.run(chosen, process.end_at_the_latest))
    except EXPECTED as error:
        _fail(error)


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path), metavar="FILES..."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="Format of the output; github writes workflow commands.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings too.")
@click.option(
    "--global-namespace",
    "global_namespaces",
    multiple=True,
    metavar="NAME",
    help="A namespace whose Runbooks take alerts of every namespace (the operator's setting globalNamespaces).",
)
def check(files: tuple[Path, ...], output: str, strict: bool, global_namespaces: tuple[str, ...]) -> None:
    """Check Runbooks and Connections in FILES as the cluster and the operator would, without a cluster.

    FILES are YAML or JSON, folders (all *.yaml, *.yml and *.json below them), or - for standard input. Exit codes: 0 if nothing
    is wrong, 1 if something is (with --strict, a warning too), 2 for wrong usage. Problems go to stderr, outputs other than
    text to stdout.
    """
    from incident_operator.commands import check as checking  # noqa: PLC0415
    from incident_operator.commands import outputs  # noqa: PLC0415
    from incident_operator.commands.check import Level  # noqa: PLC0415
    from incident_operator.core.texts import counted  # noqa: PLC0415

    report = checking.check(files, global_namespaces)
    failed = bool(report.of(Level.ERROR) or (strict and report.findings))
    if output in outputs.MACHINE:
        told = outputs.MACHINE[output](report)
        if told:
            click.echo(told)
        sys.exit(PROBLEMS if failed else 0)
    for found in report.findings:
        click.echo(outputs.text_line(found), err=True)
    if failed:
        sys.exit(PROBLEMS)
    if not report.looked_at:
        _fail("found no Runbook: looked for documents of kind Runbook")
    warned = len(report.findings)
    ended = f", {counted(warned, 'warning')}" if warned else ""
    click.echo(f"{counted(report.files, 'file')} checked: no problem found{ended}")
    if report.unasked:
        click.echo(
            "\nThese steps ask a person, unless an administrator names them in the operator's setting `unasked`:"
        )
        click.echo("\n".join(f"- {line}" for line in report.unasked))


@main.command()
@click.argument("name", callback=lambda _context, _parameter, given: given.removeprefix("incident/"))
@click.option("-n", "--namespace", help="Namespace of the Incident; the context's own unless given.")
@click.option("--kubeconfig", envvar="KUBECONFIG", show_envvar=True, help="Kubeconfig to use outside a cluster.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("--digests", is_flag=True, help="Add the SHA-256 of plans and evidence.")
def report(name: str, namespace: str | None, kubeconfig: str | None, context: str | None, *, digests: bool) -> None:
    """Print the report of Incident NAME as Markdown, from its record: how it ended, or where it stands now."""
    from incident_operator.commands import reporting  # noqa: PLC0415
    from incident_operator.commands.reporting import EXPECTED  # noqa: PLC0415

    try:
        click.echo(reporting.printed(name, namespace, kubeconfig, context, digests=digests))
    except (*EXPECTED, ValueError) as error:
        _fail(error)


def _fail(error: Exception | str) -> NoReturn:
    click.echo(f"Error: {error}", err=True)
    sys.exit(PROBLEMS)
