"""How long a step may take: what is above is a warning in this release, told in `Ready` and by `check`."""

from datetime import timedelta

import pytest

from incident_operator.core.runbooks import limits
from incident_operator.core.runbooks.advice import warnings_of
from tests.core import builders


def told(step: dict, stage: str = "diagnose") -> list[str]:
    return [str(each) for each in warnings_of(builders.runbook(**{stage: [step]}))]


@pytest.mark.parametrize(
    ("stage", "step", "warning"),
    [
        ("diagnose", builders.read("a", timeout="1h"), ""),
        (
            "diagnose",
            builders.read("a", timeout="61m"),
            "spec.diagnose[0].timeout: one attempt of sqlQuery takes 1h at most, and this one 61m; the next release refuses that",
        ),
        (
            "remediate",
            builders.sql("a", timeout="2h"),
            "spec.remediate[0].timeout: one attempt of sqlExecute takes 1h at most",
        ),
        (
            "remediate",
            builders.post("a", timeout="2h"),
            "spec.remediate[0].timeout: one attempt of http takes 1h at most",
        ),
        ("remediate", builders.job("a", timeout="168h"), ""),
        (
            "remediate",
            builders.job("a", timeout="169h"),
            "spec.remediate[0].timeout: one attempt of job takes 168h (7 days) at most, and this one 169h",
        ),
        (
            "remediate",
            builders.job("a", timeout="100h", retry={"attempts": 2}),
            "spec.remediate[0].retry: with all attempts the step may take more than 168h (7 days)",
        ),
        ("verify", builders.read("a", expect="result.truncated", until={"every": "1m", "for": "168h"}), ""),
        (
            "verify",
            builders.read("a", expect="result.truncated", until={"every": "1m", "for": "200h"}),
            "spec.verify[0].until.for: a step waits 168h (7 days) at most, and this one 200h; the next release refuses that",
        ),
    ],
)
def test_what_takes_too_long_is_a_warning(stage: str, step: dict, warning: str) -> None:
    found = told(step, stage)
    assert len(found) == bool(warning)
    assert not warning or found[0].startswith(warning)


HTTP, JOB = (
    {key: value for key, value in made("x").items() if key != "name"} for made in (builders.post, builders.job)
)


@pytest.mark.parametrize(
    ("step", "action", "hours"),
    [
        (builders.job("a", timeout="24h", undo=HTTP), "job", 24),
        (builders.job("a", timeout="24h", undo=HTTP), "http", 1),
        (builders.post("a", timeout="2h", undo=JOB), "http", 2),  # a warning in this release
        (builders.post("a", timeout="2h", undo=JOB), "job", 2),
        (builders.job("a", timeout="30m", undo=HTTP), "http", 0.5),
    ],
)
def test_an_undo_has_the_time_of_its_step_but_no_more_than_its_own_action_may_take(
    step: dict, action: str, hours: float
) -> None:
    (compiled,) = builders.runbook(mitigate=[step]).steps.values()
    assert limits.timeout(compiled, action) / timedelta(hours=1) == hours
