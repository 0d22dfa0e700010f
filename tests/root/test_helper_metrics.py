"""How helper processes fare, as Prometheus reads it."""

from prometheus_client import CollectorRegistry

from incident_operator.clients.helper_process import Cause
from incident_operator.health import HelperMetrics


def test_starts_and_deaths_of_helpers_are_counted_from_nought():
    registry = CollectorRegistry()
    helpers = HelperMetrics(registry)

    def deaths(helper: str, cause: str) -> float | None:
        return registry.get_sample_value("incident_operator_helper_deaths_total", {"helper": helper, "cause": cause})

    told = {(helper, cause): deaths(helper, cause) for helper in ("expressions", "queries") for cause in Cause}
    assert set(told.values()) == {0}
    helpers.started("queries")
    helpers.died("queries", Cause.MEMORY)
    assert registry.get_sample_value("incident_operator_helper_starts_total", {"helper": "queries"}) == 1
    assert registry.get_sample_value("incident_operator_helper_starts_total", {"helper": "expressions"}) == 0
    assert (deaths("queries", "memory"), deaths("expressions", "memory")) == (1, 0)
