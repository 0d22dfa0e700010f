"""What a Pod, and the Events about it, say in words: which container is meant, why it does not run, how its containers ended.

Events are read, never watched. One that comes again with another count, another time or another name of a Pod that was never made says
the same.
"""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from incident_operator.core import texts
from incident_operator.core.outcomes import Json
from incident_operator.kubernetes import discovery, errors
from incident_operator.kubernetes.accounts import Account

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation that names the container which is meant where none is named."""
INIT_CONTAINER = "init container"
CONTAINER = "container"
_STATUSES = ((INIT_CONTAINER, "initContainerStatuses"), (CONTAINER, "containerStatuses"))
_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of waiting that come before each start, and name nothing that is in the way."""
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
"""The kubelet changes from one to the other and back; what is told must not."""
_PULL_AGAIN = "ErrImagePull: "
_SAY_NOTHING = frozenset({"", "Error", "Completed"})
_LOST = "ContainerStatusUnknown"
"""Reason of an end that nobody saw: its exit code is made up."""
_LATE = "DeadlineExceeded"
_OOM = "OOMKilled"
_SIGNALLED = 128
_TOLD = 240


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    name: str
    kind: str
    """`container` or `init container`."""
    exit_code: int
    reason: str
    """The kubelet's, e.g. `OOMKilled`; empty where it only repeats the exit code."""
    said: str
    """What the container, or the runtime, left as a last word."""
    at: datetime | None
    limit: str
    """The memory that it might have; empty where that is not limited."""

    def __str__(self) -> str:
        """Return it for people, e.g. `container main: OOMKilled, exit code 137 (SIGKILL), memory limit 64Mi`."""
        code = f"exit code {self.exit_code}{_signal(self.exit_code)}"
        limit = f"memory limit {self.limit}" if self.reason == _OOM and self.limit else ""
        told = ", ".join(part for part in (self.reason, code, limit) if part)
        return f"{self.kind} {self.name}: {told}" + (f" ({self.said})" if self.said else "")


