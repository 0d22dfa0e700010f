"""What the operator leaves in the audit log over all end-to-end tests: the rights it used, and its silence when idle."""

import time

import pytest
from demonstration import chart, manifests
from demonstration.cluster import Cluster

from tests.e2e.idle import Idle
from tests.e2e.witnesses import AuditLog

pytestmark = [pytest.mark.cluster, pytest.mark.last]
_WHOAMI = ("authentication.k8s.io", "selfsubjectreviews", "create")
"""Everybody may ask who they are; no role grants it."""
_REPAIR = ("", "secrets", "patch")
"""Used where somebody took a key out of one of the operator's own Secrets, which no test here does."""
Right = tuple[str, str, str]


def granted(cluster: Cluster) -> set[Right]:
    """(API group, resource, verb) of the ClusterRoles that read and write, and of the Roles for Lease and Secrets, as shipped."""
    everywhere = cluster.get("clusterrole", "incident-operator") or {}
    where_served = cluster.get("clusterrole", "incident-operator-writer") or {}
    at_home = cluster.get("role", f"{chart.RELEASE}-lease", "-n", chart.NAMESPACE) or {}
    secrets = cluster.get("role", f"{chart.RELEASE}-secrets", "-n", chart.NAMESPACE) or {}
    rules = [*everywhere["rules"], *where_served["rules"], *at_home["rules"], *secrets["rules"]]
    pairs = [(group, resource, rule) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]]
    return {(group, resource, verb) for group, resource, rule in pairs for verb in rule["verbs"]} - {_REPAIR}


def used(audit: AuditLog) -> set[Right]:
    """The same of every request that was sent under the operator's own name."""
    found = set()
    for entry in audit.entries():
        if "impersonatedUser" in entry or "objectRef" not in entry or "resource" not in entry["objectRef"]:
            continue
        reference = entry["objectRef"]
        subresource = f"/{reference['subresource']}" if "subresource" in reference else ""
        found.add((reference.get("apiGroup", ""), f"{reference['resource']}{subresource}", entry["verb"]))
    return found - {_WHOAMI}


def test_no_right_is_a_wildcard(cluster: Cluster, installed: str) -> None:
    assert not [right for right in granted(cluster) if "*" in "".join(right)]


@pytest.mark.parametrize(
    ("verb", "what", "served", "elsewhere"),
    [
        ("patch", "configmaps", "yes", "no"),
        ("create", "controllerrevisions.apps", "yes", "no"),
        ("impersonate", "serviceaccounts", "yes", "no"),
        ("list", "incidents.incidents.dev", "yes", "yes"),
    ],
)
def test_where_it_does_not_serve_it_may_write_nothing(
    cluster: Cluster, installed: str, verb: str, what: str, served: str, elsewhere: str
) -> None:
    account = f"--as=system:serviceaccount:{chart.NAMESPACE}:{chart.RELEASE}"
    may = {
        where: cluster.try_kubectl("auth", "can-i", verb, what, "-n", where, account).output.strip()
        for where in (manifests.NAMESPACE, "kube-system")
    }
    assert may == {manifests.NAMESPACE: served, "kube-system": elsewhere}


def test_every_right_that_the_chart_grants_is_used_and_no_other_is_asked_for(
    cluster: Cluster, audit_of_all: AuditLog
) -> None:
    assert used(audit_of_all) == granted(cluster)


def test_an_idle_operator_writes_nothing_for_a_minute(cluster: Cluster, idle: Idle) -> None:
    time.sleep(max(0.0, 60.0 - idle.seconds()))
    assert idle.seconds() >= 60.0
    assert idle.writes() == []
    assert idle.is_alive()
