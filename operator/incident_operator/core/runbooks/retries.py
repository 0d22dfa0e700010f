"""What `retry` covers, by the effect of a step: in the docs, and as warnings where it stands on what it cannot cover."""

from collections.abc import Iterator, Mapping

from incident_operator.core.effects import Effect
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks.compiled import CompiledStep

COVERS: Mapping[Effect, str] = {
    Effect.READ: 'no answer, a broken connection, a time-out, an object that does not exist, and an answer that says "not now" '
    "(408, 425, 429, 502, 503, 504), even where it makes `expect` false; for any other false `expect` use `until`",
    Effect.SQL_TX: "a statement that took too long. After a lost connection, a lock, a deadlock, or on a standby, the operator "
    "tries again even without `retry`",
    Effect.K8S_PATCH: "an object that does not exist. After a conflict, or while the apiserver refuses, the operator tries again "
    "even without `retry`",
    Effect.K8S_CREATE: "a workload that does not exist; never a Job that ran and failed",
    Effect.KEYED_CALL: "nothing more: the operator sends it again under its key even without `retry`",
    Effect.UNKEYED: "only what was never sent, such as without a connection; what was sent is never sent again",
}
"""Effect → which failures of a step are tried again."""
_LITTLE: Mapping[Effect, str] = {
    Effect.UNKEYED: "covers only what was never sent: what was sent is never sent again, whatever the answer is",
    Effect.K8S_CREATE: "covers only a workload that does not exist: a Job that ran and failed is not run again",
    Effect.KEYED_CALL: "covers nothing more: a call with a key is sent again under its key even without retry",
}
"""Effect → what is told of a `retry` that its author may have meant otherwise."""


def warned(step: CompiledStep) -> Iterator[Problem]:
    """Yield what a step's `retry` does not do, where that is most of what it looks like."""
    retry = step.step.retry
    if retry is None:
        return
    if retry.attempts == 1:
        yield Problem(
            f"{step.path}.retry.attempts", "1 is the first attempt, so nothing is tried again; write 2 or more"
        )
    elif (told := _LITTLE.get(step.act.effect)) is not None:
        yield Problem(f"{step.path}.retry", told)
