"""Small Runbooks that between them use every rule of the state machine."""

from incident_operator.core.runbooks.compiled import Compiled
from tests.core.builders import PROBE, UNDO, job, keyed, post, read, runbook, scale, sql, usual

RUNBOOKS: dict[str, Compiled] = {
    "one step in each stage": usual(),
    "acts that nobody can look up": runbook(
        mitigate=[post("block", undo={"http": {"connection": "api", "method": "DELETE", "path": "/block"}})],
        remediate=[post("replay", probe=PROBE)],
    ),
    "a plan of two, and approval in restore": runbook(
        remediate=[
            sql("drain", retry={"attempts": 2, "backoff": "5s"}),
            job("rebuild", approval={"onReject": "skip"}),
        ],
        restore=[sql("replay", approval={"expiresAfter": "10m"})],
    ),
    "a plan that goes on after a failure": runbook(
        mitigate=[],
        remediate=[sql("drain", onFailure="continue"), job("rebuild")],
        verify=[read("check")],
    ),
    "mitigations that go when verification fails": runbook(
        mitigate=[scale("grow", undoOn=["Failed", "Resolved"]), sql("serve", undo=UNDO)],
        verify=[read("check", expect="result.rows.size() == 0", until={"every": "10s", "for": "1m"})],
    ),
    "keyed calls, one of them protective": runbook(
        mitigate=[keyed("revoke", protective=True)],
        remediate=[keyed("settle", retry={"attempts": 2, "backoff": "5s"})],
    ),
    "answers that are needed": runbook(
        diagnose=[read("look", outputs={"bad": "result.rows.size() == 0"})],
        mitigate=[sql("serve", when="steps.look.outputs.bad", undo=UNDO, approval={})],
        remediate=[job("rebuild", when="steps.look.outputs.bad", approval={"alone": True})],
        verify=[read("check", onFailure="continue"), read("users")],
    ),
}

BY_WORD: dict[str, Compiled] = {
    "one mitigation": runbook(mitigate=[sql("serve", undo=UNDO)], verify=[read("check")]),
    "an undo that nobody can look up": runbook(
        mitigate=[sql("block", undo={"http": {"connection": "api", "method": "DELETE", "path": "/block"}})]
    ),
    "a keyed undo": runbook(mitigate=[sql("block", undo={"http": keyed("unblock")["http"]})]),
    "approval in restore": runbook(remediate=[job("rebuild")], restore=[sql("replay", approval={})]),
}
"""Of which people also say what nobody asked for."""

ONE_MITIGATION = runbook(mitigate=[sql("serve", undo=UNDO)], verify=[read("check")])
"""Of which the act and its undo are asked for where nothing acts unasked."""
