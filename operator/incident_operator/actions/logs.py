"""`logs`: reads the newest lines of one container of a Pod, or of each Pod of a workload or with some labels (effect: read).

A pattern turns lines into typed values. A Pod that never started says why, and a container that restarted how to see what it wrote before.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from pydantic import ConfigDict, Field

from incident_operator.actions import pods as pod_state
from incident_operator.actions import workloads
from incident_operator.actions.clients import Clients
from incident_operator.api import meta
from incident_operator.api.meta import DnsLabel, Duration, Model, exactly_one, validations
from incident_operator.core import texts
from incident_operator.core.action import Action, Call, Pattern, Selector, Text, WorkloadRef
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Take
from incident_operator.core.outcomes import Doubt, Effect, Json, Outcome, Succeeded, Unusable
from incident_operator.core.runbooks import draft
from incident_operator.core.sanitize import PatternError, compiled_pattern
from incident_operator.core.texts import counted, fitting, line
from incident_operator.kubernetes import discovery, errors
from incident_operator.kubernetes.accounts import Account

_MAX_LINE = 4096
_LAST_LINE = 300
_MAX_LINES_BYTES = 160 * 1024
_MAX_MATCHES = 1000
_MAX_MATCHES_BYTES = 64 * 1024
_MATCH_SECONDS = 5.0
"""Of the processor, for all lines; usual patterns take milliseconds for a megabyte."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is kept of a log: the newest lines, and the newest matches."""

    lines: Sequence[str]
    matches: Sequence[dict[str, str]]
    truncated: bool


def compiled(pattern: str | None) -> Any:
    """Return the compiled RE2, or None where there is none. Raises `Unusable` with RE2's own words."""
    if pattern is None:
        return None
    try:
        return compiled_pattern(pattern)
    except PatternError as error:
        raise Unusable(f"pattern is {error}") from error


def split(text: str) -> list[str]:
    """Return a log's lines, which end at LF and nowhere else, as the runtime has them: U+2028 or a lone CR may stand in one.

    The CR of a line that ends with CR LF is left out.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_lines(lines: Sequence[str], pattern: Any) -> Read:
    """Keep what fits, newest last; a match holds the named groups that took part in it.

    Lines are matched from the newest on, for as long as a pattern may take.
    """
    kept = newest_lines([texts.cut(line, _MAX_LINE) for line in lines], _MAX_LINES_BYTES)
    found, all_looked_at = _found(lines, pattern)

    def size(match: dict[str, str]) -> int:
        return sum(len(key) + _bytes(value) + 8 for key, value in match.items()) + 4

    newest, _ = fitting(reversed(found[-_MAX_MATCHES:]), size, _MAX_MATCHES_BYTES)
    matches = newest[::-1]
    whole = len(kept) == len(lines) and len(matches) == len(found) and all(len(line) <= _MAX_LINE for line in lines)
    return Read(kept, matches, truncated=not (whole and all_looked_at))


async def read_lines_aside(lines: Sequence[str], pattern: Any) -> Read:
    """Do the same, in a thread where there is a pattern: some take a step for each of their parts at each byte."""
    return await asyncio.to_thread(read_lines, lines, pattern) if pattern is not None else read_lines(lines, pattern)


def newest_lines(lines: Sequence[str], most_bytes: int) -> Sequence[str]:
    """Return as many of the last lines as fit into so many bytes."""
    kept, _ = fitting(reversed(lines), lambda line: _bytes(line) + 1, most_bytes)
    return kept[::-1]


def last_line(lines: Sequence[str]) -> str:
    """Return the last line that says something, as the end of a message; empty where none does."""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; last line: {texts.cut(said, _LAST_LINE)}" if said else ""


def _found(lines: Sequence[str], pattern: Any) -> tuple[list[dict[str, str]], bool]:
    """Return the matches, newest last, and whether there was time for all lines."""
    found: list[dict[str, str]] = []
    if pattern is None:
        return found, True
    ends_at = time.thread_time() + _MATCH_SECONDS
    for left, text in zip(range(len(lines) - 1, -1, -1), reversed(lines), strict=True):
        if (match := pattern.search(text)) is not None:
            groups = match.groupdict().items()
            found.append({name: texts.cut(value, _MAX_LINE) for name, value in groups if value is not None})
        if time.thread_time() > ends_at:
            return found[::-1], left == 0
    return found[::-1], True


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


class Logs(Model):
    """Reads Pod logs (effect: read)."""

    model_config = ConfigDict(json_schema_extra=validations(exactly_one("source", ["from", "selector", "pod"])))

    source: Annotated[WorkloadRef | None, Field(alias="from")] = None
    """The workload whose Pods are read; this, `selector` or `pod`."""
    selector: Annotated[Selector | None, Take.LABEL] = None
    """Labels of the Pods to read."""
    pod: Annotated[Text | None, Take.NAME] = None
    """The one Pod to read, e.g. one that the alert names."""
    container: DnsLabel | None = None
    """The Pod's default container, or its first one, unless named."""
    tail: Annotated[int, Field(ge=1, le=5000)] = 200
    """Lines per container."""
    since: Duration | None = None
    """How far back to read."""
    previous: bool = False
    """Whether to read what the container wrote before it restarted last."""
    pattern: Pattern | None = None
    """RE2 with named groups; every matching line gives an entry in `result.matches`."""


