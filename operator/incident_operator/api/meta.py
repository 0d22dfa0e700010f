"""Types shared by all kinds: the model base, names, labels, durations, timestamps, conditions, and rules for the definitions.

Whatever is made of somebody's text goes through here: it is cut, then trimmed to a letter or digit, then told apart by a hash
(`label_value`) or by an ending that the caller has (`with_ending`, `cut_name`). Constraints that pydantic cannot say are CEL rules and
kinds of lists in the JSON schema; the apiserver checks them, never this code. A rule reads `self`; a field that is a CEL keyword is
written `__for__`, as the apiserver wants it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from incident_operator import api

LABEL_VALUE_LENGTH = 63
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NOT_IN_A_LABEL = re.compile(r"[^-A-Za-z0-9_.]")
_HASH = 8


def is_label_value(text: str) -> bool:
    """Tell whether a text can be the value of a label as it is."""
    return _LABEL_VALUE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Return a text as the value of a label: itself where it is one, else what can be kept of it and a hash of the whole."""
    if is_label_value(text):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH]
    kept = _NOT_IN_A_LABEL.sub("-", text)[: LABEL_VALUE_LENGTH - _HASH - 1].strip("-._")
    return f"{kept}-{digest}" if kept else digest


def with_ending(name: str, ending: str, longest: int) -> str:
    """Return `<name>-<ending>` as an object's name of at most `longest` characters: the object's `name` is cut, the ending never.

    `name` is an object's name, and `ending` lower-case letters and digits.
    """
    return f"{cut_name(name, longest - len(ending) - 1)}-{ending}"


def cut_name(name: str, longest: int) -> str:
    """Return an object's name, or as much of it as `longest` characters hold and still is one."""
    return name[:longest].rstrip("-.")


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


GROUP = "incidents.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w|y))+$"
"""As Go writes durations and as Prometheus and Alertmanager do: a day has 24 hours, a week 7 days, a year 365."""
DURATION_EXAMPLES = "such as 90s, 1h30m or 7d"
_DURATION = re.compile(DURATION_PATTERN.removeprefix("^").removesuffix("$"))
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w|y)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_LONGEST_SECONDS = 100 * _UNIT_SECONDS["y"]
"""What is longer counts as this: no moment is beyond the calendar's end."""

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
OBJECT_NAME_PATTERN = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
"""As the definitions have it; the apiserver takes no empty part between two dots either (`is_object_name`)."""
DnsLabel = Annotated[str, Field(pattern=f"^{_DNS_LABEL}$", max_length=63)]
ObjectName = Annotated[str, Field(pattern=f"^{OBJECT_NAME_PATTERN}$", max_length=253)]


def is_duration(text: str) -> bool:
    """Tell whether a text is a duration such as `90s`, `1h30m` or `7d`."""
    return len(text) <= 32 and _DURATION.fullmatch(text) is not None


def _duration(value: Any) -> Any:
    if isinstance(value, str) and is_duration(value):
        return value
    told = f"this is not a duration: write numbers with units, {DURATION_EXAMPLES}; units are ms, s, m, h, d, w and y"
    raise PydanticCustomError("duration", told)


Duration = Annotated[
    str,
    BeforeValidator(_duration),
    Field(
        max_length=32, json_schema_extra={"pattern": DURATION_PATTERN}
    ),  # for the definitions: `_duration` says it better
]
"""A duration such as `90s`, `1h30m` or `7d`: as Kubernetes, Prometheus and Alertmanager write them."""
Cel = Annotated[str, Field(min_length=1, max_length=1024)]
"""A bare CEL expression."""


def is_dns_label(text: str) -> bool:
    """Tell whether a text can be the name of a namespace (RFC 1123 label)."""
    return len(text) <= 63 and re.fullmatch(_DNS_LABEL, text) is not None


def is_object_name(text: str) -> bool:
    """Tell whether a text can be the name of most objects (RFC 1123 subdomain)."""
    return len(text) <= 253 and re.fullmatch(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", text) is not None


class ObjectKey(NamedTuple):
    """What names an object of a namespace."""

    namespace: str
    name: str


def owner_reference(kind: str, name: str, uid: str) -> dict[str, Any]:
    """Return what makes an object go with the Incident or Runbook that it belongs to."""
    return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid}


class Model(BaseModel):
    """Base of everything stored: immutable, camelCase on the wire, tolerant of fields that a newer version wrote."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=api.fields,
    )

    def to_json(self) -> dict[str, Any]:
        """Return the object as Kubernetes stores it: camelCase keys, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_bytes(self) -> bytes:
        """Return the same as JSON text, which takes a fraction of the time."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return pydantic's shallow copy without what frozen models have no need of: a status is copied at every turn.

        Which fields were set is taken over as it is; nobody asks.
        """
        if deep:
            return super().model_copy(update=update, deep=True)
        made = object.__new__(type(self))
        object.__setattr__(made, "__dict__", {**self.__dict__, **(update or {})})
        object.__setattr__(made, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        object.__setattr__(made, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(made, "__pydantic_private__", None)
        return made


@lru_cache(maxsize=4096)
def seconds(duration: str) -> float:
    """Return a duration in seconds, 100 years at most; the text was validated by its type."""
    told = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))
    return min(told, _LONGEST_SECONDS)


def delta(duration: str) -> timedelta:
    """Return the same as a timedelta."""
    return timedelta(seconds=seconds(duration))


@lru_cache(maxsize=4096)
def rfc3339(moment: datetime) -> str:
    """Return a moment as Kubernetes writes times: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole_seconds(value: Any) -> Any:
    return value.astimezone(UTC).replace(microsecond=0) if isinstance(value, datetime) else value


Timestamp = Annotated[
    datetime,
    BeforeValidator(_whole_seconds),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]


class Severity(StrEnum):
    """How urgent it is; P0 is the most urgent and is handled first."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


class Condition(Model):
    """A `metav1.Condition`: an observation for machines, with a reason from `core/reasons.py`."""

    type: Annotated[str, Field(max_length=63)]
    """What is observed, e.g. `Ready`."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(max_length=128)]
    """Why, in one CamelCase word for machines."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, for people."""
    last_transition_time: Timestamp
    """Since when the status is what it is."""
    observed_generation: int | None = None
    """The `metadata.generation` that was looked at."""


Conditions = Annotated[list[Condition], Field(max_length=16, json_schema_extra=keyed_by("type"))]


class ObjectMeta(Model):
    """The metadata that the operator reads; the apiserver owns the rest."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class NameRef(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName
    """Its name."""
