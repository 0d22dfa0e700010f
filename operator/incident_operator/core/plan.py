"""The plan: what will be done, rendered, hashed over its canonical JSON (RFC 8785), and compared before it is done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785

from incident_operator.api.approvals import PlanEntry
from incident_operator.api.meta import rfc3339
from incident_operator.core import sanitize, texts

DIGEST = "digest"
"""The detail that binds all that is sent; people are told what differs, and of the digest where nothing else does."""
MAX_PLAN_BYTES = 32 * 1024
_SHOWN = 200
_ACT_LIMIT = 16_000


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


def shown(act: str) -> str:
    """Return an act as a plan can hold it: one that is too long is cut, with the digest of the whole."""
    if len(act) <= _ACT_LIMIT:
        return act
    return f"{act[:_ACT_LIMIT]}… cut; {texts.digest(act)}"


def size(entries: Sequence[PlanEntry]) -> int:
    """Return how many bytes the plan takes in the Incident."""
    return sum(len(json.dumps(entry.to_json())) for entry in entries)


def difference(approved: PlanEntry, rendered: PlanEntry, *, trial_binds: bool) -> str:
    """Say how a step differs from what was approved; empty when it does not.

    The attempt number makes none, nor does what a trial counted below a bound that was agreed to.
    """
    changes = [_change("what", approved.do, rendered.do)]
    keys = sorted({*approved.details, *rendered.details} - {DIGEST})
    changes += [_change(key, approved.details.get(key), rendered.details.get(key)) for key in keys]
    if trial_binds:
        changes.append(_change("in trial", approved.in_trial, rendered.in_trial))
    found = [change for change in changes if change]
    if not found and approved.details.get(DIGEST) != rendered.details.get(DIGEST):
        found = ["what would be sent differs in a part that the plan shows by its digest only"]
    return f"{approved.step}: {'; '.join(found)}" if found else ""


def _change(name: str, then: object, now: object) -> str:
    return "" if _plain(then) == _plain(now) else f"{name} {_brief(then)} → {_brief(now)}"


def _plain(value: object) -> str:
    return json.dumps(sanitize.canonical(value), sort_keys=True, default=str)


def _brief(value: object) -> str:
    return texts.cut(value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str), _SHOWN)
