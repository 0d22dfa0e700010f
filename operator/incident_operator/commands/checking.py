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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [f"{file}: no YAML: {' '.join(str(error).split())}"]
    malformed = [each for each in documents if not isinstance(each, dict)]
    if malformed:
        return [f"{file}: not a Kubernetes object: {str(malformed[0])[:80]}"]
    return list(_problems(file, documents))


def _problems(file: Path, documents: list[dict[str, Any]]) -> Iterator[str]:
    connections = _connections(documents) or None
    for document in documents:
        if document.get("kind") != "Runbook":
            continue
        name = document.get("metadata", {}).get("name", "?")
        for problem in _of_runbook(document, connections):
            yield f"{file}: Runbook {name}: {problem}"


def _of_runbook(document: dict[str, Any], connections: dict[str, ConnectionType] | None) -> Iterator[str]:
    try:
        # stricter than the operator, which has to live with fields of a newer version: a typo is told here
        RunbookSpec.model_validate(document.get("spec"), extra="forbid")
        runbook = Runbook.model_validate(document)
    except pydantic.ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            yield f"spec.{_path(each['loc'])}: {each['msg']}"
        return
    compiled = compiler.compile_runbook(runbook, connections)
    if not isinstance(compiled, Compiled):
        yield from (str(problem) for problem in compiled)


def _connections(documents: list[dict[str, Any]]) -> dict[str, ConnectionType]:
    found = [Connection.model_validate(each) for each in documents if each.get("kind") == "Connection"]
    return {each.metadata.name: each.spec.type for each in found}


def _path(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")
