"""The plan: what will be done, rendered, hashed over its canonical JSON (RFC 8785), and compared before it is done."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.meta import rfc3339
from incident_operator.core import sanitize, texts

DIGEST = "digest"
"""The detail that binds all that is sent; people are told what differs, and of the digest where nothing else does."""
MAX_LINES = 400
"""Of one step, as `kubectl describe` shows them."""
MAX_STEP_BYTES = 32 * 1024
MAX_PLAN_BYTES = 96 * 1024
"""Steps that do not fit are asked for once those before them are done."""
_OTHERS = "Other open Incidents act on "
_SHOWN = 200
_SHOWN_OTHERS = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """What a plan is bound to besides its steps."""

    incident_uid: str
    runbook_revision: str
    parameters: Mapping[str, Any]
    expires_at: datetime
    nonce: str


def plan_hash(entries: Sequence[PlanEntry], binding: Binding) -> str:
    """Return sha256 over the canonical JSON of the plan and all it is bound to."""
    content = {
        "incident": binding.incident_uid,
        "runbookRevision": binding.runbook_revision,
        "parameters": sanitize.canonical(dict(binding.parameters)),
        "steps": [sanitize.canonical(entry.to_json()) for entry in entries],
        "expiresAt": rfc3339(binding.expires_at),
        "nonce": binding.nonce,
    }
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def told(do: str, details: Mapping[str, Any]) -> str:
    """Return on one line what is done and the values that are bound in it, e.g. `UPDATE … = %(pack)s (pack=PP-1)`."""
    values = ", ".join(dict.fromkeys(f"{name}={_brief(value)}" for name, value in _params(details)))
    return f"{do} ({values})" if values else do


def _params(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the bound parameters of every statement, in the order in which they are sent."""
    match value:
        case Mapping():
            for name, each in value.items():
                yield from each.items() if name == "params" and isinstance(each, Mapping) else _params(each)
        case list():
            for each in value:
                yield from _params(each)


def size(entries: Sequence[PlanEntry]) -> int:
    """Return how many bytes the plan takes in the Incident."""
    return sum(len(entry.to_bytes()) for entry in entries)


def too_large(entry: PlanEntry) -> str:
    """Return why nobody can be asked to read what a step does, and what helps; empty where it is small enough.

    Nothing is cut: what is left out would be approved unread.
    """
    lines, taken = _lines(entry.to_json()), len(entry.to_bytes())
    if lines <= MAX_LINES and taken <= MAX_STEP_BYTES:
        return ""
    return (
        f"not approvable: its plan has {lines} lines and {taken} bytes; "
        f"a step may have {MAX_LINES} lines and {MAX_STEP_BYTES} bytes at most. "
        "Split the step, or move long texts to a place where they are reviewed: an image, a database function"
    )


def _lines(value: Any) -> int:
    """Count the lines that `kubectl describe` takes."""
    match value:
        case Mapping():
            return sum(_lines(item) + isinstance(item, Mapping | list) for item in value.values())
        case list():
            return sum(_lines(item) for item in value)
        case _:
            return 1


def others(target: str, incidents: Sequence[str]) -> str:
    """Return the line that people read first where other open Incidents act on the same object, with some of their names."""
    more = f" and {len(incidents) - _SHOWN_OTHERS} more" if len(incidents) > _SHOWN_OTHERS else ""
    return f"{_OTHERS}{target} too: {', '.join(incidents[:_SHOWN_OTHERS])}{more}"


def difference(approved: PlanEntry, rendered: PlanEntry, *, trial_binds: bool, remedy: str = "") -> str:
    """Say how a step differs from what was approved; empty when it does not.

    The attempt number makes none, nor does what a trial counted below a bound that was agreed to, nor which other Incidents act
    on the same object: that there are any, where there were none, is one. `remedy` is how the step may ask for a bound instead,
    told where its trial differs.
    """
    changes = [_change("what", approved.do, rendered.do), _change("allows", *_allowances(approved, rendered))]
    keys = sorted({*approved.details, *rendered.details} - {DIGEST})
    changes += [_change(key, approved.details.get(key), rendered.details.get(key)) for key in keys]
    if trial_binds and (moved := _change("in trial", approved.in_trial, rendered.in_trial)):
        changes.append(f"{moved} ({remedy})" if remedy else moved)
    found = [change for change in changes if change]
    if not found and approved.details.get(DIGEST) != rendered.details.get(DIGEST):
        found = ["what would be sent differs in a part that the plan shows by its digest only"]
    return f"{approved.step}: {'; '.join(found)}" if found else ""


def _allowances(approved: PlanEntry, rendered: PlanEntry) -> tuple[list[str] | None, list[str] | None]:
    """Return what either allows; of other Incidents only where the person who approved did not know of any."""
    then, now = approved.allows or [], rendered.allows or []
    if not _of_others(then) and _of_others(now):
        return then or None, now
    bare = ([line for line in lines if not line.startswith(_OTHERS)] or None for lines in (then, now))
    return next(bare), next(bare)


def _of_others(lines: Sequence[str]) -> bool:
    return any(line.startswith(_OTHERS) for line in lines)


def _change(name: str, then: object, now: object) -> str:
    if _plain(then) == _plain(now):
        return ""
    if isinstance(then, list) and isinstance(now, list) and len(_plain(then)) > _SHOWN:
        then, now = _where_they_differ(then, now)
    return f"{name} {_brief(then)} → {_brief(now)}"


def _where_they_differ(then: list[Any], now: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the items of two lists between what they begin and what they end with in common."""
    shortest = min(len(then), len(now))
    head = next((at for at in range(shortest) if then[at] != now[at]), shortest)
    tail = next((at for at in range(shortest - head) if then[-1 - at] != now[-1 - at]), shortest - head)
    return then[head : len(then) - tail], now[head : len(now) - tail]


def _plain(value: object) -> str:
    return json.dumps(sanitize.canonical(value), sort_keys=True, default=str)


def _brief(value: object) -> str:
    return texts.cut(value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str), _SHOWN)
