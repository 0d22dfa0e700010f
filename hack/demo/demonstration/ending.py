"""The last words: how long it took, what to try next, or what went wrong."""

from datetime import datetime

from rich.console import Console
from rich.markup import escape

from demonstration import manifests, shell
from demonstration.incidents import Incident
from demonstration.people import Actors
from demonstration.terminal import duration

PROD = f"-n {manifests.NAMESPACE}"


def tell_times(console: Console, incident: Incident, *, set_up: float, night: float) -> None:
    """One line with the times that matter."""
    times = incident.status["times"]
    mitigated, resolved = (_between(times, "detected", name) for name in ("mitigated", "resolved"))
    console.print(
        f"\n[bold green]Resolved.[/bold green] Users were served again {duration(mitigated)} after the alert came in, and it was"
        f" over after {duration(resolved)}. Set-up {duration(set_up)}, the night {duration(night)}.",
        soft_wrap=True,
    )


def tell_next(console: Console, actors: Actors, name: str) -> None:
    """Commands to go on with, while everything is left running."""
    psql = "psql --host=/tmp --username=postgres --dbname=dawsos --command"
    lines = (
        'eval "$(python3 hack/cluster env)"',
        "kubectl get inc -A",
        f"kubectl describe incident {name} {PROD}",
        f"kubectl get runbooks,connections {PROD}",
        "",
        "# a second Incident: no pack is fresh any more",
        f"kubectl exec deployment/database {PROD} -- {psql} 'UPDATE pricing_pack SET is_fresh = FALSE'",  # noqa: S608 (nothing is interpolated but names)
        f"kubectl get inc {PROD} --watch",
        f"export KUBECONFIG={actors.alice.kubeconfig}      # be alice; `kubectl describe inc` tells her how to approve",
        "",
        "make cluster-down      # stop it all; `make cluster-reset` forgets it too",
    )
    console.print("\nLeft running. To try next:")
    for line in lines:
        console.print(f"  {line}", style="cyan", soft_wrap=True, markup=False)


def tell_failure(console: Console, failure: shell.Failure) -> None:
    """What did not happen, and where to look; everything is left as it is for that."""
    console.print(f"\n[bold red]The demonstration stopped:[/bold red] {escape(str(failure))}", soft_wrap=True)
    console.print("\nEverything is left as it is. To look:")
    for line in (
        'eval "$(python3 hack/cluster env)"',
        f"kubectl get inc,pods {PROD}; kubectl describe inc {PROD}",
        "kubectl logs deployment/incident-operator -n incident-operator-system --tail=50",
    ):
        console.print(f"  {line}", style="cyan", soft_wrap=True, markup=False)


def _between(times: dict[str, str], start: str, end: str) -> int:
    first, last = (datetime.fromisoformat(times[name]) for name in (start, end))
    return round((last - first).total_seconds())
