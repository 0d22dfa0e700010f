"""`exec`: runs a command in a container that is there already, at most once (effect: unkeyed).

Nothing that a command does can be looked up, so an end that was not seen is `Undetermined`, and never a reason to run it again.
"""

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from pydantic import Field

from incident_operator.actions import pods as pod_state
from incident_operator.actions import workloads
from incident_operator.actions.clients import Clients
from incident_operator.actions.logs import compiled, last_line, read_lines_aside, split
from incident_operator.api.meta import DnsLabel, Model
from incident_operator.core import reasons
from incident_operator.core.action import Action, Call, Pattern, Preview, Text, kind_and_name
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import Effect, Failed, Failure, Json, Outcome, Succeeded, Undetermined, Unusable
from incident_operator.core.runbooks import draft
from incident_operator.kubernetes import discovery, errors
from incident_operator.kubernetes.accounts import Account
from incident_operator.kubernetes.exec import Command, Ended

ExecTarget = Annotated[str, kind_and_name("pod", "deployment", "statefulset", "daemonset")]
"""A Pod, or a workload one of whose Pods is meant, as kubectl writes it."""


class Exec(Model):
    """Runs a command in a running container (effect: unkeyed, at most once).

    Standard input is empty.
    """

    target: ExecTarget
    """A Pod, or a workload: then its ready Pod that is oldest."""
    container: DnsLabel | None = None
    """The Pod's default container, or its first one, unless named."""
    command: Annotated[list[Text], Field(min_length=1, max_length=64), Take.ARGV]
    """An argv list; never a shell string made from data. An element behind the program may be one `${…}`, or `--name=${…}`."""
    pattern: Pattern | None = None
    """RE2 with named groups; every matching line of stdout gives an entry in `result.matches`."""


class Result(TypedDict):
    """What `result` holds."""

    exitCode: int
    stdout: str
    stderr: Annotated[str, "64 KiB each: the end"]
    matches: Annotated[list[dict[str, str]], "as in `logs`, of stdout"]
    truncated: bool


def _check(spec: Exec, path: str) -> Iterator[Problem]:
    yield from draft.is_pattern(path, spec.pattern)


_POD = "pod/"
_SHORTEST = 1.0
"""Seconds that a command gets in any case, however long it took to look at its Pod."""


@dataclass(frozen=True, slots=True)
class Place:
    """A container of one Pod, not of any later one of the same name, and what is to run in it."""

    pod: str
    uid: str
    container: str
    argv: tuple[str, ...]

    @property
    def named(self) -> str:
        """As people write it."""
        return f"{self.pod}/{self.container}"


async def show(call: Call[Exec], clients: Clients, trial: bool) -> Preview:  # noqa: ARG001 # a command cannot be tried
    """Say what would run, and in which very Pod; a Pod that is replaced later is another plan."""
    spec = call.spec
    compiled(spec.pattern)
    place = await _find(clients.account_of(call), call)
    facts = {"pod": place.pod, "uid": place.uid, "container": place.container, "command": list(place.argv)}
    return Preview(
        f"run in {place.named} of {call.namespace}: {shlex.join(place.argv)}",
        {"target": spec.target, **facts},
        thing=place,
        bound=facts,
        seen={"pod": place.pod, "uid": place.uid},
    )


async def act(call: Call[Exec], preview: Preview, clients: Clients) -> Outcome:
    """Run it and return {exitCode, stdout, stderr, matches, truncated}; any other exit code than 0 is a failure."""
    place: Place = preview.thing
    account, pattern = clients.account_of(call), compiled(call.spec.pattern)
    ends_at = asyncio.get_running_loop().time() + call.timeout
    found = await account.find(discovery.pods(call.namespace, place.pod))
    if found is None or found["metadata"]["uid"] != place.uid:
        # the apiserver would run the command in its successor
        told = f"Pod {place.pod} is no longer the one in the plan (uid {place.uid}); nothing was run"
        raise Failure(reasons.CONFLICT, told, retryable=True)
    left = max(_SHORTEST, ends_at - asyncio.get_running_loop().time())
    command = Command(discovery.pods(call.namespace, place.pod, "exec"), place.container, place.argv)
    try:
        ended = await clients.commands.run(call.namespace, call.service_account, command, left)
    except errors.Unavailable as error:
        raise Failure(
            error.reason,
            f"in {place.named}: {error.message}",
            retryable=error.retryable,
            maybe_applied=error.maybe_applied,
        ) from error
    return await _told(account, call, place, ended, pattern)


