"""Mutants that change nothing anybody could see, each with the reason."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "incident_operator.engine.driver",
        "_ends",
        "task is not None and task.cancelling() > 0",
        "task.cancelling() > 0",
    ): "a visit always runs in a worker's task, so there is one",
}
"""By module, function, guard and what it became."""
