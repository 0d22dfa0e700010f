"""Checks of actions: the Connections that they name, and what each action's own declaration requires."""

from collections.abc import Iterator, Mapping

from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiler_draft import Draft
from incident_operator.core.runbooks.parsing import PlacedAction


def connections_exist(draft: Draft) -> Iterator[Problem]:
    """Require that every Connection is in the namespace, and of the type that the action talks to."""
    if draft.connections is None:
        return
    for action in draft.actions:
        yield from _connections(action, draft.connections)


def actions_keep_their_own_rules(draft: Draft) -> Iterator[Problem]:
    """Require what each action's declaration requires of its fields."""
    for action in draft.actions:
        for check in action.action.checks:
            yield from check(action.spec, action.path)


def _connections(action: PlacedAction, known: Mapping[str, str | None]) -> Iterator[Problem]:
    if not action.action.connections:
        return
    written = action.spec.model_dump(by_alias=True)
    for field, wanted in action.action.connections.items():
        name = written[field]
        if isinstance(name, str) and "${" not in name:  # that is told where the text is prepared
            yield from _connection(action, f"{action.path}.{field}", name, wanted, known)


def _connection(
    action: PlacedAction, path: str, name: str, wanted: str, known: Mapping[str, str | None]
) -> Iterator[Problem]:
    if name not in known:
        others = ", ".join(sorted(each for each, kind in known.items() if kind == wanted))
        told = f"; of type {wanted}: {others}" if others else ""
        yield Problem(path, f"there is no Connection {name} in this namespace{told}", elsewhere=True)
    elif known[name] not in {None, wanted}:
        told = f"Connection {name} is of type {known[name]}; {action.key} needs {wanted}"
        yield Problem(path, told, elsewhere=True)