async def _told(account: Account, call: Call[Exec], place: Place, ended: Ended, pattern: Any) -> Outcome:
    other = await _successor(account, call.namespace, place)
    if other:
        # the apiserver runs a command by the Pod's name, whichever Pod has it
        return Undetermined(
            f"Pod {place.pod} was replaced meanwhile (uid {place.uid}, now {other}); "
            f"the command ended with exit code {ended.exit_code} in one of the two"
        )
    printed = ended.stdout if ended.exit_code == 0 else ended.stderr or ended.stdout
    summary = f"exit code {ended.exit_code} in {place.named}{last_line(split(printed.decode(errors='replace')))}"
    result = await _result(ended, pattern)
    if ended.exit_code == 0:
        return Succeeded(result, summary)
    return Failed(reasons.COMMAND_FAILED, summary, retryable=False, result=result, effected=True)


async def _successor(account: Account, namespace: str, place: Place) -> str:
    """Return the uid of another Pod that has the name by now; empty where there is none, or nobody can tell."""
    try:
        found = await account.find(discovery.pods(namespace, place.pod))
    except errors.ApiError:
        return ""
    uid = str(found["metadata"]["uid"]) if found is not None else place.uid
    return "" if uid == place.uid else uid


async def _result(ended: Ended, pattern: Any) -> dict[str, Any]:
    stdout, stderr = (stream.decode(errors="replace") for stream in (ended.stdout, ended.stderr))
    return {
        "exitCode": ended.exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "matches": (await read_lines_aside(split(stdout), pattern)).matches,
        "truncated": ended.truncated,
    }


async def _find(account: Account, call: Call[Exec]) -> Place:
    """Return where the target is right now. Raises `ApiError`, or `Unusable` where no Pod of it runs."""
    target = call.spec.target
    if target.startswith(_POD):
        pod = await account.get(discovery.pods(call.namespace, target.removeprefix(_POD)))
    else:
        pod = await _longest_serving(account, call.namespace, target)
    if not _runs(pod):
        raise Unusable(f"{target} does not run")
    meta, containers = pod["metadata"], pod["spec"]["containers"]
    names = [str(one["name"]) for one in containers]
    chosen = call.spec.container or pod_state.default_container(meta, containers)
    if chosen not in names:
        raise Unusable(f"Pod {meta['name']} has no container {chosen}; it has {', '.join(names)}")
    return Place(str(meta["name"]), str(meta["uid"]), chosen, tuple(call.spec.command))


async def _longest_serving(account: Account, namespace: str, target: str) -> Json:
    selector = workloads.pod_selector(await account.get(workloads.path(namespace, target)))
    if not selector:
        raise Unusable(f"{target} selects every Pod of {namespace}; name a pod instead")
    longest: list[Json] = []
    async for pod in account.list(discovery.pods(namespace), params={"labelSelector": selector}):
        if _runs(pod):  # one is kept, however many there are
            longest = [longest_serving(target, [*longest, pod])]
    return longest_serving(target, longest)


def longest_serving(target: str, pods: Sequence[Json]) -> Json:
    """Return the ready Pod that is oldest: the one that stays the same while a person thinks. Raises `Unusable`."""
    running = [pod for pod in pods if _runs(pod)]
    if not running:
        raise Unusable(f"no Pod of {target} runs")

    def order(pod: Json) -> tuple[bool, str, str]:
        meta = pod["metadata"]
        return not ready(pod), str(meta.get("creationTimestamp")), str(meta["name"])

    return min(running, key=order)


def _runs(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod.get("status", {}).get("phase") == "Running"


def ready(pod: Json) -> bool:
    """Tell whether a Pod serves."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


ACTION = Action(
    "exec",
    Exec,
    Result,
    effect=Effect.UNKEYED,
    rights="create and get pods/exec, get pods; of a workload: get it, list pods",
    checks=(_check,),
    workload=lambda spec: spec.target,
    show=show,
    act=act,
)
