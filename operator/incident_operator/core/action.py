"""What an action is: one declaration in one file of `actions/`, which everything else reads. No table elsewhere knows it by name.

From it come the fields of a step in the Runbook's definition, what `check` requires, which fields take `${…}`, what `result` holds,
the default timeout, the effect class, and what runs. docs/adding-an-action.md shows how to add one.

An attempt's marker is what an effect leaves where it happened, so that whoever looks later knows it was ours: a `step_key` can be worked
out by whoever knows an Incident; a marker cannot without the key. Results are bounded, and cut where people can see it; a full one, too
large for a status, is evidence, of which the record keeps the digest.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import Field

from incident_operator.api.meta import OBJECT_NAME_PATTERN, Model
from incident_operator.api.runbook import Stage
from incident_operator.core import sanitize, texts
from incident_operator.core.expressions import templates
from incident_operator.core.expressions.cel import Problem
from incident_operator.core.expressions.templates import Rule
from incident_operator.core.outcomes import Effect, Failed, Outcome, Succeeded
from incident_operator.core.texts import fitting

KEY_BYTES = 32
_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Markers:
    """Makes markers with one secret key. Raises `ValueError` for a key that is too short to be secret."""

    key: bytes = field(repr=False)
    _keyed: hmac.HMAC = field(init=False, repr=False, compare=False)
    """Of nothing yet. To copy it costs little; to set one up for each marker took 2 % of an Incident's CPU."""

    def __post_init__(self) -> None:
        """Refuse a key that could be guessed."""
        if len(self.key) < KEY_BYTES:
            raise ValueError(f"the key of the markers has {len(self.key)} bytes; {KEY_BYTES} are needed")
        object.__setattr__(self, "_keyed", hmac.new(self.key, digestmod=hashlib.sha256))

    def of(self, incident_uid: str, stage: Stage, step: str, attempt: int) -> str:
        """Return the marker in hex (64 characters): the same for the same attempt, however often it is asked for."""
        made = self._keyed.copy()
        made.update(f"{incident_uid}/{stage}/{step}/{attempt}".encode())
        return made.hexdigest()


def shown_marker(marker: str) -> str:
    """Return what a status may show of a marker: 16 hex characters that tell two apart and lead to none."""
    return hashlib.sha256(marker.encode()).hexdigest()[:_SHOWN]


RESULT_BYTES = 200_000
"""Of JSON, for all rows of one result together; keeps a result below 256 KiB."""
TEXT_CHARACTERS = 16_384


def fit(rows: Sequence[dict[str, Any]], budget: int) -> tuple[list[dict[str, Any]], int]:
    """Return the first rows, long texts cut, that fit `budget` bytes of JSON; and what is left of the budget."""
    return fitting(map(shortened, rows), size, budget)


def shortened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its long texts cut, fit for expressions."""
    short: dict[str, Any] = sanitize.result({name: _short(value) for name, value in row.items()})
    return short


def size(value: Any) -> int:
    """Return the bytes of a value's JSON."""
    # integers beyond 64 bits are measured by their digits
    return len(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))


def _short(value: Any) -> Any:
    return texts.cut_counted(value, TEXT_CHARACTERS) if isinstance(value, str) else value


def counted(rows: int) -> str:
    """Return a number of rows in words, e.g. `1 row`."""
    return texts.counted(rows, "row")


MAX_TEXT = 64 * 1024
"""Characters kept of one step's result."""
_SMALL = 256
"""What fits into the summary needs no ConfigMap."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One step's result as evidence."""

    digest: str
    """Of the text that is kept; empty where none is, since the summary tells it all."""
    text: str


