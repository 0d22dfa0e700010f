"""Puts the sample platform into a cluster and takes it away again; the end-to-end tests use it too."""

from datetime import datetime

from demonstration import manifests, shell, timings, waiting
from demonstration.cluster import Cluster

IMAGE = "dawsos:dev"
DOCKERFILE = "examples/dawsos/Dockerfile"
DEPLOYMENTS = ("database", "providers", "scheduler", "api", "prometheus", "alertmanager")
NIGHT_COMMAND = f"kubectl set env deployment/scheduler {timings.NIGHT} -n {manifests.NAMESPACE}"
"""Makes the nightly job begin, once."""
DUE_COMMAND = f"kubectl set env deployment/api {timings.DUE} -n {manifests.NAMESPACE}"
"""Makes the day's pack overdue, and so fires the alert while it is not fresh."""
PART_OF = "app.kubernetes.io/part-of"


def remove(cluster: Cluster) -> None:
    """Delete the sample's namespace and wait until it is gone. Refuses a namespace of that name that is not the sample's."""
    if _is_there(cluster):
        cluster.kubectl("delete", "namespace", manifests.NAMESPACE, "--wait", "--timeout=180s", timeout=190)


def create_namespace(cluster: Cluster) -> None:
    """Make the sample's namespace, empty. Refuses a namespace of that name that is not the sample's."""
    _is_there(cluster)
    cluster.apply(manifests.platform()[:1])


def _is_there(cluster: Cluster) -> bool:
    found = cluster.get("namespace", manifests.NAMESPACE)
    if found is not None and found["metadata"].get("labels", {}).get(PART_OF) != manifests.SAMPLE:
        raise shell.Failure(f"namespace {manifests.NAMESPACE} is not the sample's (label {PART_OF}); it is left alone")
    return found is not None


def deploy(cluster: Cluster, receiver_token: str, now: datetime, receiver_url: str = "") -> None:
    """Deploy the platform with short times and wait until it is ready: it is shortly before the night of `now`'s day, and all is well.

    `receiver_url` replaces the address to which Alertmanager posts.
    """
    objects = timings.shortened(manifests.platform(), now)
    if receiver_url:
        objects = timings.posting_to(objects, receiver_url)
    cluster.apply(objects[:1])  # the namespace, before what is in it
    cluster.apply([*manifests.credentials(receiver_token), manifests.database_sql(), *objects[1:]])
    cluster.roll_out(manifests.NAMESPACE, *DEPLOYMENTS)


def failed_build(cluster: Cluster) -> str | None:
    """The line in which the nightly job tells of its failure; None while there is none."""
    log = cluster.try_kubectl("logs", "deployment/scheduler", "-n", manifests.NAMESPACE, "--tail=200").output
    return next((line for line in log.splitlines() if " build_pack " in line and " failed: " in line), None)


def fail_the_night(cluster: Cluster, provider: str = "polygon") -> None:
    """All of it in one go, for tests: the provider down, the build failed, the pack overdue; the alert fires next."""
    break_provider(cluster, provider)
    cluster.must(NIGHT_COMMAND)
    waiting.until("the failure of the nightly build", lambda: failed_build(cluster), 120)
    cluster.must(DUE_COMMAND)
    cluster.roll_out(manifests.NAMESPACE, "api")


def break_provider(cluster: Cluster, name: str) -> None:
    """Take one of polygon, fmp, fred down, and wait until it is."""
    cluster.kubectl("set", "env", "deployment/providers", f"BROKEN={name}", "-n", manifests.NAMESPACE)
    cluster.roll_out(manifests.NAMESPACE, "providers")


def repair_providers(cluster: Cluster) -> None:
    """Bring every provider back, and wait until it is."""
    cluster.kubectl("set", "env", "deployment/providers", "BROKEN-", "-n", manifests.NAMESPACE)
    cluster.roll_out(manifests.NAMESPACE, "providers")


def execute(cluster: Cluster) -> str:
    """What /execute answers a client: `HTTP 200 OK` and the body on the next line."""
    return cluster.kubectl("exec", "deployment/api", "-n", manifests.NAMESPACE, "--", "python3", "-m", "api.check")


def query(cluster: Cluster, statement: str) -> str:
    """What the database answers its administrator, as psql prints it without decoration."""
    words = (
        "--host=/tmp",
        "--username=postgres",
        "--dbname=dawsos",
        "--no-align",
        "--tuples-only",
        "--command",
        statement,
    )
    return cluster.kubectl("exec", "deployment/database", "-n", manifests.NAMESPACE, "--", "psql", *words).strip()
