"""`logs`: reads what Pods wrote, and turns lines into typed values by a pattern (effect: read).

The account needs: list on pods, get on pods/log, and get on the workload that is named.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from incident_operator.actions import kube_failures, log_lines, workloads
from incident_operator.actions.kube_failures import Unusable
from incident_operator.actions.protocol import Call, Preview
from incident_operator.api import actions, meta
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account, Cluster
from incident_operator.core.outcomes import Json, Outcome, Succeeded

_Text = str | api_errors.ApiError
_MAX_PODS = 20
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class Logs:
    """Reads the newest lines of one container of each Pod of a workload, or of the Pods with some labels."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, call: Call) -> Outcome:
        """Return `{pods, lines, matches, truncated}`; no Pods is an answer too, not a failure."""
        spec = _spec(call)
        account = self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)
        try:
            pattern = log_lines.compiled(spec.pattern)
            pods = await _pods(account, call.namespace, await _selector(account, call, spec))
            texts = await _texts(account, call.namespace, pods[:_MAX_PODS], spec)
        except (api_errors.ApiError, Unusable) as error:
            return kube_failures.failed(error, call)
        names = [str(pod["metadata"]["name"]) for pod in pods]
        lines = [line for text in texts if isinstance(text, str) for line in text.splitlines()]
        read = log_lines.read(lines, pattern)
        cut = read.truncated or len(pods) > _MAX_PODS
        result = {"pods": names, "lines": read.lines, "matches": read.matches, "truncated": cut}
        return Succeeded(result, _summary(spec, names, len(lines), len(read.matches)) + _unread(names, texts))

    async def preview(self, call: Call) -> Preview:
        """Say what would be read."""
        spec = _spec(call)
        whose = spec.source or f"Pods with {workloads.selector(spec.selector or {})}"
        return Preview(f"read the last {spec.tail} lines of {whose} in {call.namespace}")


async def _selector(account: Account, call: Call, spec: actions.Logs) -> str:
    if (spec.source is None) == (not spec.selector):
        raise Unusable("logs needs either `from` or a selector with at least one label")
    if spec.source is None:
        return workloads.selector(spec.selector or {})
    workload = await account.get(workloads.path(call.namespace, spec.source))
    found = workloads.pod_selector(workload)
    if not found:
        raise Unusable(f"{spec.source} selects every Pod of {call.namespace}; name a selector instead")
    return found


async def _pods(account: Account, namespace: str, selector: str) -> Sequence[Json]:
    page = await account.get(paths.pods(namespace), params={"labelSelector": selector, "limit": "500"})
    return sorted(page.get("items") or [], key=lambda pod: str(pod["metadata"]["name"]))


async def _texts(account: Account, namespace: str, pods: Sequence[Json], spec: actions.Logs) -> Sequence[_Text]:
    """Return each Pod's log, or why it cannot be read. Raises that where none can."""
    texts = await asyncio.gather(*(_text(account, namespace, pod, spec) for pod in pods))
    unread = [text for text in texts if isinstance(text, api_errors.ApiError)]
    if unread and len(unread) == len(texts):
        raise unread[0]
    return texts


async def _text(account: Account, namespace: str, pod: Json, spec: actions.Logs) -> _Text:
    """Return the log of a Pod's container; one that has not started, or is gone by now, wrote nothing."""
    container = spec.container or _default_container(pod)
    try:
        return await account.log(paths.pods(namespace, pod["metadata"]["name"], "log"), params=_query(spec, container))
    except api_errors.NotFound:
        return ""
    except api_errors.ApiError as error:
        return "" if "is waiting to start" in error.message else error


def _default_container(pod: Json) -> str:
    annotations: Mapping[str, Any] = pod["metadata"].get("annotations") or {}
    return str(annotations.get(_DEFAULT_CONTAINER) or pod["spec"]["containers"][0]["name"])


def _query(spec: actions.Logs, container: str) -> Mapping[str, str]:
    query = {"container": container, "tailLines": str(spec.tail)}
    if spec.since is None:
        return query
    return {**query, "sinceSeconds": str(max(1, math.ceil(meta.seconds(spec.since))))}


def _summary(spec: actions.Logs, pods: Sequence[str], lines: int, matches: int) -> str:
    if not pods:
        return f"no Pods of {spec.source}" if spec.source else f"no Pods with {workloads.selector(spec.selector or {})}"
    whose = pods[0] if len(pods) == 1 else f"{len(pods)} Pods"
    matching = f", {matches} match" if spec.pattern else ""
    return f"{lines} lines of {whose}{matching}"


def _unread(pods: Sequence[str], texts: Sequence[_Text]) -> str:
    told = [
        f"; {pod} not readable: {text}" for pod, text in zip(pods, texts, strict=False) if not isinstance(text, str)
    ]
    return "".join(told)


def _spec(call: Call) -> actions.Logs:
    if not isinstance(call.spec, actions.Logs):
        raise TypeError(f"logs was called with {type(call.spec).__name__}")
    return call.spec
