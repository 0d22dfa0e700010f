"""Makes a history of what witnesses saw."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import orjson

from incident_operator.core.action import shown_marker
from proofs.faults.audit import Entry, seconds
from proofs.faults.history import Approval, Effect, End, Intent, Interference, Moment, Plan, Scaling, Verdict

OPERATOR = "system:serviceaccount:incident-operator-system:incident-operator"
_SCALED_BY = "incidents.dev/scaled-by"
_KEY = "incidents.dev/step-key"
_NOT_DONE = frozenset({"Pending", "Failed", "Skipped", "Rejected"})
Json = Mapping[str, Any]
Keys = Mapping[str, str]
"""What a status shows of a marker → the step key of that attempt."""


def created(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Names of the Incidents that were made, once for each time."""
    return tuple(entry.name for entry in entries if entry.verb == "create")


def intents(entries: Iterable[Entry]) -> Iterator[Intent]:
    """The attempts that a stored status tells of as running, each when it was first told."""
    told: set[str] = set()
    for entry in _statuses(entries):
        for step in entry.after["status"].get("steps", []):
            key = step.get("key", "")
            if step["state"] == "Running" and step.get("effect", "read") != "read" and key and key not in told:
                told.add(key)
                yield Intent(step["name"], key, entry.moment, (step.get("seen") or {}).get("marker", ""))


def keys(found: Iterable[Intent]) -> Keys:
    """Relate what objects of the cluster are marked with to the steps that their statuses tell of."""
    return {intent.mark: intent.key for intent in found if intent.mark}


def verdicts(entries: Iterable[Entry]) -> Iterator[Verdict]:
    """The attempts that a stored status told as running, and a later one as not done, each when that was first told."""
    running: dict[str, str] = {}
    for entry in _statuses(entries):
        for step in entry.after["status"].get("steps", []):
            name, key, state = step["name"], step.get("key", ""), step["state"]
            if state == "Running" and step.get("effect", "read") != "read":
                running[name] = key
            elif running.pop(name, "") and state in _NOT_DONE:
                yield Verdict(name, key, state, entry.moment)


def plans(entries: Iterable[Entry]) -> Iterator[Plan]:
    """The plans that people were shown."""
    shown = ""
    for entry in _statuses(entries):
        pending = entry.after["status"].get("pendingApproval")
        if pending is not None and pending["planHash"] != shown:
            entries_of = {each["step"]: _promised(each) for each in pending["plan"]}
            expires = seconds(pending["expiresAt"])
            yield Plan(pending["planHash"], entry.moment, expires, tuple(pending["steps"]), entries_of)
        shown = pending["planHash"] if pending is not None else ""


def approvals(entries: Iterable[Entry]) -> Iterator[Approval]:
    """The approvals that people wrote themselves."""
    for entry, value in _answers(entries, "approve"):
        token, _, signed = value.partition(" ")
        yield Approval(token, entry.by, signed, entry.moment)


def aborts(entries: Iterable[Entry]) -> tuple[Moment, ...]:
    """When people told it to abort."""
    return tuple(entry.moment for entry, _ in _answers(entries, "abort"))


def end(incident: Json | None) -> End | None:
    """The Incident as it is in the end."""
    if incident is None:
        return None
    status = incident.get("status", {})
    steps = status.get("steps", [])
    return End(
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        steps={step["name"]: step["state"] for step in steps},
        undo={step["name"]: step["undo"] for step in steps if step.get("undo")},
    )


def scalings(versions: Sequence[Json], others: frozenset[int], known: Keys) -> Iterator[Scaling]:
    """Every change of replicas that nobody else made; `others` are the revisions that somebody else wrote."""
    for name, own in _by_name(versions).items():
        for old, new in pairwise(own):
            before, after = old["spec"]["replicas"], new["spec"]["replicas"]
            mark = _new_mark(old, new)
            if mark is not None or (before != after and _revision(new) not in others):
                claims = (mark["before"], mark["after"]) if mark else None
                yield Scaling(name, before, after, _key(mark["key"], known) if mark else "", claims)


