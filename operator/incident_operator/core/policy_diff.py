"""Whether an admission policy that is in place still does what ours does. Pure: the live object is an argument."""

from collections.abc import Mapping
from typing import Any

from incident_operator.core.outcomes import Json

_MATCH_DEFAULTS = {"matchPolicy": "Equivalent"}
_RULE_DEFAULTS = {"scope": "*"}
_SPEC_DEFAULTS = {"failurePolicy": "Fail"}


def weakened(live: Json | None, expected: Json) -> str | None:
    """Return how a live policy or binding differs from the expected one, in one line for people; None where it does not.

    Any difference of spec counts: an exemption, a looser expression, a binding that only warns. Defaults that the
    apiserver fills in, and empty values, do not count as a difference.
    """
    name = f"{expected['kind']} {expected['metadata']['name']}"
    if live is None:
        return f"{name} is missing"
    found = _difference(_plain(live.get("spec")), _plain(expected["spec"]), "spec")
    return f"{name}: {found}" if found else None


def _plain(node: Json) -> Json:
    """Return a spec without what says nothing: empty values and the apiserver's own defaults."""
    if isinstance(node, Mapping):
        kept = {key: _plain(value) for key, value in node.items() if not _is_default(key, value)}
        return {key: value for key, value in kept.items() if not _is_empty(value)}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _is_default(key: str, value: Json) -> bool:
    defaults = {**_SPEC_DEFAULTS, **_MATCH_DEFAULTS, **_RULE_DEFAULTS}
    return key in defaults and defaults[key] == value


def _is_empty(value: Json) -> bool:
    return value is None or value in ({}, [], "")


def _difference(live: Json, expected: Json, path: str) -> str | None:
    """Return the first place where the two differ, in words."""
    if isinstance(live, Mapping) and isinstance(expected, Mapping):
        return _first(_difference_at(live, expected, key, path) for key in sorted({*live, *expected}))
    if isinstance(live, list) and isinstance(expected, list) and len(live) == len(expected):
        pairs = enumerate(zip(live, expected, strict=True))
        return _first(_difference(ours, theirs, f"{path}[{index}]") for index, (ours, theirs) in pairs)
    return None if live == expected else f"{path} is not what this operator ships"


def _difference_at(live: Json, expected: Json, key: str, path: str) -> str | None:
    if key not in expected:
        return f"{path}.{key} was added"
    if key not in live:
        return f"{path}.{key} was taken away"
    return _difference(live[key], expected[key], f"{path}.{key}")


def _first(found: Any) -> str | None:
    return next((difference for difference in found if difference), None)
