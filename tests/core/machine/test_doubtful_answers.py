"""What speaks against an answer: where it fails a step whatever the rest says, and where the question is asked again."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import Phase, StepRecord, StepState
from incident_operator.core import reasons
from incident_operator.core.machine.outcome import evaluate, evaluate_probe
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Doubt, Effect, Failed, Failure, Outcome, Succeeded, outcome_of
from tests.core.builders import PROBE, START, incident, post, read, runbook
from tests.core.machine.simulation import Simulation

AWAY = Doubt("the status is 503, not 2xx (warming up)", "status", passes=True, after=0.0)
MISSING = Doubt("the status is 404, not 2xx", "status")
WARNED = Doubt("the answer comes with warnings", "warnings", passes=True)
THRICE = {"retry": {"attempts": 3, "backoff": "7s"}}
TRUE, FALSE = "result.rows.size() == 0", "result.rows.size() == 1"
AT_STATUS = "result.status == 503"


def answer(doubt: Doubt | None = None) -> Succeeded:
    return Succeeded(
        {"rows": [], "status": 503, "json": None, "value": 0.0, "warnings": ["w"]}, "answered", doubt=doubt
    )


def http(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "http": {"connection": "api"}, **more}


def promql(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "promql": {"connection": "metrics", "query": "up"}, **more}


def evaluated(stage: str, step: dict[str, object], outcome: Outcome, *, failures: int = 0, after: float = 0.0):
    made = runbook(**{stage: [step]}).steps["look"]
    tried = {"started_at": START, "since": START, "failures": failures}
    record = StepRecord(name="look", stage=made.stage, action=made.act.key, effect=made.act.effect.value, **tried)
    run = Run("look", "look", made.stage, failures + 1, "k", undo=False)
    return evaluate(incident(), made, record, run, outcome, START + timedelta(seconds=after))


VERDICTS = [
    # a verify takes a doubtful answer only where its expect looks at what is doubtful
    ("verify", read("look", expect=TRUE), answer(), "Succeeded"),
    ("verify", http("look", expect="result.json == null"), answer(MISSING), "Failed"),
    ("verify", http("look", expect="result.json == null"), answer(AWAY), "Failed"),
    ("verify", http("look", expect=AT_STATUS), answer(AWAY), "Succeeded"),
    ("verify", http("look", expect='result["status"] == 503'), answer(AWAY), "Succeeded"),
    ("verify", http("look", expect="size(result) > 0"), answer(MISSING), "Succeeded"),
    ("verify", promql("look", expect="result.value == 0"), answer(WARNED), "Failed"),
    ("verify", promql("look", expect="result.value == 0"), answer(), "Succeeded"),
    ("verify", promql("look", expect="result.value == 0 && result.warnings.size() < 2"), answer(WARNED), "Succeeded"),
    ("verify", promql("look", expect="result.value == 0", **THRICE), answer(WARNED), "Pending"),
    # anywhere else its expect judges it
    ("diagnose", http("look", expect="result.json == null"), answer(MISSING), "Succeeded"),
    ("diagnose", http("look"), answer(AWAY), "Succeeded"),
    ("diagnose", read("look"), answer(WARNED), "Succeeded"),
    # what says "not now" is asked again, as often as the step says
    ("verify", http("look", expect="result.json == null", **THRICE), answer(AWAY), "Pending"),
    ("verify", http("look", expect="result.status == 200", **THRICE), answer(AWAY), "Pending"),
    ("diagnose", http("look", expect="result.status == 200", **THRICE), answer(AWAY), "Pending"),
    ("diagnose", http("look", **THRICE), answer(AWAY), "Pending"),
    # but not what was asked for, and not what will be the same again
    ("diagnose", http("look", expect=AT_STATUS, **THRICE), answer(AWAY), "Succeeded"),
    ("diagnose", http("look", expect="result.status == 200", **THRICE), answer(MISSING), "Failed"),
    ("diagnose", read("look", expect=FALSE, **THRICE), answer(), "Failed"),
]


@pytest.mark.parametrize(("stage", "step", "outcome", "state"), VERDICTS)
def test_a_doubtful_answer_becomes_a_verdict(stage, step, outcome, state):
    assert evaluated(stage, step, outcome).state.value == state


def test_a_verify_says_what_speaks_against_its_answer():
    found = evaluated("verify", http("look", expect="result.json == null"), answer(AWAY))
    assert found.reason == reasons.EXPECTATION_FAILED
    assert found.summary == "answered; the status is 503, not 2xx (warming up)"


@pytest.mark.parametrize(("failures", "state"), [(0, "Pending"), (1, "Pending"), (2, "Failed")])
def test_a_question_is_asked_as_often_as_the_step_says(failures, state):
    step = http("look", expect="result.status == 200", **THRICE)
    assert evaluated("diagnose", step, answer(AWAY), failures=failures).state.value == state


UNTIL = {"until": {"every": "10s", "for": "1m"}}


@pytest.mark.parametrize(
    ("how", "asked", "pause"),
    [
        (THRICE, 0.0, 7),  # the step's own pause
        (THRICE, 30.0, 30),  # what the service asks for
        (THRICE, 3600.0, 300),  # as far as that is obeyed
        (UNTIL, 0.0, 10),
        (UNTIL, 25.0, 25),
        (UNTIL, 3600.0, 60),  # a poll looks once more before its time is over
    ],
)
def test_whoever_asks_to_be_left_alone_is_left_alone(how, asked, pause):
    step = http("look", expect="result.status == 200", **how)
    outcomes = (
        answer(Doubt("busy", "status", passes=True, after=asked)),
        Failed(reasons.CONNECTION_FAILED, "busy", retryable=True, after=asked),
    )
    for outcome in outcomes:
        assert evaluated("diagnose", step, outcome).again_at == START + timedelta(seconds=pause)


def test_an_act_is_never_repeated_for_a_doubtful_answer():
    found = evaluated("remediate", post("look", expect="result.status == 200", **THRICE), answer(AWAY))
    assert (found.state, found.effected) == (StepState.FAILED, True)


@pytest.mark.parametrize("effect", [Effect.READ, Effect.UNKEYED, Effect.SQL_TX])
def test_a_failure_keeps_what_was_asked_for(effect):
    failure = Failure(reasons.CONNECTION_FAILED, "busy", retryable=True)
    failure.after = 9.0
    assert outcome_of(failure, effect).after == 9.0


@pytest.mark.parametrize(
    ("expect", "state"), [("result.json == null", "Unknown"), ("result.status == 503", "Succeeded")]
)
def test_a_probe_cannot_tell_by_a_doubtful_answer(expect, state):
    probe = {**PROBE, "expect": expect}
    step = runbook(remediate=[post("act", probe=probe)]).steps["act"]
    found = evaluate_probe(incident(), step, answer(AWAY), START)
    assert found.state.value == state


def test_a_read_that_is_refused_twice_is_asked_three_times_and_the_incident_goes_on():
    simulation = Simulation(
        runbook(diagnose=[http("look", expect="result.status == 503", **THRICE)], verify=[read("check")])
    )
    busy = Succeeded({"status": 429}, "GET /: 429", doubt=Doubt("busy", "status", passes=True, after=20.0))
    simulation.script["look"] = [busy, busy, answer(AWAY)]
    simulation.go(timedelta(minutes=2))
    assert simulation.states()["look"] == "Succeeded"
    assert simulation.script["look"] == []
    assert simulation.status.phase is not Phase.NEEDS_HUMAN
