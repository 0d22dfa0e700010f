"""Effect classes: what may have happened when we died in the middle of an act, and how one finds out."""

from enum import StrEnum

from incident_operator.api import actions
from incident_operator.api.meta import Model


class Effect(StrEnum):
    """What kind of marker an act leaves; decides what a crash between intent and outcome means."""

    READ = "read"
    SQL_TX = "sql-tx"
    K8S_PATCH = "k8s-patch"
    K8S_CREATE = "k8s-create"
    KEYED_CALL = "keyed-call"
    HUMAN = "human"
    UNKEYED = "unkeyed"

    @property
    def is_known(self) -> bool:
        """Whether it can be found out, or is safe to ask for again, what became of an act that was interrupted."""
        return self is not Effect.UNKEYED


_FIXED = {
    "logs": Effect.READ,
    "get": Effect.READ,
    "promql": Effect.READ,
    "sqlQuery": Effect.READ,
    "sqlExecute": Effect.SQL_TX,
    "scale": Effect.K8S_PATCH,
    "job": Effect.K8S_CREATE,
    "exec": Effect.UNKEYED,
}

NATURALLY_UNDOABLE = frozenset({"scale"})
"""Actions that capture what they replace and can put it back without a declared `undo`."""


def of(key: str, spec: Model) -> Effect:
    """Return the effect class of an action as written in a step."""
    if isinstance(spec, actions.Http):
        return _of_http(spec)
    return _FIXED[key]


def _of_http(request: actions.Http) -> Effect:
    if request.safe or request.method in {"GET", "HEAD"}:
        return Effect.READ
    if request.idempotency_key:
        return Effect.KEYED_CALL
    return Effect.UNKEYED
