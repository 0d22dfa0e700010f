"""Which Connections a Runbook names."""

from collections.abc import Iterable, Iterator

from incident_operator.api.runbook import RunbookSpec, Stage
from incident_operator.core.action import Actions
from incident_operator.core.runbooks import compiler_draft, parsing


def connections_of(spec: RunbookSpec, actions: Actions) -> frozenset[str]:
    """Return the names of the Connections in a Runbook's actions, undos and probes, as far as these can be read."""
    return frozenset(_named(spec, actions))


def _named(spec: RunbookSpec, actions: Actions) -> Iterator[str]:
    for step in (step for stage in Stage for step in spec.steps(stage)):
        for _, carrier in compiler_draft.carriers(step, step.name):
            for action in parsing.written(carrier, actions):
                yield from _of_action(carrier.others[action.key], action.connections)


def _of_action(written: object, fields: Iterable[str]) -> Iterator[str]:
    if isinstance(written, dict):
        yield from (written[field] for field in fields if isinstance(written.get(field), str))
