"""What a Runbook may say and probably does not mean: told by `check` as warnings, and in its `Ready` condition. Pure.

A warning stops nothing. A rule looks at a Runbook that compiles; `RULES` is the whole table, and docs/runbook.md shows it. Those that say so
become problems with the next release, and the Runbook `Invalid`.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from incident_operator.api.meta import delta
from incident_operator.api.runbook import Stage
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Operator
from incident_operator.core.expressions import weight
from incident_operator.core.expressions.cel import Problem, Program
from incident_operator.core.outcomes import Effect
from incident_operator.core.runbooks.compiled import Compiled, CompiledAction, CompiledStep, step_expressions
from incident_operator.core.runbooks.limits import retry_warnings

MOST = 50
"""Warnings that are told of one Runbook."""
LONGEST_WAIT = timedelta(days=7)
"""Of a step with all its looks or attempts: whoever it is for has changed what it was about."""
_NEXT = "the next release refuses that"


def warnings_of(compiled: Compiled) -> tuple[Problem, ...]:
    """Return what is worth a look, or to be changed before the next release, in the order of the steps, at most 50."""
    return tuple(warning for step in compiled.steps.values() for warning in _of_step(step))[:MOST]


def _of_step(step: CompiledStep) -> Iterator[Problem]:
    longest, timeout = step.act.action.longest, _timeout(step)
    if timeout > longest:
        told = f"one attempt of {step.act.key} takes {_written_seconds(longest)} at most"
        yield Problem(f"{step.path}.timeout", f"{told}, and this one {step.step.timeout}; {_NEXT}")
    elif (retry := step.step.retry) is not None and (timeout + delta(retry.backoff)) * retry.attempts > LONGEST_WAIT:
        told = f"with all attempts the step may take more than {_written_seconds(LONGEST_WAIT)}"
        yield Problem(f"{step.path}.retry", f"{told}; {_NEXT}")
    else:
        yield from retry_warnings(step)
    until = step.step.until
    if until is not None and delta(until.for_) > LONGEST_WAIT:
        told = f"a step waits {_written_seconds(LONGEST_WAIT)} at most, and this one {until.for_}"
        yield Problem(f"{step.path}.until.for", f"{told}; {_NEXT}")


def _timeout(step: CompiledStep) -> timedelta:
    return delta(step.step.timeout) if step.step.timeout is not None else step.act.action.timeout


def _written_seconds(duration: timedelta) -> str:
    hours = duration // timedelta(hours=1)
    return f"{hours}h" if hours < 48 else f"{hours}h ({hours // 24} days)"


_OBJECTS = (
    "pod", "container", "node", "instance", "deployment", "statefulset", "daemonset", "replicaset", "job_name", "cronjob",
    "persistentvolumeclaim", "persistentvolume", "horizontalpodautoscaler", "device", "mountpoint",
)  # fmt: skip
"""Labels that name one object of many."""
_PER_POD = re.compile(
    r"Kube(?:Pod|Container).*|CPUThrottlingHigh|.*Pod(?:CrashLooping|NotReady|Restarting|OOMKilled).*"
)
"""Alerts that there is one of for each Pod: those of kube-prometheus, and what is called like them."""
_ALERTS = re.compile(r"\bALERTS(?:_FOR_STATE)?\b")
_QUOTED_ALERTS = re.compile(r"(?:__name__\s*=~?|[{,])\s*[\"'`]ALERTS")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")
_NAMED = re.compile(r"alertname\s*(=~|=)\s*[\"'`]([^\"'`]*)[\"'`]")
_ALERTS_API = re.compile(r"/api/v[12]/alerts\b")


@dataclass(frozen=True, slots=True)
class Told:
    """What is known beside the text."""

    namespace: str = ""
    """Of the Runbook; empty where the file does not say."""
    is_global: bool = False
    """Whether the operator's settings give it the alerts of every namespace."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One rule."""

    name: str
    """As in the output of `check`."""
    about: str
    """What it finds, for the docs."""
    reason: str
    """Why that matters, in one sentence, for the docs."""
    find: Callable[[Compiled, Told], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Advised:
    """What a rule found."""

    name: str
    problem: Problem


def advice_of(compiled: Compiled, told: Told) -> Iterator[Advised]:
    """Yield what all rules find, in the order of the table."""
    for rule in RULES:
        yield from (Advised(rule.name, problem) for problem in rule.find(compiled, told))


def _acts(compiled: Compiled, *stages: Stage) -> Iterator[CompiledStep]:
    steps = itertools.chain.from_iterable(compiled.stage(stage) for stage in stages or tuple(Stage))
    return (step for step in steps if step.act.effect is not Effect.READ)


def _foreign_targets(compiled: Compiled, told: Told) -> Iterator[Problem]:
    if not (told.is_global or _names_other_namespaces(compiled, told)) or _one_namespace(compiled):
        return
    for step in _acts(compiled):
        if not _follows(compiled, step.act):
            message = "acts on the same object whatever the alert's namespace is, and this Runbook takes alerts of many namespaces"
            instead = 'match namespace="…", or use a parameter that reads alert.labels.namespace'
            yield Problem(f"{step.path}.{step.act.key}", f"{message}; {instead}")


def _names_other_namespaces(compiled: Compiled, told: Told) -> bool:
    """Tell whether `match` asks for alerts that only a Runbook of a global namespace gets."""
    for matcher in compiled.matchers:
        if matcher.name != matching.LABEL or not matcher.value:
            continue
        if matcher.operator is Operator.REGEX and matcher.value not in {told.namespace, ".*", ".+"}:
            return True
        if matcher.operator is Operator.NOT_EQUAL and matcher.value != told.namespace:
            return True
    return False


def _one_namespace(compiled: Compiled) -> bool:
    return any(m.name == matching.LABEL and m.operator is Operator.EQUAL and m.value for m in compiled.matchers)


def _follows(compiled: Compiled, act: CompiledAction) -> bool:
    """Tell whether an act depends on the alert: in the Runbook's own namespace, on the namespace of the alert."""
    references = [each for slot in act.template.slots for program in slot.programs for each in program.references]
    if any(each.root == "steps" for each in references):
        return True
    named = {each.path[0] for each in references if each.root == "params" and each.path}
    used = (each for each in compiled.parameters if each.parameter.name in named and each.program is not None)
    labels = [each.label for each in used]
    return matching.LABEL in labels if not act.action.connections else bool(labels)


def _unverified(compiled: Compiled, _told: Told) -> Iterator[Problem]:
    acts = list(_acts(compiled, Stage.REMEDIATE))
    if acts and not compiled.stage(Stage.VERIFY):
        yield Problem(
            "spec.remediate",
            "nothing checks whether it helped; add verify, with a read whose expect is true only if it did",
        )


def _unprobed(compiled: Compiled, _told: Told) -> Iterator[Problem]:
    for step in _acts(compiled):
        if not step.act.effect.is_known and step.probe is None:
            message = f"after a crash in the middle of this {step.act.key} nobody can tell whether it happened"
            yield Problem(
                f"{step.path}.{step.act.key}", f"{message}, and a person is asked; add a probe, a read that tells"
            )


def _asks_the_alert(compiled: Compiled, _told: Told) -> Iterator[Problem]:
    for step in compiled.stage(Stage.VERIFY):
        if _is_of_the_alert(compiled, step):
            message = "asks whether the alert is over; after verify the operator waits for that anyway"
            yield Problem(f"{step.path}.{step.act.key}", f"{message}; check what the users of the service see")


def _is_of_the_alert(compiled: Compiled, step: CompiledStep) -> bool:
    if any(_asks_for_state(placed.program) for placed in step_expressions(step)):
        return True
    texts = list(_texts(step.act.spec.to_json()))
    if step.act.key == "promql":
        return any(_names_own_alert(compiled, text) for text in texts if _queries_alerts(text))
    return step.act.key == "http" and any(_ALERTS_API.search(text) for text in texts)


def _queries_alerts(query: str) -> bool:
    """Tell whether a query asks for the series `ALERTS`, and not for one with that word in a label."""
    return bool(_ALERTS.search(_STRING.sub('""', query)) or _QUOTED_ALERTS.search(query))


def _asks_for_state(program: Program) -> bool:
    """Tell whether an expression depends on how the alerts stand, and not only on what their labels say."""
    named = [each.path[:1] for each in program.references if each.root == "incident"]
    if ("resolved",) in named:
        return True
    listed = [token.text for token in weight.tokens(program.source)]
    return ("alerts",) in named and any(
        text.strip("'\"") == "status" and before != "result"
        for before, text in zip(["", "", *listed], listed, strict=False)
    )


def _names_own_alert(compiled: Compiled, query: str) -> bool:
    """Tell whether a query of `ALERTS` may find the alert that the Runbook is for."""
    own = [m for m in compiled.matchers if m.name == "alertname" and m.operator in {Operator.EQUAL, Operator.REGEX}]
    names = [name for _, name in _NAMED.findall(query)]
    if not own or not names:
        return True
    return any(matcher.holds({"alertname": name}) or matcher.value == name for matcher in own for name in names)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _ungrouped(compiled: Compiled, _told: Told) -> Iterator[Problem]:
    fixed = {m.name for m in compiled.matchers if m.operator is Operator.EQUAL and m.value}
    read = {each.label for each in compiled.parameters} | {
        m.name for m in compiled.matchers if m.operator is Operator.REGEX and not m.holds({})
    }
    missing = [name for name in _OBJECTS if name in read - fixed - set(compiled.spec.group_by)]
    if not missing and not compiled.spec.group_by and "pod" not in fixed and _is_per_pod(compiled):
        missing = ["pod"]
    if missing:
        told = f"there is an alert for each {missing[0]}, and without it all of them are one Incident, with the values of the first"
        yield Problem("spec.groupBy", f"{told}; write groupBy: [{', '.join([*compiled.spec.group_by, *missing])}]")


def _is_per_pod(compiled: Compiled) -> bool:
    matchers = (
        m for m in compiled.matchers if m.name == "alertname" and m.operator in {Operator.EQUAL, Operator.REGEX}
    )
    return any(_PER_POD.fullmatch(name) for matcher in matchers for name in matcher.value.split("|"))


def _late_objectives(compiled: Compiled, _told: Told) -> Iterator[Problem]:
    mitigated = _longest(compiled, Stage.DIAGNOSE) + _together(compiled, Stage.MITIGATE)
    resolved = mitigated + _together(compiled, Stage.REMEDIATE) + _longest(compiled, Stage.VERIFY)
    objectives = compiled.spec.objectives
    for name, promised, needed in (
        ("mitigate", objectives.mitigate, mitigated),
        ("resolve", objectives.resolve, resolved),
    ):
        if promised is not None and delta(promised) < needed:
            message = f"{promised} is promised, and the steps before it may take {_written(needed)} together"
            yield Problem(
                f"spec.objectives.{name}", f"{message}; raise the objective, or give the steps a shorter timeout"
            )


def _longest(compiled: Compiled, stage: Stage) -> timedelta:
    return max((_worst(step) for step in compiled.stage(stage)), default=timedelta())


def _together(compiled: Compiled, stage: Stage) -> timedelta:
    return sum((_worst(step) for step in compiled.stage(stage)), timedelta())


def _worst(step: CompiledStep) -> timedelta:
    """Return how long a step may take, all its looks or attempts together."""
    if step.step.until is not None:
        return delta(step.step.until.for_)
    timeout = delta(step.step.timeout) if step.step.timeout is not None else step.act.action.timeout
    retry = step.step.retry
    return timeout if retry is None else timeout * retry.attempts + delta(retry.backoff) * (retry.attempts - 1)


def _written(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    parts: Iterable[tuple[int, str]] = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


RULES: tuple[Advice, ...] = (
    Advice(
        "foreign-target",
        "a Runbook of a global namespace whose act does not depend on the alert's namespace",
        "It takes alerts of every namespace, but changes the object in its own namespace.",
        _foreign_targets,
    ),
    Advice(
        "unverified-remediation",
        "`remediate` acts, and there is no `verify`",
        "A remediation that did not help is noticed only after `resolveTimeout`.",
        _unverified,
    ),
    Advice(
        "unprobed-act",
        "an act of effect `unkeyed` without `probe`",
        "After a crash in the middle of it a person has to find out whether it happened.",
        _unprobed,
    ),
    Advice(
        "verify-asks-the-alert",
        "a step of `verify` that asks for the state of the Runbook's own alert",
        "The operator waits for the alert anyway, and the alert does not show what users see.",
        _asks_the_alert,
    ),
    Advice(
        "ungrouped",
        "one alert for each Pod, node or other object, without that label in `groupBy`",
        "Alerts of many objects become one Incident, whose parameters are those of the first.",
        _ungrouped,
    ),
    Advice(
        "late-objective",
        "an objective that is shorter than the time-outs of the steps before it",
        "Steps that use all of their time miss the objective even if nothing fails.",
        _late_objectives,
    ),
)
"""In the order in which they are told."""
