"""Which Connections a Runbook names."""

from collections.abc import Iterator

from incident_operator.api.meta import Model
from incident_operator.api.runbook import RunbookSpec
from incident_operator.core.runbooks import compiler_draft


def connections_of(spec: RunbookSpec) -> frozenset[str]:
    """Return the names of the Connections in a Runbook's actions, undos and probes."""
    return frozenset(_named(spec))


def _named(spec: RunbookSpec) -> Iterator[str]:
    for placed in compiler_draft.placed(spec):
        for _, holder in compiler_draft.holders(placed):
            yield from _of_action(holder.action[1])


def _of_action(action: Model) -> Iterator[str]:
    name = getattr(action, "connection", None)
    if isinstance(name, str):
        yield name
