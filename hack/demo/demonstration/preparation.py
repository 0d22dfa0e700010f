"""Everything that has to be there before the night begins."""

from datetime import datetime

from rich.console import Console

from demonstration import chart, cluster, manifests, people, platform, terminal
from demonstration.cluster import Cluster, Tell
from demonstration.people import Actors, Person

INCIDENT_FILES = ("incidents/rbac.yaml", "incidents/people.yaml", "incidents/connections.yaml")
RUNBOOK = manifests.EXAMPLE / "incidents" / "runbook.yaml"
RUNBOOK_NAME = "pricing-pack-build-failure"
STEPS = 6


def prepare(console: Console, now: datetime) -> Actors:
    """Set everything up anew, reusing cluster and images; it is shortly before the night of `now`'s day, and all is well."""
    with terminal.set_up(console, STEPS) as set_up:
        with set_up.step("Kubernetes on this machine") as tell:
            admin = cluster.up(tell)
        with set_up.step("image of the sample platform") as tell:
            cluster.build_image(platform.IMAGE, platform.DOCKERFILE, "platform", tell)
        with set_up.step("image of the operator") as tell:
            cluster.build_image(chart.IMAGE, chart.DOCKERFILE, "python", tell)
        with set_up.step("operator, by its Helm chart") as tell:
            platform.remove(admin)
            platform.create_namespace(admin)
            token = chart.install(admin)
        with set_up.step("platform in namespace prod, with Prometheus and Alertmanager") as tell:
            platform.deploy(admin, token, now)
        with set_up.step("alice, bob and mallory; runbook RB-01, applied by bob") as tell:
            return _people_and_runbook(admin, tell)


def _people_and_runbook(admin: Cluster, tell: Tell) -> Actors:
    install_access(admin)
    tell("client certificates")
    actors = people.gather(admin)
    tell("runbook")
    install_runbook(actors.bob)
    return actors


def install_access(admin: Cluster) -> None:
    """Apply what RB-01 needs beside itself: its account, the people's roles, the Connections."""
    admin.apply(manifests.documents(*INCIDENT_FILES))


def install_runbook(editor: Person) -> None:
    """Apply RB-01 as this person, who thereby is its editor, and wait until it is ready."""
    editor.runs(f"kubectl apply -f {RUNBOOK}")
    ready = f"kubectl wait --for=condition=Ready runbook/{RUNBOOK_NAME} -n {manifests.NAMESPACE} --timeout=60s"
    editor.runs(ready, seconds=65)
