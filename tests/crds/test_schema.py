"""From pydantic's JSON schema to the structural schema of Kubernetes: what is rewritten, and what is refused."""

from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from incident_operator.api.meta import Model
from incident_operator.crdgen import schema as crdgen_schema


class Leaf(Model):
    """What a leaf is."""

    size: int = 3


@pytest.mark.parametrize(
    ("sentence", "annotation", "default", "expected"),
    [
        ("a model is inlined", Leaf, ..., {"type": "object", "description": "What a leaf is.",
         "properties": {"size": {"type": "integer", "default": 3}}}),
        ("null is absence", str | None, None, {"type": "string"}),
        ("an optional model is the model", Leaf | None, None, {"type": "object", "description": "What a leaf is.",
         "properties": {"size": {"type": "integer", "default": 3}}}),
        ("one literal is an enum of one", Literal["a"], ..., {"type": "string", "enum": ["a"]}),
        ("a default that says nothing is dropped", str, "", {"type": "string"}),
        ("a false default is dropped", bool, False, {"type": "boolean"}),
        ("a default that says something is kept", bool, True, {"type": "boolean", "default": True}),
        ("an exclusive bound is a flag", Annotated[int, Field(gt=0, lt=9)], ...,
         {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True}),
        ("any JSON is kept", Any, ..., {"x-kubernetes-preserve-unknown-fields": True}),
        ("an object of any JSON is kept", Annotated[dict[str, Any], Field(max_length=4)], ...,
         {"type": "object", "maxProperties": 4, "x-kubernetes-preserve-unknown-fields": True}),
        ("a map of strings is a map of strings", dict[str, str], ...,
         {"type": "object", "additionalProperties": {"type": "string"}}),
        ("a number or text is one of Kubernetes' own",
         Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})], ...,
         {"x-kubernetes-int-or-string": True}),
        ("a list keeps its bounds", Annotated[list[str], Field(min_length=1, max_length=2)], ...,
         {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}),
    ],
)  # fmt: skip
def test_a_field_is_rewritten(sentence: str, annotation: Any, default: Any, expected: dict[str, Any]) -> None:
    assert _field(annotation, default) == expected, sentence


class Tree(BaseModel):
    children: list["Tree"] = []


class Strict(BaseModel):
    model_config = {"extra": "forbid"}
    name: str


@pytest.mark.parametrize(
    ("sentence", "annotation", "says"),
    [
        ("a union", int | bool, r"\.field: a union of 2 types"),
        ("a union deep inside", dict[str, list[int | str]], r"\.field\.\*\[\]: a union of 2 types"),
        ("a tuple", tuple[int, str], r"\.field: a structural schema has no prefixItems"),
        ("recursion", Tree, r"\.field\.children\[\]: Tree contains itself"),
        ("a timedelta", timedelta, r"\.field: write a Go-style duration"),
        ("a set", set[str], r"\.field: a structural schema has no uniqueItems"),
    ],
)
def test_what_kubernetes_cannot_say_is_an_error_with_its_place(sentence: str, annotation: Any, says: str) -> None:
    with pytest.raises(crdgen_schema.SchemaError, match=says):
        _field(annotation, ...)


def test_a_field_named_title_is_no_title() -> None:
    schema = crdgen_schema.structural(_model(title=(str, ...)).model_json_schema())
    assert schema["properties"] == {"title": {"type": "string"}}


def test_forbidding_more_fields_is_left_to_pruning() -> None:
    assert _field(Strict, ...) == {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def test_the_description_of_the_field_wins_over_that_of_its_type() -> None:
    described = Annotated[Leaf, Field(description="Which leaf.")]
    assert _field(described, ...)["description"] == "Which leaf."


def _field(annotation: Any, default: Any) -> dict[str, Any]:
    return crdgen_schema.structural(_model(field=(annotation, default)).model_json_schema())["properties"]["field"]


def _model(**fields: Any) -> type[BaseModel]:
    return create_model("Probe", **fields)
