"""The envelopes of the CRDs: names, columns, selectable fields. What is inside comes from the models and the catalogues.

The spec of a Connection has a member for each type, of which `type` names one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from incident_operator import connections
from incident_operator.actions import ACTIONS
from incident_operator.api import connection, incident, runbook
from incident_operator.api.meta import GROUP, VERSION, Model, explained, validations
from incident_operator.connections.declaration import ConnectionTypes
from incident_operator.core.action import Actions
from incident_operator.core.outcomes import Json
from incident_operator.crdgen import schema
from incident_operator.crdgen.schema import shortened_stages, with_actions


def with_connections(model: Json, types: ConnectionTypes) -> Json:
    """Return the JSON schema of the kind Connection with its members."""
    return {**model, "$defs": {**model["$defs"], **connection_definitions(types)}}


def connection_definitions(types: ConnectionTypes) -> Json:
    """Return the JSON schemas of the spec and of all that it refers to, by name."""
    whole = connections.whole_spec(types).model_json_schema(by_alias=True)
    others = whole.pop("$defs")
    written = [each.key for each in types]
    order = ["type", *written, *(key for key in whole["properties"] if key not in {"type", *written})]
    whole["properties"] = {key: whole["properties"][key] for key in order}
    return {"ConnectionSpec": {**whole, **validations(*_rules(types))}, **others}


def _rules(types: ConnectionTypes) -> list[Json]:
    exactly = explained(
        " && ".join(f"has(self.{each.key}) == (self.type == '{each.key}')" for each in types),
        "exactly the member that type names has to be set",
        "'type is ' + self.type + ', so exactly spec.' + self.type + ' has to be set'",
    )
    return [exactly, *(rule for each in types for rule in each.rules)]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; a wide one shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its model, its names, and how kubectl shows and selects it."""

    model: type[Model]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    initial_status: tuple[tuple[str, str | int], ...] = ()
    """Status that a reader sees before the operator has written any."""
    completed: Callable[[Json], Json] = dict
    """Adds to the model's JSON schema what catalogues and stages say, which the model does not know."""
    shortened: Callable[[Json], Json] = dict
    """Leaves out of the structural schema what it has told before."""

    @property
    def name(self) -> str:
        """The kind as written in manifests, e.g. `Incident`."""
        return self.model.__name__


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')

INCIDENT = Kind(
    model=incident.Incident,
    plural="incidents",
    short_name="inc",
    columns=(
        Column("Severity", ".spec.severity"),
        Column("Runbook", ".spec.runbookRef.name"),
        Column("Phase", ".status.phase"),
        Column("Step", ".status.step"),
        Column("Waiting-For", ".status.waitingFor"),
        _AGE,
        Column("Alerts", ".status.alerts", wide=True),
        Column("Mitigated", ".status.mitigatedAfter", wide=True),
        Column("Message", ".status.message", wide=True),
    ),
    selectable=(".status.phase", ".spec.severity", ".spec.runbookRef.name"),
    initial_status=(("phase", incident.Phase.PENDING.value), ("message", "waiting for the operator")),
)


def runbook_kind(actions: Actions) -> Kind:
    """Return the kind Runbook, whose steps can be these actions."""
    return Kind(
        model=runbook.Runbook,
        plural="runbooks",
        short_name="rb",
        columns=(
            _READY,
            Column("Alerts", ".status.alerts"),
            Column("Incidents", ".status.openIncidents", "integer"),
            Column("Last", ".status.last"),
            _AGE,
            Column("Message", ".status.message"),
        ),
        # what waits for an object (kstatus) takes one without any status for done
        initial_status=(("observedGeneration", -1),),
        completed=lambda model: with_actions(model, actions),
        shortened=lambda structural: shortened_stages(structural, actions),
    )


RUNBOOK = runbook_kind(ACTIONS)
CONNECTION = Kind(
    model=connection.Connection,
    plural="connections",
    short_name="conn",
    columns=(Column("Kind", ".spec.type"), Column("Used-By", ".status.usedBy", "integer"), _READY, _AGE),
    completed=lambda model: with_connections(model, connections.CONNECTIONS),
)
ALL = (INCIDENT, RUNBOOK, CONNECTION)


def definition(kind: Kind) -> Json:
    """Return the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["incident-operator"],
            },
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> Json:
    columns: list[Json] = []
    for column in kind.columns:
        written: Json = {"name": column.name, "type": column.type, "jsonPath": column.path}
        columns.append({**written, "priority": 1} if column.wide else written)
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return version


_IDENTITY: Json = {
    "apiVersion": {"type": "string", "description": f"`{GROUP}/{VERSION}`."},
    "kind": {"type": "string", "description": "The kind of the object."},
    "metadata": {"type": "object"},  # the apiserver describes it, and takes nothing else here
}


def _schema(kind: Kind) -> Json:
    """Return the schema of the whole object; its metadata belongs to the apiserver."""
    model = kind.completed(kind.model.model_json_schema(by_alias=True))
    stored = {**model, "properties": {key: model["properties"][key] for key in ("spec", "status")}}
    whole = kind.shortened(schema.structural(stored))
    fields = whole["properties"]
    if kind.initial_status:
        fields["status"]["default"] = dict(kind.initial_status)
    properties = {**_IDENTITY, "spec": fields["spec"], "status": fields["status"]}
    return {"description": whole["description"], "type": "object", "required": ["spec"], "properties": properties}
