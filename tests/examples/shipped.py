"""Reads the files of examples/."""

from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if document]


def files() -> list[Path]:
    return sorted(EXAMPLES.rglob("*.yaml"))


def of_kind(kind: str, under: Path = EXAMPLES) -> list[dict[str, Any]]:
    found = [document for path in sorted(under.rglob("*.yaml")) for document in documents(path)]
    return [document for document in found if document["kind"] == kind]
