"""The operator in the cluster, by its Helm chart."""

import base64

from demonstration import manifests
from demonstration.cluster import REPOSITORY, Cluster

IMAGE = "incident-operator:dev"
DOCKERFILE = "Dockerfile"
RELEASE = "incident-operator"
NAMESPACE = "incident-operator-system"


def install(cluster: Cluster) -> str:
    """Install or upgrade the operator for the sample's namespace, which has to exist; returns the receiver's token.

    CRDs and policies that are there without the chart (the tests apply them so) become the release's.
    """
    existed = cluster.get("deployment", RELEASE, "-n", NAMESPACE) is not None
    repository, _, tag = IMAGE.partition(":")
    values = f"namespaces={{{manifests.NAMESPACE}}},image.repository={repository},image.tag={tag}"
    options = ("--namespace", NAMESPACE, "--create-namespace", "--take-ownership", "--force-conflicts", "--set", values)
    cluster.helm("upgrade", "--install", RELEASE, str(REPOSITORY / "charts" / "incident-operator"), *options)
    if existed:  # its image may be newer under the same name
        cluster.kubectl("rollout", "restart", f"deployment/{RELEASE}", "-n", NAMESPACE)
    cluster.roll_out(NAMESPACE, RELEASE)
    name = f"{RELEASE}-webhook"
    # the operator makes it; where an upgrade from an earlier chart took it away, again at its next look
    cluster.kubectl("wait", "--for=create", f"secret/{name}", "-n", NAMESPACE, "--timeout=90s", timeout=95)
    secret = cluster.get("secret", name, "-n", NAMESPACE) or {}
    return base64.b64decode(secret["data"]["token"]).decode()


def uninstall(cluster: Cluster) -> None:
    """Take the operator away; CRDs, and so Incidents of other namespaces, stay."""
    cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")


def report_command(incident: str) -> str:
    """What a person types to read the report of an Incident."""
    program = f"kubectl exec deployment/{RELEASE} -n {NAMESPACE} -- incident-operator"
    return f"{program} report {incident} -n {manifests.NAMESPACE}"