def scaled(versions: Sequence[Json], others: frozenset[int], known: Keys) -> Iterator[Effect]:
    """The same as effects. What is withdrawn changes neither replicas nor marks, and is none."""
    for name, own in _by_name(versions).items():
        for old, new in pairwise(own):
            mark = _new_mark(old, new)
            if mark is not None:
                facts = {"before": mark["before"], "after": mark["after"], "uid": new["metadata"]["uid"]}
                what = f"{name} scaled {mark['before']} → {mark['after']}"
                yield Effect(what, Moment(revision=_revision(new)), _key(mark["key"], known), facts=facts)
            elif old["spec"]["replicas"] != new["spec"]["replicas"] and _revision(new) not in others:
                yield Effect(f"{name} scaled without a mark", Moment(revision=_revision(new)), "no mark")


def ran(started: Iterable[Json], jobs: Iterable[Json], pods: Iterable[Json], known: Keys) -> Iterator[Effect]:
    """Jobs as effects, each from the version on in which it was not suspended any more; `started` are those versions.

    A Job that stays suspended is none, unless it has a Pod; a second Pod of one is another effect of the same key.
    """
    listed, ours = list(pods), [job for job in jobs if "incidents.dev/incident" in job["metadata"].get("labels", {})]
    began = {job["metadata"]["uid"]: job for job in started}
    for job in ours:
        uid, name = job["metadata"]["uid"], job["metadata"]["name"]
        mark = job["metadata"].get("annotations", {}).get(_KEY, "")
        key = _key(mark, known) if mark else "no mark"
        if uid in began:
            container = job["spec"]["template"]["spec"]["containers"][0]
            facts = {"image": container["image"], "command": container.get("command", [])}
            yield Effect(f"Job {name}", Moment(revision=_revision(began[uid])), key, facts=facts)
        owned = [pod for pod in listed if _owner(pod) == uid]
        for pod in owned[1:] if uid in began else owned:
            yield Effect(f"Pod {pod['metadata']['name']}", Moment(revision=_revision(pod)), key)


def meddling(changes: Iterable[tuple[str, Moment]]) -> tuple[Interference, ...]:
    """What somebody else did."""
    return tuple(Interference(what, moment) for what, moment in changes)


def _statuses(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.by == OPERATOR and "status" in entry.after)


def _answers(entries: Iterable[Entry], verb: str) -> Iterator[tuple[Entry, str]]:
    known = ""
    for entry in entries:
        value = entry.after["metadata"].get("annotations", {}).get(f"incidents.dev/{verb}", "")
        if value and value != known and entry.by != OPERATOR:
            yield entry, value
        known = value


def _promised(entry: Json) -> Json:
    details = entry.get("details", {})
    return {**details, "inTrial": entry.get("inTrial")}


def _by_name(versions: Sequence[Json]) -> dict[str, list[Json]]:
    sorted_ones: dict[str, list[Json]] = {}
    for each in versions:
        sorted_ones.setdefault(each["metadata"]["name"], []).append(each)
    return sorted_ones


def _new_mark(old: Json, new: Json) -> Json | None:
    known = {mark["key"] for mark in _marks(old)}
    return next((mark for mark in _marks(new) if mark["key"] not in known), None)


def _marks(workload: Json) -> list[Json]:
    marks: list[Json] = orjson.loads(workload["metadata"].get("annotations", {}).get(_SCALED_BY, "[]"))
    return marks


def _owner(pod: Json) -> str:
    return next((each["uid"] for each in pod["metadata"].get("ownerReferences", [])), "")


def _key(mark: str, known: Keys) -> str:
    """Return the step key of an attempt whose marker this is; of any other what a status would show of it."""
    return known.get(shown_marker(mark), shown_marker(mark))


def _revision(found: Json) -> int:
    return int(found["metadata"]["resourceVersion"])