def evidence_of(outcome: Outcome) -> Evidence | None:
    """Return an outcome's result as evidence, cut where it is long; its digest is over what is kept, so that it can be compared."""
    if not isinstance(outcome, Succeeded | Failed) or not outcome.result:
        return None
    result = sanitize.finite(sanitize.cleaned(outcome.result))
    text = texts.with_escapes(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    kept = texts.cut_counted(text, MAX_TEXT)
    return Evidence(texts.digest(kept) if len(kept) > _SMALL else "", kept)


Text = Annotated[str, Field(max_length=4096)]
Statement = Annotated[str, Field(min_length=1, max_length=16384)]
"""SQL or PromQL text. It is a literal: values come in through `params`, never through `${…}`."""


def kind_and_name(*kinds: str) -> Any:
    """Return the field of a text that names an object of one of these kinds as kubectl writes it: `deployment/web`."""
    return Field(pattern=f"^({'|'.join(kinds)})/{OBJECT_NAME_PATTERN}$", max_length=270)


WorkloadRef = Annotated[str, kind_and_name("deployment", "statefulset", "daemonset")]
"""A workload as kubectl writes it, e.g. `deployment/scheduler`."""
JobSource = Annotated[str, kind_and_name("deployment", "statefulset", "daemonset", "cronjob")]
"""What has a Pod template, as kubectl writes it."""
Params = Annotated[dict[str, Any], Field(max_length=64)]
Pattern = Annotated[str, Field(max_length=1024)]
"""RE2 with named groups."""
Selector = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(min_length=1, max_length=16)]
"""Labels that all must match; never empty, which would mean every object of the namespace."""


S = TypeVar("S", bound=Model)
Spec_co = TypeVar("Spec_co", bound=Model, covariant=True)


@dataclass(frozen=True, slots=True)
class UndoOf:
    """The effect that a call takes back."""

    key: str
    """Step key of the original effect."""
    captured: Mapping[str, Any]
    """What the original action captured."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Spec_co]):
    """One call of an action, fully rendered: no `${…}` is left in `spec`."""

    namespace: str
    incident: str
    incident_uid: str
    runbook: str
    service_account: str
    """The account of that namespace to act as."""
    stage: Stage
    step: str
    attempt: int
    key: str
    """The step key. For a read it names the call; for an effect it is what makes it happen once."""
    action: str
    """The action's key as written, e.g. `sqlExecute`."""
    spec: Spec_co
    """The action's model, rendered."""
    timeout: float
    """Seconds one attempt may take, counted from `started_at`."""
    started_at: datetime
    undo_of: UndoOf | None = None
    """Set where the call takes an earlier effect back; for a naturally undoable action `spec` is the original's."""
    seen: Mapping[str, Any] | None = None
    """What the intent says that the act was begun upon; None in a preview, and for an act that an older version began."""
    marker: str = field(default="", repr=False)
    """What an object that the act makes or changes is marked with; nobody else can know it (`core/action.py`)."""
    severity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels for objects the action creates (`app.kubernetes.io/managed-by`, `incidents.dev/incident`, …)."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call would do; stable: the same world gives the same preview. `act` sends the `thing` of it and nothing else."""

    do: str
    """The act in one sentence or statement."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON: command, bound parameters, target uids, limits."""
    in_trial: str | None = None
    """What a rolled-back trial run did, e.g. `1 row`, or why there was none; None where an action tries nothing. Binds."""
    in_trial_counted: str | None = None
    """What it counted, where `in_trial` says only how much that may be. People see it; it binds nothing."""
    trial_remedy: str = ""
    """How the step may ask for a bound, where `in_trial` binds the very number; told where a trial voids an approval."""
    whole: Mapping[str, Any] = field(default_factory=dict)
    """JSON that is shown as lines of YAML, under these names, e.g. a Pod template."""
    allows: tuple[str, ...] = ()
    """What it does beyond the ordinary, which the step allows, and who may undo it: for people to read first."""
    thing: Any = field(default=None, repr=False)
    """What is sent, and with which connection; it stays in memory."""
    bound: Any = field(default=None, repr=False)
    """JSON: all of the thing that a person binds by approving it: without name, marker, owner and resourceVersion."""
    seen: Mapping[str, Any] = field(default_factory=dict)
    """Small: what the intent keeps, so that the act can be looked up."""

    @property
    def digest(self) -> str:
        """SHA-256 of what is bound."""
        text = json.dumps(sanitize.distinct(self.bound), sort_keys=True, default=str)
        return texts.digest(text)


Clients = Any
"""Everything that speaks to the world, `actions/clients.py`; a declaration only hands it on."""

