"""The Pod in which a command runs: that of a name, or the one of a workload that serves longest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from incident_operator.actions import workloads
from incident_operator.actions.kube_failures import Unusable
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account
from incident_operator.core.outcomes import Json

_POD = "pod/"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Place:
    """A container of one Pod, not of any later one of the same name."""

    pod: str
    uid: str
    container: str


async def find(account: Account, namespace: str, target: str, container: str | None) -> Place:
    """Return where `target` is right now. Raises `ApiError`, or `Unusable` where no Pod of it runs."""
    if target.startswith(_POD):
        pod = await account.get(paths.pods(namespace, target.removeprefix(_POD)))
    else:
        pod = longest_serving(target, await _pods_of(account, namespace, target))
    if not _runs(pod):
        raise Unusable(f"{target} does not run")
    return Place(str(pod["metadata"]["name"]), str(pod["metadata"]["uid"]), _container(pod, container))


async def replaced(account: Account, namespace: str, place: Place) -> str:
    """Return the uid of another Pod that has the name by now; empty where there is none, or nobody can tell."""
    try:
        found = await account.get(paths.pods(namespace, place.pod))
    except api_errors.ApiError:
        return ""
    uid = str(found["metadata"]["uid"])
    return "" if uid == place.uid else uid


async def _pods_of(account: Account, namespace: str, target: str) -> Sequence[Json]:
    selector = workloads.pod_selector(await account.get(workloads.path(namespace, target)))
    if not selector:
        raise Unusable(f"{target} selects every Pod of {namespace}; name a pod instead")
    page = await account.get(paths.pods(namespace), params={"labelSelector": selector, "limit": "500"})
    return page.get("items") or []


def longest_serving(target: str, pods: Sequence[Json]) -> Json:
    """Return the ready Pod that is oldest: the one that stays the same while a person thinks. Raises `Unusable`."""
    running = [pod for pod in pods if _runs(pod)]
    if not running:
        raise Unusable(f"no Pod of {target} runs")
    return min(running, key=lambda pod: (not ready(pod), *_age(pod["metadata"])))


def _age(meta: Mapping[str, Any]) -> tuple[str, str]:
    return str(meta.get("creationTimestamp")), str(meta["name"])


def _runs(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod.get("status", {}).get("phase") == "Running"


def ready(pod: Json) -> bool:
    """Tell whether a Pod serves."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _container(pod: Json, wanted: str | None) -> str:
    names = [str(one["name"]) for one in pod["spec"]["containers"]]
    annotations = pod["metadata"].get("annotations") or {}
    chosen = wanted or str(annotations.get(_DEFAULT_CONTAINER) or names[0])
    if chosen not in names:
        raise Unusable(f"Pod {pod['metadata']['name']} has no container {chosen}; it has {', '.join(names)}")
    return chosen
