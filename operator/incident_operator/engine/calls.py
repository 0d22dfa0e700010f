"""Previews and runs single calls of actions, each within bounded time: whatever an action brings or breaks becomes an outcome.

What people read of an answer is masked; a result, which expressions compute with, is not, and comes with what masks all that is
made of it. The redactor of each Incident is fed with the Secrets of its Runbook's Connections before its first step: so a text that a step
reads is masked also where its credential is that of another step, or was rotated a moment ago.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog

from incident_operator.api.meta import ObjectKey
from incident_operator.core import reasons, sanitize
from incident_operator.core.action import Action, Actions, Call, Evidence, Preview, evidence_of, shown_marker
from incident_operator.core.lru_cache import LRUCache
from incident_operator.core.machine.carry_out import Do, How, Ran, Show
from incident_operator.core.machine.view import View
from incident_operator.core.masks import Masks
from incident_operator.core.outcomes import (
    Effect,
    Failed,
    Failure,
    Json,
    NotDone,
    Outcome,
    Pending,
    RolledBack,
    Succeeded,
    Undetermined,
    outcome_of,
    outcome_of_look,
)
from incident_operator.core.redactor import Redactor
from incident_operator.core.runbooks import reading
from incident_operator.core.sanitize import KEPT, is_deeper

_AGAIN = timedelta(minutes=1)
"""After so long all is read again before a step: what was rotated meanwhile is known by then."""
_SOON = timedelta(seconds=10)
"""The same where one of them could not be read, which must not make each look at a step cost as many requests."""
_REVISIONS = 256
_SLACK = 15.0
"""Seconds that an action may take beyond its own bound before the engine gives up waiting for it."""
_T = TypeVar("_T")
_log = structlog.get_logger()


class Teaching(Protocol):
    """Connections for one Incident, which teach its redactor each credential: `clients/connections.py`."""

    async def learn(self, namespace: str, names: Iterable[str], service_account: str) -> bool:
        """Learn the credentials of these Connections; False where one cannot be read."""
        ...


class Tools(Protocol):
    """What the actions reach the world through: `actions/clients.py`."""

    @property
    def connections(self) -> Any:
        """What finds Connections; of `teaching` it is a `Teaching`."""
        ...

    def teaching(self, redactor: Redactor) -> "Tools":
        """Return the same, teaching a redactor each credential that it is given."""
        ...


@dataclass(slots=True)
class Masked:
    """One Incident's redactor, and what its steps reach the world through, which teaches it."""

    redactor: Redactor
    tools: Any
    uid: str
    due_at: datetime | None = None
    """When its Connections are to be read again; None before the first time."""


