"""What the engine counts, for Prometheus. Labels are bounded: stages, actions, states and phases, never names."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from incident_operator.clients.helper_process import Cause, Counts

_HELPERS = ("expressions", "queries")


class EngineMetrics:
    """The engine's series in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.steps = Counter(
            "incident_operator_steps",
            "Attempts of steps that ended.",
            ["stage", "action", "state"],
            registry=registry,
        )
        self.phases = Counter("incident_operator_phase_changes", "Phases entered.", ["phase"], registry=registry)
        self.helpers: Counts = _HelperMetrics(registry)
        self._leader = Gauge("incident_operator_leader", "1 where this process leads, else 0.", registry=registry)
        self._waiting = Gauge("incident_operator_queue_depth", "Incidents that wait for a worker.", registry=registry)

    def watch_leader(self, leads: Callable[[], bool]) -> None:
        """Ask whether this process leads whenever the series are read."""
        self._leader.set_function(leads)

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Ask for the queue's depth whenever the series are read."""
        self._waiting.set_function(depth)


class _HelperMetrics(Counts):
    """How the helper processes fare; every series is there from the start, so that the first death is a rise."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._starts = Counter(
            "incident_operator_helper_starts", "Helper processes started.", ["helper"], registry=registry
        )
        self._deaths = Counter(
            "incident_operator_helper_deaths",
            "Helper processes that ended although the operator did not stop them.",
            ["helper", "cause"],
            registry=registry,
        )
        for helper in _HELPERS:
            self._starts.labels(helper)
            for cause in Cause:
                self._deaths.labels(helper, cause.value)

    def started(self, part: str) -> None:
        self._starts.labels(part).inc()

    def died(self, part: str, cause: Cause) -> None:
        self._deaths.labels(part, cause.value).inc()
