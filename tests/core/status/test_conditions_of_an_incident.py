"""Conditions by the Kubernetes API conventions, and what each of them says when."""

from datetime import timedelta

import pytest

from incident_operator.api.incident import OPENED_BY
from incident_operator.api.meta import Severity
from incident_operator.core import reasons
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.machine.view import Blocked
from incident_operator.core.outcomes import Undetermined
from incident_operator.core.status import conditions, present
from incident_operator.core.status.conditions import condition
from tests.core.builders import START, incident, usual, view
from tests.core.machine.simulation import Simulation, failed


def told(simulation):
    return {each.type: (each.status, each.reason) for each in simulation.status.conditions}


def test_every_condition_is_there_from_the_first_reconciliation_on():
    simulation = Simulation(Blocked(reasons.NO_RUNBOOK, "No runbook matches.")).go()
    assert told(simulation) == {
        "Approved": ("Unknown", "Pending"),
        "Diagnosed": ("Unknown", "Pending"),
        "Mitigated": ("Unknown", "Pending"),
        "Remediated": ("Unknown", "Pending"),
        "Stalled": ("True", "NoRunbook"),
        "Succeeded": ("Unknown", "NoRunbook"),
        "Verified": ("Unknown", "Pending"),
    }


@pytest.mark.parametrize(
    ("ceiling", "opened_by", "told"),
    [
        ("P0", "", None),
        ("P1", "", None),
        (
            "P2",
            "",
            "P1 counts as P2, the highest severity that the operator's settings allow in prod (severityCeiling)",
        ),
        ("P2", "dave@example.com", None),
        (
            "P3",
            "dave@example.com",
            "P2 counts as P3, the highest severity that the operator's settings allow in prod (severityCeiling)",
        ),
    ],
)
def test_a_severity_that_was_lowered_is_told(ceiling, opened_by, told):
    subject = incident(annotations={OPENED_BY: opened_by} if opened_by else {})
    seen = view(usual(), subject, scope=AlertScope(ceilings={"prod": Severity(ceiling)}))
    found = conditions.find(conditions.updated(seen), "SeverityLowered")
    assert (found and found.message) == told
    assert found is None or (found.status, found.reason) == ("True", "SeverityCeiling")


def test_conditions_tell_the_whole_story():
    simulation = Simulation(usual()).go()
    assert told(simulation) == {
        "Approved": ("False", "AwaitingApproval"),
        "Diagnosed": ("True", "StepsSucceeded"),
        "Mitigated": ("True", "StepsSucceeded"),
        "Remediated": ("Unknown", "Running"),
        "Succeeded": ("Unknown", "Running"),
        "Verified": ("Unknown", "Pending"),
    }
    simulation.approve().go().resolve().go()
    assert {status for status, _ in told(simulation).values()} == {"True"}
    assert told(simulation)["Succeeded"] == ("True", "Resolved")


@pytest.mark.parametrize(
    ("happens", "name", "expected"),
    [
        (lambda w: w.reject(), "Approved", ("False", "Rejected")),
        (lambda w: w.reject(), "Remediated", ("False", "Rejected")),
        (lambda w: w.resolve(), "Approved", ("False", "AlertResolved")),
        (lambda w: w.resolve(), "Remediated", ("False", "AlertResolved")),
        (lambda w: w.abort(), "Approved", ("False", "Aborted")),
        (lambda w: w.abort(), "Succeeded", ("False", "Aborted")),
        (lambda w: w.approve(), "Approved", ("True", "Approved")),
        (lambda w: _approved_with(w, failed()), "Remediated", ("False", "StepFailed")),
        (lambda w: _approved_with(w, Undetermined("lost")), "Remediated", ("False", "StepUnknown")),
        (lambda w: _drifted(w, "something else"), "Approved", ("False", "AwaitingApproval")),
    ],
)
def test_a_condition_follows_what_happens(happens, name, expected):
    simulation = Simulation(usual()).go()
    happens(simulation)
    assert told(simulation.go())[name] == expected


def test_stalled_is_there_only_while_a_person_is_needed():
    simulation = Simulation(usual()).go().reject().go()
    assert told(simulation)["Stalled"] == ("True", "Rejected")
    assert "Stalled" not in told(simulation.retry().go())


def test_a_transition_time_moves_only_with_its_status():
    first = conditions.mark([], condition("Approved", None, "Pending", "", START))
    same = conditions.mark(first, condition("Approved", None, "Running", "x", START + timedelta(hours=1)))
    other = conditions.mark(same, condition("Approved", True, "Running", "x", START + timedelta(hours=1)))
    assert same[0].last_transition_time == START
    assert (same[0].reason, same[0].message) == ("Running", "x")
    assert other[0].last_transition_time == START + timedelta(hours=1)
    assert other[0].status == conditions.TRUE
    assert conditions.drop(other, "Approved") == []


def test_a_condition_that_says_the_same_is_kept_as_it_is():
    kept = [condition("Approved", None, "Pending", "", START)]
    later = START + timedelta(hours=1)
    assert condition("Approved", None, "Pending", "", later, kept) is kept[0]
    for state, reason, message in ((True, "Pending", ""), (None, "Running", ""), (None, "Pending", "x")):
        said = condition("Approved", state, reason, message, later, kept)
        assert (said.reason, said.message, said.last_transition_time) == (reason, message, later)


def test_alerts_that_were_cut_are_a_condition():
    simulation = Simulation(usual()).go()
    spec = simulation.stored.spec.model_copy(update={"truncated_alerts": 3, "alerts_omitted": 7})
    seen = view(usual(), simulation.stored.model_copy(update={"spec": spec}), START)
    cut = conditions.conditions_of(seen)["AlertsTruncated"]
    assert cut == (
        True,
        "AlertsCut",
        "Alertmanager cut 3 alerts from its message; 7 alerts did not fit into this Incident",
    )
    assert present.present(seen)[0].alerts == "1 firing/0 resolved +7"


def test_a_long_message_is_cut_where_it_is_stored():
    simulation = Simulation(Blocked(reasons.NO_RUNBOOK, "x" * 5000)).go()
    assert all(len(each.message) <= 1024 for each in simulation.status.conditions)
    assert len(simulation.status.message) == 2048
    assert "incidents.dev/abort" in simulation.status.message


def _approved_with(simulation, outcome):
    simulation.script["rebuild"] = [outcome]
    simulation.approve()


def _drifted(simulation, what):
    simulation.does["rebuild"] = what
    simulation.approve()


def test_a_status_and_its_conditions_tell_which_spec_they_are_of_and_that_alone_is_not_worth_a_write():
    stored = Simulation(usual()).go().stored

    def shown(generation: int):
        meta = stored.metadata.model_copy(update={"generation": generation})
        return present.present(view(usual(), stored.model_copy(update={"metadata": meta}), START))[0]

    told = shown(3)
    assert (told.observed_generation, {each.observed_generation for each in told.conditions}) == (3, {3})
    assert not present.differs(shown(4), told)