def default_container(meta: Mapping[str, Any] | None, containers: Sequence[Json]) -> str:
    """Return the container that is meant where none is named, as kubectl takes it: the annotation's, if it is there, or the first."""
    names = [str(one["name"]) for one in containers]
    wanted = ((meta or {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
    return wanted if wanted in names else names[0]


def words(reason: object, message: object) -> str:
    """Return a reason with its message, on one line and bounded, e.g. `Unschedulable (0/3 nodes are available)`."""
    if reason == _LATE:
        return _LATE  # the message says it again
    told = texts.cut(texts.visible(str(message or "")), _TOLD)
    named = texts.cut(texts.visible(str(reason or "")), _TOLD)
    return f"{named} ({told})" if named and told else named or told


def trouble(pod: Json) -> str:
    """Return what befell the Pod as a whole, e.g. `Evicted (The node was low on resource: memory)`; empty where nothing did."""
    status = pod.get("status", {})
    if status.get("reason"):
        return words(status["reason"], status.get("message"))
    found = _condition(pod, "DisruptionTarget", "True")
    return words(found.get("reason") or "Disrupted", found.get("message")) if found else ""


def obstacle(pod: Json) -> str:
    """Return what keeps the Pod's containers from running; empty where nothing that it knows of does."""
    if told := trouble(pod):
        return told
    if found := _condition(pod, "PodScheduled", "False"):
        return words(found.get("reason", "Unscheduled"), found.get("message"))
    for kind, one in _each(pod):
        if told := _waiting(kind, one):
            before = _end_before(pod, one)
            return f"{told}: {before}" if before else told
    return ""


def is_pulling(pod: Json) -> bool:
    """Tell whether an image cannot be had so far, for which an Event may name a pull secret that is missing."""
    return any(_reason(one) in _PULLING for _, one in _each(pod))


def is_left_alone(pod: Json) -> bool:
    """Tell whether the kubelet seems to be away: it says that all containers are ready, and somebody else that the Pod is not."""
    ours = not pod.get("spec", {}).get("readinessGates") and _condition(pod, "ContainersReady", "True")
    return bool(ours and _condition(pod, "Ready", "False"))


def first_at_work(pod: Json) -> str:
    """Return the init container that runs while the others wait, as the end of a sentence; empty where none does."""
    for kind, one in _each(pod):
        running = (one.get("state") or {}).get("running") is not None
        if kind == INIT_CONTAINER and running and one["name"] not in _sidecars(pod):
            return f", {kind} {one['name']} runs"
    return ""


def standing(pod: Json, container: str, *, previous: bool) -> str:
    """Return, for people, why a container wrote nothing so far, or that it restarted and where to read what it wrote before."""
    own: Json = next((one for _, one in _each(pod) if one["name"] == container), {})
    restarts, before = int(own.get("restartCount") or 0), _end_before(pod, own)
    if restarts:
        last = f", the last time after {before}" if before else ""
        hint = "" if previous else "; previous: true reads what it wrote before"
        return f"container {container} restarted {_times(restarts)}{last}{hint}"
    if previous:
        return f"container {container} has not restarted"
    if set(own.get("state") or {}) & {"running", "terminated"}:
        return trouble(pod)
    return _not_started(pod, container, own)


def _not_started(pod: Json, container: str, status: Json) -> str:
    phase = str(pod.get("status", {}).get("phase") or "")
    why = _init_in_the_way(pod) or obstacle(pod) or _reason(status) or (phase if phase in {"Pending", "Failed"} else "")
    return f"container {container} has not started: {why}" if why else ""


def _init_in_the_way(pod: Json) -> str:
    """Return how the init container stands that the others wait for; its log can be read by its name."""
    for kind, one in _each(pod):
        state = one.get("state") or {}
        if (
            kind != INIT_CONTAINER
            or one["name"] in _sidecars(pod)
            or (state.get("terminated") or {}).get("exitCode") == 0
        ):
            continue
        before = _end_before(pod, one) or str(_ended(pod, kind, one) or "")
        now = _waiting(kind, one) or (f"{kind} {one['name']} runs" if "running" in state else "")
        if told := "; ".join(part for part in (now, before) if part):
            return f"{told}; container: {one['name']} reads its log"
    return ""


def _end_before(pod: Json, status: Json) -> str:
    last = (status.get("lastState") or {}).get("terminated")
    kind = INIT_CONTAINER if status in (pod.get("status", {}).get("initContainerStatuses") or []) else CONTAINER
    found = _ended(pod, kind, {**status, "state": {"terminated": last}}) if last else None
    return str(found).removeprefix(f"{kind} {status['name']}: ") if found is not None else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def unanswered(pod: Json) -> str:
    """Return the node whose kubelet has not begun with the Pod, as the end of a sentence; empty where it has."""
    node, status = pod.get("spec", {}).get("nodeName"), pod.get("status", {})
    return (
        f", node {node} has not started it"
        if node and status.get("phase") == "Pending" and not status.get("startTime")
        else ""
    )


def ended(pod: Json, container: str) -> Ended | None:
    """Return how a container ended; None where it has not, never ran, or nobody saw its end."""
    return next((how for how in _ends(pod) if (how.kind, how.name) == (CONTAINER, container)), None)


def that_matters(pod: Json, container: str) -> Ended | None:
    """Return the end that decides: of the container that is meant, or of the init container because of which it never ran."""
    main = ended(pod, container)
    if main is not None:
        return main
    failed = (how for how in _ends(pod) if how.kind == INIT_CONTAINER and how.exit_code != 0)
    return next((how for how in failed if how.name not in _sidecars(pod)), None)


def beside(pod: Json, how: Ended) -> Sequence[Ended]:
    """Return how other containers failed that may be why this one did: for want of memory, or before it."""
    others = [one for one in _ends(pod) if one.name != how.name and one.exit_code != 0]
    return [
        one for one in others if one.reason == _OOM or (one.at is not None and how.at is not None and one.at < how.at)
    ]


def by_itself(pod: Json, how: Ended) -> bool:
    """Tell whether a container ended before anybody asked its Pod to: one that is asked to may end with 0, and not be done."""
    moments = list(_asked_to_end(pod))
    if not moments:
        return not trouble(pod)
    return how.at is not None and how.at < min(moments)


def still_running(pod: Json) -> Sequence[str]:
    """Return the containers that have not ended, without sidecars, which the kubelet ends itself."""
    return [
        str(one["name"])
        for kind, one in _each(pod)
        if kind == CONTAINER and not (one.get("state") or {}).get("terminated")
    ]


def _asked_to_end(pod: Json) -> Iterator[datetime]:
    status, meta, spec = pod.get("status", {}), pod["metadata"], pod.get("spec", {})
    if found := _condition(pod, "DisruptionTarget", "True"):
        yield from _moment(found.get("lastTransitionTime"))
    for at in _moment(meta.get("deletionTimestamp")):
        yield at - timedelta(seconds=int(meta.get("deletionGracePeriodSeconds") or 0))
    if status.get("reason") == _LATE and spec.get("activeDeadlineSeconds"):
        for at in _moment(status.get("startTime")):
            yield at + timedelta(seconds=int(spec["activeDeadlineSeconds"]))


def _ends(pod: Json) -> Iterator[Ended]:
    for kind, one in _each(pod):
        if (how := _ended(pod, kind, one)) is not None:
            yield how


def _ended(pod: Json, kind: str, status: Json) -> Ended | None:
    found = (status.get("state") or {}).get("terminated")
    if not found or found.get("reason") == _LOST or found.get("exitCode") is None:
        return None
    name, reason = str(status["name"]), str(found.get("reason") or "")
    at = next(_moment(found.get("finishedAt")), None)
    told = "" if reason in _SAY_NOTHING else texts.visible(reason)
    said = texts.cut(texts.visible(str(found.get("message") or "")), _TOLD)
    return Ended(name, kind, int(found["exitCode"]), told, said, at, _memory_limit(pod, name))


def _each(pod: Json) -> Iterator[tuple[str, Json]]:
    for kind, key in _STATUSES:
        yield from ((kind, one) for one in pod.get("status", {}).get(key) or [])


def _sidecars(pod: Json) -> frozenset[str]:
    """Return the init containers that go on beside the others and are restarted."""
    found = pod.get("spec", {}).get("initContainers") or []
    return frozenset(str(one.get("name")) for one in found if one.get("restartPolicy") == "Always")


def _waiting(kind: str, status: Json) -> str:
    reason = _reason(status)
    if reason in _ON_ITS_WAY:
        return ""
    message = str(status["state"]["waiting"].get("message") or "")
    if reason in _PULLING:
        # the steady one of the two, and the error without what the other says in front of it
        reason, message = "ImagePullBackOff", message.rpartition(_PULL_AGAIN)[2] or message
    return f"{words(reason, message)}, {kind} {status['name']}"


def _reason(status: Json) -> str:
    return str(((status.get("state") or {}).get("waiting") or {}).get("reason") or "")


def _condition(pod: Json, kind: str, status: str) -> Mapping[str, Any]:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((one for one in conditions if (one["type"], one["status"]) == (kind, status)), {})


def _memory_limit(pod: Json, container: str) -> str:
    spec = pod.get("spec", {})
    for one in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if one.get("name") == container:
            return str(((one.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _signal(exit_code: int) -> str:
    with suppress(ValueError):
        return f" ({signal.Signals(exit_code - _SIGNALLED).name})" if exit_code > _SIGNALLED else ""
    return ""


def _moment(text: object) -> Iterator[datetime]:
    if isinstance(text, str):
        with suppress(ValueError):
            yield datetime.fromisoformat(text)


MISSING_PULL_SECRET = "FailedToRetrieveImagePullSecret"  # noqa: S105 # a reason
NODE_NOT_READY = "NodeNotReady"
_TELLING = frozenset({"Preempted", "TaintManagerEviction"})
"""Reasons of Events that are not warnings, and yet say why a Pod is gone."""
_ECHOES = frozenset({"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"})
"""Reasons of Events that only repeat a Job's own condition."""
_ECHO = re.compile(r"Error: \w+$|Back-off pulling image ")
"""Messages of Events that repeat a container's reason of waiting; what was wrong stands in another one."""
_CREATED = "SuccessfulCreate"
_POD_NAME = re.compile(r"pod:\s*(\S+)")
_GENERATED = 58
"""Characters of a name that the apiserver keeps before it adds five of its own."""
_MOST = 100


@dataclass(frozen=True, slots=True)
class Told:
    """The Events about one object, those that tell of trouble apart."""

    troubles: Sequence[Json]
    """Newest last."""
    pod: str = ""
    """The Pod that a Job's Events say was made."""
    missing_right: str = ""
    """How a person is told that nobody may look; empty where somebody may."""

    @property
    def newest(self) -> str:
        """The newest trouble in words; empty where there is none."""
        return _words(self.troubles[-1]) if self.troubles else ""

    def of(self, reason: str) -> str:
        """Return the newest trouble of that reason in words; empty where there is none."""
        return next((_words(one) for one in reversed(self.troubles) if one.get("reason") == reason), "")


async def about(account: Account, namespace: str, **field: str) -> Told:
    """Return what is told of the object with that `uid`, or that `name`; where Events cannot be read, that nothing is."""
    ((key, value),) = field.items()
    query = {"fieldSelector": f"involvedObject.{key}={value}"}
    found: list[Json] = []
    try:
        async for event in account.list(discovery.core_events(namespace), params=query, chunk=_MOST):
            found.append(event)
            if len(found) == _MOST:
                break
    except errors.Forbidden:
        return Told((), missing_right="its account may not list events")
    except errors.ApiError:
        return Told(())
    found.sort(key=_last_seen)
    return Told([event for event in found if _is_trouble(event)], _made(found))


def _is_trouble(event: Json) -> bool:
    reason = event.get("reason")
    if reason in _TELLING:
        return True
    echoes = reason in _ECHOES or _ECHO.match(str(event.get("message") or "")) is not None
    return event.get("type") == "Warning" and not echoes


def _made(events: Sequence[Json]) -> str:
    for event in reversed(events):
        named = _POD_NAME.search(str(event.get("message") or ""))
        if event.get("reason") == _CREATED and named:
            return named[1]
    return ""


def _words(event: Json) -> str:
    message = str(event.get("message") or "")
    about_it = event.get("involvedObject") or {}
    if about_it.get("kind") == "Job":
        message = _without_generated(message, str(about_it.get("name") or ""))
    return words(event.get("reason"), message)


def _without_generated(message: str, job: str) -> str:
    """Return the message without the five characters that are others each time that a Pod of the Job is refused."""
    prefix = f"{job}-"[:_GENERATED]
    return re.sub(rf"{re.escape(prefix)}[a-z0-9]{{5}}\b", f"{prefix}…", message)


def _last_seen(event: Json) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((at for at in times if at), event["metadata"].get("creationTimestamp") or ""))
