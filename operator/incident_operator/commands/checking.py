"""Checks Runbook files as the operator would, offline."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

from incident_operator import connections as types
from incident_operator.actions import ACTIONS
from incident_operator.api.meta import is_dns_label, is_object_name
from incident_operator.api.runbook import Runbook
from incident_operator.core import texts
from incident_operator.core.expressions import problems
from incident_operator.core.runbooks import compiler, parsing, reading, warnings
from incident_operator.core.runbooks import unasked as leaves
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reading import Malformed


class _Loader(yaml.SafeLoader):
    """Reads what kubectl reads: to it a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in found if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def check(file: Path) -> list[str]:
    """Return everything that is wrong with the Runbooks of a file, each line with its place.

    Connections are checked where the file itself holds some.
    """
    try:
        documents = [each for each in _documents(file) if each]
    except (yaml.YAMLError, ValueError) as error:
        return [f"{file}: no YAML: {texts.visible(str(error))}"]
    except RecursionError:
        return [f"{file}: is nested too deep; a Runbook has at most {reading.DEPTH} levels"]
    malformed = [each for each in documents if not isinstance(each, dict)]
    if malformed:
        return [f"{file}: not a Kubernetes object: {texts.visible(str(malformed[0]))[:80]}"]
    return list(_problems(file, documents))


def holds_runbook(file: Path) -> bool:
    """Tell whether a file that was checked holds a Runbook at all."""
    return any(document.get("kind") == "Runbook" for document in _documents(file) if document)


def unasked(file: Path) -> list[str]:
    """Return a line for each step of a file that was checked which asks unless the operator's settings name it."""
    lines = []
    for document, compiled in _compiled(file):
        namespace = (document.get("metadata") or {}).get("namespace", "default")
        where = f"namespace: {namespace}, runbook: {_name(document)}"
        named = [step for step in compiled.steps.values() if leaves.can_be_named(step)]
        lines += [f"{{{where}, step: {s.step.name}, digest: {leaves.digest_of(compiled, s)}}}" for s in named]
    return lines


def warned(file: Path) -> list[str]:
    """Return what the next release refuses of the Runbooks of a file that was checked, each line with its place."""
    return [
        f"{file}: Runbook {_name(document)}: {warning}"
        for document, compiled in _compiled(file)
        for warning in warnings.of(compiled)
    ]


def _compiled(file: Path) -> Iterator[tuple[dict[str, Any], Compiled]]:
    for document in _of_kind([each for each in _documents(file) if each], "Runbook"):
        runbook = reading.runbook_of(document)
        compiled = compiler.compile_runbook(runbook, None, ACTIONS) if isinstance(runbook, Runbook) else None
        if isinstance(compiled, Compiled):
            yield document, compiled


def _documents(file: Path) -> Iterator[Any]:
    return yaml.load_all(file.read_text(encoding="utf-8"), _Loader)


def _problems(file: Path, documents: list[dict[str, Any]]) -> Iterator[str]:
    connections: dict[str, str] = {}
    for document in _of_kind(documents, "Connection"):
        try:
            found = types.connection_of(document)
        except pydantic.ValidationError as error:
            yield from (
                f"{file}: Connection {_name(document)}: {problem}" for problem in problems.all_of_validation(error)
            )
            continue
        connections[found.metadata.name] = found.spec.type
    for document in _of_kind(documents, "Runbook"):
        for problem in _of_runbook(document, connections or None):
            yield f"{file}: Runbook {_name(document)}: {problem}"


def _of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document.get("kind") == kind]


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return texts.visible(str(metadata.get("name", "?"))) if isinstance(metadata, dict) else "?"


def _misnamed(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Tell of names that the apiserver would not take, of which an administrator might be given a line to copy."""
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if name is not None and not is_object_name(name):
        yield f"metadata.name: {texts.line(name)} is not a name of an object"
    if namespace is not None and not is_dns_label(namespace):
        yield f"metadata.namespace: {texts.line(namespace)} is not a name of a namespace"


def _of_runbook(document: dict[str, Any], connections: dict[str, str] | None) -> Iterator[str]:
    runbook = reading.runbook_of(document)
    deep = isinstance(runbook, Malformed) and reading.too_deep(document.get("spec"), "spec")
    if deep:
        yield str(deep)
        return
    try:
        # stricter than the operator, which has to live with fields of a newer version: a typo is told here
        parsing.whole_spec(ACTIONS).model_validate(document.get("spec") or {}, extra="forbid")
    except pydantic.ValidationError as error:
        yield from map(str, problems.all_of_validation(error, "spec"))
        return
    if isinstance(runbook, Malformed):
        yield str(runbook.problem)
        return
    yield from _misnamed(document.get("metadata") or {})
    compiled = compiler.compile_runbook(runbook, connections, ACTIONS)
    if not isinstance(compiled, Compiled):
        yield from (str(problem) for problem in compiled)