Read = Callable[[Call[S], Clients], Awaitable[Outcome]]
"""Does what changes nothing. Raises `Failure`."""
Show = Callable[[Call[S], Clients, bool], Awaitable[Preview]]
"""Says what `act` would send now, with all of it in `thing`; with True tries it and rolls back. Raises `Failure`."""
Reserve = Callable[[Call[S], Preview, Clients], Awaitable[Mapping[str, Any]]]
"""Makes what the act needs and has no effect yet; returns what the intent keeps of it. Raises `Failure`."""
Act = Callable[[Call[S], Preview, Clients], Awaitable[Outcome]]
"""Sends the preview's `thing`, and nothing that it reads anew. Raises `Failure`, which says whether it may have been applied."""
Look = Callable[[Call[S], Clients], Awaitable[Outcome]]
"""Finds what became of an act by its key, marker and `call.seen`; never does it.

Succeeded, Failed or Pending: it was done, or goes on. NotDone: it certainly was not, and a request that is still on its way can
do nothing any more. Undetermined: nobody can tell. Raises `Failure` where it cannot look, which proves nothing.
"""
Check = Callable[[S, str], Iterator[Problem]]
"""Finds what is wrong with the spec as written, before anything is rendered; the second argument is its path."""


@dataclass(frozen=True, slots=True)
class Connects:
    """Marks a field of an action that names a Connection: `Annotated[ObjectName, Connects("postgres")]`."""

    type: str
    """The type that the Connection has to be of, a key of `connections/`."""


@dataclass(frozen=True, slots=True, eq=False)
class Action(Generic[S]):
    """One verb of a Runbook."""

    key: str
    """As written in a Runbook, e.g. `sqlExecute`."""
    model: type[S]
    """Its fields; a `Take` or `Connects` on them says where `${…}` may stand and which Connection is meant."""
    result: type
    """A TypedDict: the names that `expect` and `outputs` see in `result`. A text in `Annotated` goes into the docs."""
    effect: Effect | Callable[[S], Effect]
    """Its effect class, or what tells it from the fields."""
    rights: str
    """What the Runbook's service account needs, for the docs."""
    cases: Mapping[Effect, str] = field(default_factory=dict)
    """Where `effect` is told from the fields: each effect that can come out, and when, for the docs and the definition."""
    read: "Read[S] | None" = None
    show: "Show[S] | None" = None
    reserve: "Reserve[S] | None" = None
    act: "Act[S] | None" = None
    look: "Look[S] | None" = None
    checks: "tuple[Check[S], ...]" = ()
    takes: tuple[Rule, ...] = ()
    """Where `${…}` may stand inside free JSON, which no field can be marked for; these come before the marks."""
    timeout: timedelta = timedelta(seconds=30)
    """How long one attempt may take, unless the step says so."""
    longest: timedelta = timedelta(hours=1)
    """How long one attempt may take at most, whatever the step says: a request or a transaction holds what others wait for."""
    workload: Callable[[S], str | None] = lambda _: None
    """Returns the Pod or workload that a step is about, as kubectl writes it (`deployment/web`); None where its text names none."""
    naturally_undoable: bool = False
    """Whether it captures what it replaces, and can put it back without a declared `undo`."""
    instead: str = ""
    """What an author may write where only reads are allowed and this step is none; empty where there is nothing."""

    def effect_of(self, spec: S) -> Effect:
        """Return the effect class of a step of this action."""
        return self.effect if isinstance(self.effect, Effect) else self.effect(spec)

    @property
    def effects(self) -> frozenset[Effect]:
        """Every effect class that a step of this action can have."""
        return frozenset({self.effect} if isinstance(self.effect, Effect) else self.cases)

    @property
    def may_read(self) -> bool:
        """Whether a step of it can be one that changes nothing."""
        return Effect.READ in self.effects

    @property
    def may_act(self) -> bool:
        """Whether a step of it can change something."""
        return self.effects != {Effect.READ}

    @property
    def result_names(self) -> frozenset[str]:
        """What `result` holds."""
        return frozenset(self.result.__annotations__)

    @property
    def rendering(self) -> tuple[Rule, ...]:
        """Where `${…}` may stand, and what a value is there; everything else is taken as it is written."""
        return (*self.takes, *templates.marked(self.model))

    @property
    def connections(self) -> Mapping[str, str]:
        """The fields that name a Connection, as written, with the type that it has to be of."""
        return {
            info.alias or name: mark.type
            for name, info in self.model.model_fields.items()
            for mark in info.metadata
            if isinstance(mark, Connects)
        }


Actions = tuple[Action[Any], ...]
"""The catalogue, `actions.ACTIONS`; it is handed to the core, which never imports it."""
