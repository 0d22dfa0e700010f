"""The spec of a Connection as the definition and the docs have it: a member for each type, of which `type` names one."""

from incident_operator import connections
from incident_operator.api import rules
from incident_operator.connections.declaration import ConnectionTypes
from incident_operator.core.outcomes import Json


def completed(model: Json, types: ConnectionTypes) -> Json:
    """Return the JSON schema of the kind Connection with its members."""
    return {**model, "$defs": {**model["$defs"], **definitions(types)}}


def definitions(types: ConnectionTypes) -> Json:
    """Return the JSON schemas of the spec and of all that it refers to, by name."""
    whole = connections.whole_spec(types).model_json_schema(by_alias=True)
    others = whole.pop("$defs")
    written = [each.key for each in types]
    order = ["type", *written, *(key for key in whole["properties"] if key not in {"type", *written})]
    whole["properties"] = {key: whole["properties"][key] for key in order}
    return {"ConnectionSpec": {**whole, **rules.validations(*_rules(types))}, **others}


def _rules(types: ConnectionTypes) -> list[Json]:
    exactly = rules.explained(
        " && ".join(f"has(self.{each.key}) == (self.type == '{each.key}')" for each in types),
        "exactly the member that type names has to be set",
        "'type is ' + self.type + ', so exactly spec.' + self.type + ' has to be set'",
    )
    return [exactly, *(rule for each in types for rule in each.rules)]
