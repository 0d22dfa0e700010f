"""RFC 6902 over RFC 6901 pointers, as the apiserver applies it: all operations or none.

Unlike the RFC, its `replace` of a key that an object does not have sets the key, and a `test` takes that key as null.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any


class PatchError(Exception):
    """An operation does not apply; the message says which."""


def apply(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Return a patched copy."""
    patched = copy.deepcopy(document)
    for operation in operations:
        _apply_one(patched, operation)
    return patched


def merge(document: Any, patch: Any) -> Any:
    """Return a copy with an RFC 7386 merge patch applied: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
            continue
        merged[key] = merge(merged.get(key), value)
    return merged


def _apply_one(document: Any, operation: Mapping[str, Any]) -> None:
    path = operation["path"]
    parent, key = _locate(document, path)
    match operation["op"]:
        case "test":
            if _value(parent, key, path, absent=None) != operation["value"]:
                raise PatchError(f"testing path {path} failed")
        case "add":
            _add(parent, key, copy.deepcopy(operation["value"]))
        case "replace":
            _value(parent, key, path, absent=None)
            parent[_index(parent, key)] = copy.deepcopy(operation["value"])
        case "remove":
            _value(parent, key, path)
            del parent[_index(parent, key)]
        case other:
            raise PatchError(f"operation {other!r} is not implemented here")


def _locate(document: Any, path: str) -> tuple[Any, str]:
    *parents, key = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    for part in parents:
        document = _value(document, part, path)
    return document, key


_REQUIRED = object()


def _value(parent: Any, key: str, path: str, absent: Any = _REQUIRED) -> Any:
    if absent is not _REQUIRED and isinstance(parent, dict):
        return parent.get(key, absent)
    try:
        return parent[_index(parent, key)]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PatchError(f"{path} does not exist") from error


def _index(parent: Any, key: str) -> Any:
    return int(key) if isinstance(parent, list) else key


def _add(parent: Any, key: str, value: Any) -> None:
    if not isinstance(parent, list):
        parent[key] = value
        return
    parent.insert(len(parent) if key == "-" else int(key), value)
