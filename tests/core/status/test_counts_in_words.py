"""One of a thing is told as one, two as two, wherever a number of things is told."""

from collections.abc import Callable

import pytest

from incident_operator.actions import logs
from incident_operator.core import action, texts
from incident_operator.core.status import conditions, report
from incident_operator.receiver.refusals import Receipt
from tests.core.builders import START, alert, incident, job, usual, view
from tests.core.machine.simulation import Simulation


def _receipt(number: int) -> str:
    return str(Receipt(number, number, 0, 0, 0))


def _question(number: int) -> str:
    steps = [job(f"rebuild-{each}") for each in range(number)]
    return Simulation(usual(mitigate=[], remediate=steps)).go().status.message


def _reported(number: int) -> str:
    started = incident(*(alert(each) for each in range(number)))
    return report.markdown(Simulation(usual(), started).go().stored, None)


def _omitted(number: int) -> str:
    started = incident()
    spec = started.spec.model_copy(update={"alerts_omitted": number, "truncated_alerts": number})
    told = conditions.updated(view(usual(), started.model_copy(update={"spec": spec}), START))
    return next(each.message for each in told if each.type == "AlertsTruncated")


def _lines(number: int) -> str:
    return logs._summary(logs.Logs(source="deployment/web"), ["web-1"], number, 0)


@pytest.mark.parametrize(
    ("told", "one", "two"),
    [
        (lambda n: texts.counted(n, "alert"), "1 alert", "2 alerts"),
        (action.counted, "1 row", "2 rows"),
        (_receipt, "1 alert: 1 Incident opened", "2 alerts: 2 Incidents opened"),
        (_question, "rebuild-0 (1 step).", "rebuild-0, rebuild-1 (2 steps)."),
        (_reported, "PackFailed (1 alert) was detected", "PackFailed (2 alerts) was detected"),
        (_omitted, "cut 1 alert from its message; 1 alert did not", "cut 2 alerts from its message; 2 alerts did not"),
        (_lines, "1 line of web-1", "2 lines of web-1"),
    ],
)
def test_a_number_of_things_is_told_in_the_right_words(told: Callable[[int], str], one: str, two: str) -> None:
    assert one in told(1)
    assert two in told(2)
