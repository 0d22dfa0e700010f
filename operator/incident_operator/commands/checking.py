"""Checks Runbook files as the operator would, offline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import yaml

from incident_operator.api.connection import Connection, ConnectionType
from incident_operator.api.runbook import Runbook, RunbookSpec
from incident_operator.core.runbooks import compiler
from incident_operator.core.runbooks.compiled import Compiled


def check(file: Path) -> list[str]:
    """Return everything that is wrong with the Runbooks of a file, each line with its place.

    Connections are checked where the file itself holds some.
    """
    try:
        documents = [each for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        return [f"{file}: no YAML: {' '.join(str(error).split())}"]
    malformed = [each for each in documents if not isinstance(each, dict)]
    if malformed:
        return [f"{file}: not a Kubernetes object: {str(malformed[0])[:80]}"]
    return list(_problems(file, documents))


def holds_runbook(file: Path) -> bool:
    """Tell whether a file that was checked holds a Runbook at all."""
    documents = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    return any(document.get("kind") == "Runbook" for document in documents if document)


def _problems(file: Path, documents: list[dict[str, Any]]) -> Iterator[str]:
    connections: dict[str, ConnectionType] = {}
    for document in _of_kind(documents, "Connection"):
        try:
            found = Connection.model_validate(document)
        except pydantic.ValidationError as error:
            yield from (f"{file}: Connection {_name(document)}: {problem}" for problem in _told(error))
            continue
        connections[found.metadata.name] = found.spec.type
    for document in _of_kind(documents, "Runbook"):
        for problem in _of_runbook(document, connections or None):
            yield f"{file}: Runbook {_name(document)}: {problem}"


def _of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document.get("kind") == kind]


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"


def _of_runbook(document: dict[str, Any], connections: dict[str, ConnectionType] | None) -> Iterator[str]:
    try:
        # stricter than the operator, which has to live with fields of a newer version: a typo is told here
        RunbookSpec.model_validate(document.get("spec") or {}, extra="forbid")
    except pydantic.ValidationError as error:
        yield from _told(error, ("spec",))
        return
    try:
        runbook = Runbook.model_validate(document)
    except pydantic.ValidationError as error:
        yield from _told(error)
        return
    compiled = compiler.compile_runbook(runbook, connections)
    if not isinstance(compiled, Compiled):
        yield from (str(problem) for problem in compiled)


def _told(error: pydantic.ValidationError, within: tuple[str, ...] = ()) -> list[str]:
    found = error.errors(include_url=False, include_input=False)
    return [f"{_path((*within, *each['loc']))}: {each['msg']}" for each in found]


def _path(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")
