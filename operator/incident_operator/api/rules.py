"""Constraints that pydantic cannot say, carried in the JSON schema to the CRDs: CEL rules and kinds of lists.

They are checked by the apiserver, never here. A rule reads `self`; a field that is a CEL keyword is written
`__for__`, as the apiserver wants it.
"""

from collections.abc import Iterable
from typing import Any

Extra = dict[str, Any]
"""Keys to add to a JSON schema."""


def rule(expression: str, message: str) -> Extra:
    """Return a CEL rule with the message that a person sees when it is false."""
    return {"rule": expression, "message": message}


def explained(expression: str, message: str, message_expression: str) -> Extra:
    """Return a CEL rule whose message is computed; the plain one is used where that fails."""
    return {"rule": expression, "message": message, "messageExpression": message_expression}


def validations(*rules: Extra) -> Extra:
    """Return the schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(rules)}


def exactly_one(what: str, fields: Iterable[str]) -> Extra:
    """Return the rule that exactly one of the fields is set, whose message names those that were found."""
    listed = list(fields)
    present = ", ".join(f"has(self.{field})" for field in listed)
    found = " + ".join(f"(has(self.{field}) ? ', {field}' : '')" for field in listed)
    return explained(
        f"[{present}].exists_one(set, set)",
        f"exactly one {what}",
        f"'exactly one {what} (found ' + ([{present}].exists(set, set) ? ({found}).substring(2) : 'none') + ')'",
    )


def keyed_by(key: str) -> Extra:
    """Return the extension of a list whose entries are told apart by one field, which is then unique."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def unordered() -> Extra:
    """Return the extension of a list whose entries are unique and whose order means nothing."""
    return {"x-kubernetes-list-type": "set"}