class Result(TypedDict):
    """What `result` holds."""

    pods: list[str]
    lines: list[str]
    matches: Annotated[list[dict[str, str]], "a map of groups for each line that `pattern` finds"]
    truncated: bool
    notes: Annotated[list[str], "why a Pod did not start, or restarted"]


def _check(spec: Logs, path: str) -> Iterator[Problem]:
    yield from draft.one_of(path, {"from": spec.source, "selector": spec.selector, "pod": spec.pod})
    yield from draft.selects(path, spec.selector)
    yield from draft.is_pattern(path, spec.pattern)


@dataclass(frozen=True, slots=True)
class _Pod:
    name: str
    container: str
    """The one whose log is read."""
    note: str
    """Why it did not start, or restarted, for people; empty where neither is so."""


_Text = str | errors.ApiError
_MAX_PODS = 20
_LISTED_PODS = 500
_WROTE_NOTHING = ("is waiting to start", "previous terminated container")
"""In the apiserver's words: there is no log, and that is not a failure."""
_LOG_BYTES, _ALL_LOGS_BYTES = 1024 * 1024, 4 * 1024 * 1024
"""Of the log of one container, and of all together: what is held in memory, the newest."""
_MOST_NOTES = 4
"""In a summary; all are in the result."""


async def read(call: Call[Logs], clients: Clients) -> Outcome:
    """Return `{pods, lines, matches, truncated, notes}`; no Pods of a workload is an answer too, not a failure."""
    spec, account = call.spec, clients.account_of(call)
    pattern = compiled(spec.pattern)
    pods = await _pods(account, call)
    texts = await _texts(account, call.namespace, pods[:_MAX_PODS], spec)
    names = [pod.name for pod in pods]
    lines = [line for text in texts if isinstance(text, str) for line in split(text)]
    kept = await read_lines_aside(lines, pattern)
    cut = kept.truncated or len(pods) > _MAX_PODS
    notes = [pod.note for pod in pods if pod.note]
    result = {"pods": names, "lines": kept.lines, "matches": kept.matches, "truncated": cut, "notes": notes}
    told = _summary(spec, names, len(lines), len(kept.matches))
    read = zip(names, texts, strict=False)
    told += "".join(f"; {pod} not readable: {text}" for pod, text in read if not isinstance(text, str))
    return Succeeded(result, "; ".join([told, *notes[:_MOST_NOTES]]), doubt=_doubt(texts))


