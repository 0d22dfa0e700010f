"""Every field that a person writes has a size in the definitions; free JSON has the size of the whole, told by the compiler."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEFINITIONS = sorted((Path(__file__).parents[2] / "crds").glob("incidents.dev_*.yaml"))
FREE = ("params", "http.query", "http.json", "job.template")
"""JSON of any form."""


def unbounded(node: dict[str, Any], path: str) -> Iterator[str]:
    match node.get("type"):
        case "string" if not {"maxLength", "enum", "format"} & set(node):
            yield path
        case "array":
            yield from [path] if "maxItems" not in node else []
            yield from unbounded(node["items"], f"{path}[]")
        case "object":
            values = node.get("additionalProperties")
            yield from [path] if values is not None and "maxProperties" not in node else []
            yield from unbounded(values, f"{path}.*") if isinstance(values, dict) else ()
            yield from [path] if "x-kubernetes-preserve-unknown-fields" in node and not path.endswith(FREE) else []
            for name, each in node.get("properties", {}).items():
                yield from unbounded(each, f"{path}.{name}")
        case None if "maxLength" not in node and not path.endswith(FREE):
            yield path


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
def test_every_field_of_a_spec_is_bounded(file: Path) -> None:
    version = yaml.safe_load(file.read_text())["spec"]["versions"][0]
    assert list(unbounded(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")) == []
    assert file.stat().st_size < 240_000