@dataclass(frozen=True, slots=True)
class Redactors:
    """Keeps a redactor for each Incident while it is worked on. What one of them knows is known to no other."""

    tools: Tools
    actions: Actions
    clock: Callable[[], datetime]
    _of: dict[ObjectKey, Masked] = field(default_factory=dict)
    _named: LRUCache[ObjectKey, frozenset[str]] = field(default_factory=lambda: LRUCache(_REVISIONS))
    """The Connections that a revision names."""

    def of(self, key: ObjectKey, uid: str) -> Masked:
        """Return an Incident's redactor; it knows nothing yet where the Incident is new to this process."""
        known = self._of.get(key)
        if known is None or known.uid != uid:
            redactor = Redactor()
            known = self._of[key] = Masked(redactor, self.tools.teaching(redactor), uid)
        return known

    def is_due(self, view: View) -> bool:
        """Tell whether the Secrets of the Runbook's Connections have to be read before the next step."""
        due_at = self._known(view).due_at
        return due_at is None or self.clock() >= due_at

    async def feed(self, view: View) -> None:
        """Learn all credentials of the Runbook's Connections. One that cannot be read is tried again soon, and stops nothing."""
        masked, began = self._known(view), self.clock()
        namespace, account = view.incident.metadata.namespace, view.compiled.spec.service_account_name
        revision = ObjectKey(namespace, view.pinned.revision)
        names = self._named.get(revision)
        if names is None:
            names = reading.connections_of(view.compiled.spec, self.actions)
            self._named.put(revision, names)
        teaching: Teaching = masked.tools.connections
        complete = await teaching.learn(namespace, names, account)
        masked.due_at = began + (_AGAIN if complete else _SOON)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is known for an Incident that is closed, or gone."""
        self._of.pop(key, None)

    def _known(self, view: View) -> Masked:
        meta = view.incident.metadata
        return self.of(ObjectKey(meta.namespace, meta.name), meta.uid)


@dataclass(frozen=True, slots=True)
class Calls:
    """Runs calls with the clients that their Incidents' redactors hear from."""

    actions: Mapping[str, Action[Any]]
    redactors: Redactors
    clock: Callable[[], datetime]

    async def shown(self, request: Show) -> Preview | Failure:
        """Return what the call would do, or why that cannot be told. What people approve is never masked, but refused."""
        call = request.call
        show, masked = self.actions[call.action].show, self._masked(call)
        try:
            async with asyncio.timeout(call.timeout + _SLACK):
                preview = await _given(show, call)(call, masked.tools, request.trial)
        except RolledBack as found:
            return RolledBack(masked.redactor.masks.text(found.message))
        except Failure as failure:
            told = masked.redactor.masks.text(failure.message)
            return Failure(failure.reason, told, retryable=failure.retryable)
        except TimeoutError:
            return Failure(reasons.TIMED_OUT, f"no preview within {call.timeout:.0f}s", retryable=True)
        except Exception as error:  # noqa: BLE001 # the engine's boundary: a defect of an action stops one step only
            return _defect(call, error)
        if is_deeper([preview.details, preview.whole], KEPT + 1):
            # a plan that is cut would bind less than will be done
            told = f"nested more than {KEPT} levels deep, too deep for a plan"
            return Failure(reasons.BAD_REQUEST, told)
        secret = _parts_with_credentials(masked.redactor.masks, preview) if request.trial else []
        if secret:
            told = f"{', '.join(secret)}, and a masked plan would not show what is done"
            remedy = "read it from the Secret where it is needed (a Connection, a secretKeyRef)"
            return Failure(reasons.BAD_REQUEST, f"{told}; {remedy}")
        if request.trial:
            return preview
        # what is done unasked is told as people may read it; what is sent and bound stays as it is
        masks = masked.redactor.masks
        return replace(preview, do=masks.text(preview.do), details=masks.json(preview.details))

    async def ran(self, request: Do) -> Ran:
        """Run a call and return its outcome, what is told of it masked. Raises nothing but cancellation."""
        call = request.call
        reserved: Mapping[str, Json] | None = None
        outcome: Outcome
        try:
            async with asyncio.timeout(call.timeout + _SLACK):
                if request.how is How.RESERVE:
                    reserve, preview = self.actions[call.action].reserve, _given(request.preview, call)
                    reserved = await _given(reserve, call)(call, preview, self._masked(call).tools)
                    outcome = Succeeded({}, "reserved")
                else:
                    outcome = await self._outcome(call, request)
        except Failure as failure:
            outcome = _of_failure(failure, request)
        except TimeoutError:
            told = f"no answer within {call.timeout:.0f}s"
            outcome = _of_failure(Failure(reasons.TIMED_OUT, told, retryable=True, maybe_applied=True), request)
        except Exception as error:  # noqa: BLE001 # the same boundary
            outcome = _of_failure(_defect(call, error), request)
        # not before: what the call itself has learned counts
        masks = self._masked(call).redactor.masks
        shaped = _told(outcome, masks)
        kept: Evidence | None = None
        if isinstance(shaped, Succeeded | Failed):
            kept = evidence_of(replace(shaped, result=masks.json(shaped.result)))  # masked first, and cut then
        return Ran(shaped, self.clock(), kept, reserved, masks=masks)

    def _masked(self, call: Call[Any]) -> Masked:
        return self.redactors.of(ObjectKey(call.namespace, call.incident), call.incident_uid)

    async def _outcome(self, call: Call[Any], request: Do) -> Outcome:
        action, tools = self.actions[call.action], self._masked(call).tools
        marker = (call.seen or {}).get("marker")
        is_of_another_key = marker is not None and marker != shown_marker(call.marker)
        match request.how:
            case How.READ:
                return await _given(action.read, call)(call, tools)
            case How.LOOK if request.effect is Effect.K8S_PATCH and is_of_another_key:
                return Undetermined("the key of the operator's markers changed after it started")
            case How.LOOK:
                return await _given(action.look, call)(call, tools)
            case _:
                return await _given(action.act, call)(call, _given(request.preview, call), tools)


def _of_failure(failure: Failure, request: Do) -> Outcome:
    match request.how:
        case How.LOOK:
            return outcome_of_look(failure)
        case How.RESERVE:  # what was made by it, if anything, has no effect
            certain = Failure(failure.reason, failure.message, retryable=failure.retryable)
            return outcome_of(certain, request.effect)
        case _:
            return outcome_of(failure, request.effect)


def _parts_with_credentials(masks: Masks, preview: Preview) -> list[str]:
    """Name the parts of a plan that hold credentials: what is approved is shown as it is, or not at all."""
    parts: dict[str, Any] = {
        "what is done": preview.do,
        "what its trial did": [preview.in_trial or "", preview.in_trial_counted or ""],
        "what it allows": list(preview.allows),
    }
    parts |= {f"`{name}`": {name: value} for name, value in {**preview.details, **preview.whole}.items()}
    found = ((name, masks.whose(part)) for name, part in parts.items())
    return [f"{masks.text(name)} would show a credential of Connection {whose}" for name, whose in found if whose]


def _defect(call: Call[Any], error: Exception) -> Failure:
    _log.exception("Action failed", namespace=call.namespace, incident=call.incident, step=call.step)
    told = f"{type(error).__name__} in {call.action}; see the operator's log"
    return Failure(reasons.INTERNAL_ERROR, told, retryable=True, maybe_applied=True)


def _given(part: _T | None, call: Call[Any]) -> _T:
    if part is None:
        raise LookupError(f"{call.action} does not have what step {call.step} needs")
    return part


def _told(outcome: Outcome, masks: Masks) -> Outcome:
    """Return the outcome with its words masked, and its result fit for expressions."""
    match outcome:
        case Succeeded(result, summary, captured, doubt):
            told = replace(doubt, why=masks.text(doubt.why)) if doubt else None
            return Succeeded(_shaped(result), masks.text(summary), masks.json(captured), told)
        case Failed():
            return replace(outcome, message=masks.text(outcome.message), result=_shaped(outcome.result))
        case Pending() | NotDone():
            return replace(outcome, summary=masks.text(outcome.summary))
        case Undetermined(message, reason):
            return Undetermined(masks.text(message), reason)


def _shaped(result: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the result such that whatever reads it can take it: what is done is done, whatever it brought."""
    try:
        shaped: Mapping[str, Json] = sanitize.result(result)
    except Exception as error:  # noqa: BLE001 # the same boundary
        _log.exception("Result cannot be kept")
        return {"note": f"the result cannot be kept: {type(error).__name__}; see the operator's log"}
    return shaped
