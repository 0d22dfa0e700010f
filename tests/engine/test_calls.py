"""One call of an action: what it is told, and what becomes of an action that breaks."""

from typing import Any

import pytest

from incident_operator.api.incident import StepRecord
from incident_operator.api.runbook import Stage
from incident_operator.core.action import Call, Preview, UndoOf
from incident_operator.core.machine.carry_out import Do, How
from incident_operator.core.machine.stages import call_of
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Effect, Failed, Outcome, Pending, Succeeded, Undetermined
from tests.core.builders import UNDO, incident, scale, sql, usual, view
from tests.engine.fake_cluster import FakeCluster, Targets

ACT = Run("serve", "serve", Stage.MITIGATE, 1, "key-of-act")
UNDOES = Run("undo-serve", "serve", Stage.RESTORE, 1, "key-of-undo", undo=True)


def call(run: Run, step: dict[str, Any], *, key: str | None = "key-of-act", probe: bool = False) -> Call:
    records = [
        StepRecord(name="serve", stage=Stage.MITIGATE, action="sqlExecute", key=key, captured={"before": 3}),
        StepRecord(name="undo-serve", stage=Stage.RESTORE, action="sqlExecute"),
    ]
    made = incident()
    made = made.model_copy(update={"status": made.status.model_copy(update={"steps": records})})
    found = call_of(view(usual(mitigate=[step]), made), run, probe=probe)
    assert isinstance(found, Call), found
    return found


@pytest.mark.parametrize(
    ("run", "statement", "undo_of"),
    [
        (ACT, "UPDATE pack SET fresh = TRUE", None),
        (UNDOES, "UPDATE pack SET fresh = FALSE", UndoOf("key-of-act", {"before": 3})),
    ],
)
def test_only_an_undo_takes_back_and_knows_what(run: Run, statement: str, undo_of: UndoOf | None) -> None:
    found = call(run, sql("serve", undo=UNDO))
    assert (found.spec.to_json()["statement"], found.undo_of, found.key) == (statement, undo_of, run.key)


def test_an_undo_of_what_was_begun_under_no_key_is_told_of_none() -> None:
    assert call(UNDOES, scale("serve"), key=None).undo_of is None


@pytest.mark.parametrize(("run", "probe", "missing"), [(UNDOES, False, "undo"), (ACT, True, "probe")])
def test_an_act_never_stands_in_for_its_undo_or_its_probe(run: Run, probe: bool, missing: str) -> None:
    with pytest.raises(LookupError, match=f"step serve declares no {missing}"):
        call(run, sql("serve", protective=True), probe=probe)


class Breaks(Targets):
    """Actions with a defect."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def _done(self, call: Call[Any]) -> Outcome:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("a defect"), TimeoutError()], ids=["a defect", "no answer in time"])
@pytest.mark.parametrize(
    ("effect", "how", "becomes"),
    [
        (Effect.READ, How.READ, Failed),
        (Effect.SQL_TX, How.ACT, Pending),
        (Effect.UNKEYED, How.ACT, Undetermined),
    ],
)
async def test_what_a_broken_action_may_have_done_is_looked_up_or_asked_but_a_read_has_failed(
    pack: FakeCluster, error: Exception, effect: Effect, how: How, becomes: type[Outcome]
) -> None:
    pack.targets = Breaks(error)
    request = Do(call(ACT, sql("serve", undo=UNDO)), effect, how, Preview("do it"))
    ran = await pack.engine().executor.calls.ran(request)
    assert type(ran.outcome) is becomes


async def test_a_look_whose_action_breaks_proves_nothing(pack: FakeCluster) -> None:
    pack.targets = Breaks(RuntimeError("a defect"))
    pack.targets.answers["serve"] = lambda _: Succeeded({}, "ok")
    ran = await pack.engine().executor.calls.ran(Do(call(ACT, sql("serve", undo=UNDO)), Effect.SQL_TX, How.LOOK))
    assert type(ran.outcome) is Pending