async def _selector(account: Account, call: Call[Logs]) -> str:
    spec = call.spec
    if spec.source is None:
        return workloads.selector(spec.selector or {})
    workload = await account.get(workloads.path(call.namespace, spec.source))
    found = workloads.pod_selector(workload)
    if not found:
        raise Unusable(f"{spec.source} selects every Pod of {call.namespace}; name a selector instead")
    return found


async def _pods(account: Account, call: Call[Logs]) -> Sequence[_Pod]:
    """Return the first Pods by name, of which no more is kept than it takes to read their logs."""
    spec = call.spec
    if sum((spec.source is not None, bool(spec.selector), spec.pod is not None)) != 1:
        raise Unusable("logs needs either `from` or a selector with at least one label, or `pod`")
    if spec.pod is not None:
        if not meta.is_object_name(spec.pod):
            raise Unusable(f"{line(spec.pod)} is not a valid name of a Pod")
        return [_pod(await account.get(discovery.pods(call.namespace, spec.pod)), spec)]
    found: list[_Pod] = []
    query = {"labelSelector": await _selector(account, call)}
    async for pod in account.list(discovery.pods(call.namespace), params=query):
        if len(found) == _LISTED_PODS:
            break
        found.append(_pod(pod, spec))
    return sorted(found, key=lambda pod: pod.name)


def _pod(pod: Json, spec: Logs) -> _Pod:
    name = str(pod["metadata"]["name"])
    container = spec.container or pod_state.default_container(pod["metadata"], pod["spec"]["containers"])
    told = pod_state.standing(pod, container, previous=spec.previous)
    return _Pod(name, container, f"{name}: {told}" if told else "")


async def _texts(account: Account, namespace: str, pods: Sequence[_Pod], spec: Logs) -> Sequence[_Text]:
    """Return each Pod's log, or why it cannot be read. Raises that where none can."""
    most = min(_LOG_BYTES, _ALL_LOGS_BYTES // max(1, len(pods)))
    texts = await asyncio.gather(*(_text(account, namespace, pod, spec, most) for pod in pods))
    unread = [text for text in texts if isinstance(text, errors.ApiError)]
    if unread and len(unread) == len(texts):
        raise unread[0]
    return texts


async def _text(account: Account, namespace: str, pod: _Pod, spec: Logs, most: int) -> _Text:
    """Return the log of a Pod's container; one that has not started, or is gone by now, wrote nothing, nor did one that never restarted."""
    query = {"container": pod.container, "tailLines": str(spec.tail)}
    if spec.previous:
        query["previous"] = "true"
    if spec.since is not None:
        query["sinceSeconds"] = str(max(1, math.ceil(meta.seconds(spec.since))))
    try:
        return await account.log(discovery.pods(namespace, pod.name, "log"), params=query, keep=most)
    except errors.NotFound:
        return ""
    except errors.ApiError as error:
        return "" if any(words in error.message for words in _WROTE_NOTHING) else error


def _summary(spec: Logs, pods: Sequence[str], lines: int, matches: int) -> str:
    if not pods:
        return f"no Pods of {spec.source}" if spec.source else f"no Pods with {workloads.selector(spec.selector or {})}"
    whose = pods[0] if len(pods) == 1 else f"{len(pods)} Pods"
    matching = f", {matches} match" if spec.pattern else ""
    before = " before the last restart" if spec.previous else ""
    return f"{counted(lines, 'line')} of {whose}{before}{matching}"


def _doubt(texts: Sequence[_Text]) -> Doubt | None:
    """Return what speaks against lines that are not all there."""
    missing = [text for text in texts if not isinstance(text, str)]
    if not missing:
        return None
    after = max(error.after for error in missing)
    return Doubt("not every Pod's log could be read", "pods", passes=any(e.retryable for e in missing), after=after)


ACTION = Action(
    "logs",
    Logs,
    Result,
    effect=Effect.READ,
    rights="get the workload, list pods (by `pod`: get pods), get pods/log",
    checks=(_check,),
    workload=lambda spec: spec.source or (f"pod/{spec.pod}" if spec.pod else None),
    read=read,
)
