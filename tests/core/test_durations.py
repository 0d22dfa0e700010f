"""A duration is what Kubernetes, Prometheus and Alertmanager write as one, wherever one is; what is refused says what would be right."""

from datetime import UTC, datetime

import pydantic
import pytest

from incident_operator.api import meta
from incident_operator.api.runbook import ApprovalPolicy, Objectives, Retry, RunbookSpec, Step, Until
from incident_operator.core.expressions import cel
from incident_operator.settings import PREFIX, SettingError
from tests.environments import settings_of

DAY = 24 * 3600
WRITTEN = {
    "500ms": 0.5, "90s": 90, "1.5h": 5400, "1h30m": 5400, "7d": 7 * DAY, "1w": 7 * DAY, "1d12h": 1.5 * DAY, "0.5d": DAY / 2,
    "1y": 365 * DAY, "1w2d3h4m5s6ms": 9 * DAY + 3 * 3600 + 4 * 60 + 5.006,
}  # fmt: skip
REFUSED = ["7", "7 d", "7D", "d", "", "-7d", "7days", "P7D", "7d ", "1e3s", "\u0667d", "7d\n", 7, None, "1" * 32 + "d"]
RIGHT = "this is not a duration: write numbers with units, such as 90s, 1h30m or 7d; units are ms, s, m, h, d, w and y"
SPEC = {"title": "t", "severity": "P1", "serviceAccountName": "a", "match": ["a=b"]}


@pytest.mark.parametrize(("written", "seconds"), WRITTEN.items())
def test_days_weeks_and_years_count_as_alertmanager_counts_them(written, seconds):
    assert meta.is_duration(written)
    assert meta.seconds(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("model", "field", "beside"),
    [
        (Until, "every", {"for": "1w"}), (Until, "for", {"every": "1s"}), (Retry, "backoff", {"attempts": 2}),
        (ApprovalPolicy, "expiresAfter", {}), (Step, "timeout", {"name": "s"}), (Objectives, "acknowledge", {}),
        (Objectives, "mitigate", {}), (Objectives, "resolve", {}), (RunbookSpec, "resolveTimeout", SPEC),
    ],
)  # fmt: skip
def test_every_field_takes_a_week_and_says_what_would_be_right_where_it_refuses(model, field, beside):
    assert model.model_validate({**beside, field: "7d"}).to_json()[field] == "7d"
    for refused in filter(lambda each: each is not None, REFUSED):
        with pytest.raises(pydantic.ValidationError) as error:
            model.model_validate({**beside, field: refused})
        (problem,) = cel.all_of_validation(error.value, "spec")
        assert problem.path == f"spec.{field}"
        assert problem.message == RIGHT


@pytest.mark.parametrize("refused", [each for each in REFUSED if isinstance(each, str)])
def test_a_setting_takes_the_same(refused):
    assert settings_of({f"{PREFIX}CLOSED_TTL": "4w"}).closed_ttl.days == 28
    with pytest.raises(SettingError, match="a duration such as 720h, 30d"):
        settings_of({f"{PREFIX}CLOSED_TTL": refused or "x"})


def test_no_duration_reaches_beyond_the_calendar():
    longest = "9" * 31 + "y"
    assert meta.is_duration(longest)
    assert (datetime(2026, 1, 1, tzinfo=UTC) + meta.delta(longest)).year == 2125
