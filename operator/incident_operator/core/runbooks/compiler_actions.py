"""Checks of what actions aim at: Connections, workloads, selectors, paths, patterns, numbers of replicas."""

import re
from collections.abc import Iterator, Mapping

import re2

from incident_operator.api import actions
from incident_operator.api.connection import ConnectionType
from incident_operator.api.meta import Model
from incident_operator.core.expressions import patterns, render_fields
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiler_draft import Draft, PlacedAction

_CONNECTS: Mapping[str, ConnectionType] = {
    "promql": ConnectionType.PROMETHEUS,
    "http": ConnectionType.HTTP,
    "sqlQuery": ConnectionType.POSTGRES,
    "sqlExecute": ConnectionType.POSTGRES,
}

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"})
_SCRIPT_FOLLOWS = re.compile(r"-[a-z]*c")


def connections_exist(draft: Draft) -> Iterator[Problem]:
    """Require that every Connection is in the namespace, and of the type that the action talks to."""
    if draft.connections is None:
        return
    for action in draft.actions:
        if action.key in _CONNECTS:
            yield from _connection(action, draft.connections)


def targets_are_named(draft: Draft) -> Iterator[Problem]:
    """Require exactly one target; an empty selector, which means everything, is none."""
    for action in draft.actions:
        alternatives = {name: value for name, value in _alternatives(action.spec).items() if value is not None}
        if len(alternatives) != 1 and _alternatives(action.spec):
            expected = " or ".join(_alternatives(action.spec))
            yield Problem(action.path, f"needs either {expected} (found {' and '.join(alternatives) or 'neither'})")
        if alternatives.get("selector") == {}:
            yield Problem(f"{action.path}.selector", "is empty, which would mean every object; name at least one label")


def patterns_compile(draft: Draft) -> Iterator[Problem]:
    """Require that the pattern over log lines is an RE2."""
    for action in draft.actions:
        if isinstance(action.spec, actions.Logs | actions.Exec) and action.spec.pattern is not None:
            try:
                patterns.compiled(action.spec.pattern)
            except (re2.error, UnicodeEncodeError) as error:
                yield Problem(f"{action.path}.pattern", f"not a regular expression (RE2): {patterns.complaint(error)}")


def requests_stay_below(draft: Draft) -> Iterator[Problem]:
    """Require that a request goes below its Connection's URL, and carries one body at most."""
    for action in draft.actions:
        if not isinstance(action.spec, actions.Http):
            continue
        if render_fields.climbs(action.spec.path):
            yield Problem(f"{action.path}.path", "climbs out of the Connection's URL: a segment is . or ..")
        if "${" not in action.spec.path and not {"?", "#"}.isdisjoint(action.spec.path):
            yield Problem(f"{action.path}.path", "holds ? or #; what follows a ? goes into query")
        if action.spec.json_ is not None and action.spec.body is not None:
            yield Problem(f"{action.path}.body", "a request has one body: either json or body")


def replicas_are_counts(draft: Draft) -> Iterator[Problem]:
    """Require a whole number of replicas, within the step's own limit."""
    for action in draft.actions:
        if isinstance(action.spec, actions.Scale):
            yield from _replicas(action.path, action.spec)


def commands_are_the_authors(draft: Draft) -> Iterator[Problem]:
    """Require that data is an argument of a command, never the program or what a shell reads as one."""
    for action in draft.actions:
        if isinstance(action.spec, actions.Exec):
            yield from _command(action.path, action.spec.command)


def _command(path: str, command: list[str]) -> Iterator[Problem]:
    if "${" in command[0]:
        yield Problem(f"{path}.command[0]", "is the program, and that is not for data to say")
    if command[0].rpartition("/")[2] not in _SHELLS:
        return
    script = next((at + 1 for at, argument in enumerate(command) if _SCRIPT_FOLLOWS.fullmatch(argument)), 0)
    if script and "${" in "".join(command[script : script + 1]):
        told = "is read as a program by the shell; write the script here, and give it the value as an argument after it"
        yield Problem(f"{path}.command[{script}]", told)


def _connection(action: PlacedAction, connections: Mapping[str, ConnectionType]) -> Iterator[Problem]:
    name, wanted = getattr(action.spec, "connection", ""), _CONNECTS[action.key]
    path = f"{action.path}.connection"
    if "${" in name:  # told where the text is prepared
        return
    if name not in connections:
        known = ", ".join(sorted(each for each, kind in connections.items() if kind is wanted)) or "none"
        yield Problem(path, f"there is no Connection {name} in this namespace; of type {wanted.value}: {known}")
    elif connections[name] is not wanted:
        yield Problem(
            path, f"Connection {name} is of type {connections[name].value}; {action.key} needs {wanted.value}"
        )


def _alternatives(spec: Model) -> dict[str, object]:
    match spec:
        case actions.Logs():
            return {"from": spec.source, "selector": spec.selector}
        case actions.Get():
            return {"name": spec.name, "selector": spec.selector}
        case actions.Job():
            return {"from": spec.source, "template": spec.template}
        case actions.SqlExecute():
            return {"statement": spec.statement, "statements": spec.statements or None}
        case _:
            return {}


def _replicas(path: str, spec: actions.Scale) -> Iterator[Problem]:
    replicas = spec.replicas
    if isinstance(replicas, str):
        if "${" not in replicas:
            yield Problem(f"{path}.replicas", f"{replicas!r} is text; write a number, or ${{…}} for one")
        return
    if not 0 <= replicas <= spec.max_replicas:
        yield Problem(f"{path}.replicas", f"{replicas} is not between 0 and maxReplicas ({spec.max_replicas})")
