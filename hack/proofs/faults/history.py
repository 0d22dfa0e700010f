"""What witnesses saw of one run, as plain values: the only thing that the checker reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened: by etcd's own count where it is an object of the apiserver, else by the machine's clock."""

    at: float = 0.0
    """Seconds since 1970."""
    revision: int = 0
    """0 where etcd did not store it."""

    def precedes(self, other: "Moment") -> bool:
        """Tell whether this came first."""
        if self.revision and other.revision:
            return self.revision < other.revision
        return self.at < other.at


@dataclass(frozen=True, slots=True)
class Intent:
    """A status in etcd says that an attempt of a step runs; `moment` is when the first such status was sent."""

    step: str
    key: str
    moment: Moment
    mark: str = ""
    """What the status shows of the marker that objects of the cluster carry; empty for effects that carry the key itself."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Something changed in the world: a row, an object, a request that a service carried out."""

    what: str
    """In words, for findings."""
    moment: Moment
    key: str = ""
    """The step key that it carries; empty where such an effect cannot carry one."""
    step: str = ""
    """The step that has such effects, where no key tells."""
    facts: Json = field(default_factory=dict)
    """What of it a plan tells before: compared to the plan's entry."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that was shown to people."""

    hashed: str
    moment: Moment
    expires: float
    steps: tuple[str, ...]
    entries: Mapping[str, Json]
    """Step → what was promised of it (`details`, and `inTrial`)."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's own write of the annotation that approves; `token` is the beginning of the plan's hash."""

    token: str
    by: str
    signed: str
    """The name in the annotation."""
    moment: Moment


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first status after an intent that tells its attempt as not done, and so as something that may be begun anew."""

    step: str
    key: str
    state: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class Ban:
    """From this moment on a guard of every act does not hold any more: nothing may have an effect."""

    why: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class Interference:
    """Somebody else changed something: where and to what."""

    what: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class Scaling:
    """Two versions of a workload after one another with different replicas, and the step key that the newer one is marked with."""

    name: str
    before: int
    after: int
    key: str
    claims: tuple[int, int] | None
    """Before and after as the mark tells them."""


@dataclass(frozen=True, slots=True)
class End:
    """The Incident as etcd has it at the end."""

    phase: str
    reason: str
    message: str
    steps: Mapping[str, str]
    """Step → state."""
    undo: Mapping[str, str] = field(default_factory=dict)
    """Step → whether it is undone, as told."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the Runbook says, as far as a checker has to know it."""

    order: tuple[str, ...]
    """Steps that have effects, in their order, undos as `undo-<step>`."""
    asks: frozenset[str]
    """Steps that a person has to approve."""
    temporary: frozenset[str]
    """Mitigations that are undone in the end."""


@dataclass(frozen=True, slots=True)
class History:
    """One run."""

    rules: Rules
    acknowledged: bool = True
    """The alert was taken in, by the receiver's own 2xx."""
    incidents: tuple[str, ...] = ("incident",)
    """Names of all Incidents that were ever made of the one alert."""
    intents: tuple[Intent, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    bans: tuple[Ban, ...] = ()
    effects: tuple[Effect, ...] = ()
    plans: tuple[Plan, ...] = ()
    approvals: tuple[Approval, ...] = ()
    aborts: tuple[Moment, ...] = ()
    meddling: tuple[Interference, ...] = ()
    scalings: tuple[Scaling, ...] = ()
    end: End | None = None
    """None where there is no Incident."""
    in_time: bool = True
    """It came to an end within the bound of a run."""
    attended: bool = True
    """People answer what they are asked; else a question may stay open."""
