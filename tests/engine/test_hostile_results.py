"""Whatever an action brings back, a done act stays done: its result goes through all that is made of it, and is read again."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident_operator.api.incident import Incident, IncidentStatus, StepRecord
from incident_operator.api.meta import ObjectKey
from incident_operator.api.runbook import Stage
from incident_operator.core import action
from incident_operator.core.action import Call, Preview
from incident_operator.core.machine.carry_out import Do, How, Show, recorded
from incident_operator.core.machine.stages import call_of
from incident_operator.core.machine.view import Run
from incident_operator.core.outcomes import Effect, Failed, Failure, Outcome, Succeeded
from incident_operator.core.sanitize import loads
from incident_operator.engine.executor import Executor
from tests.core.builders import START, incident, keyed, runbook, view
from tests.engine.fake_cluster import FakeCluster, Targets

SECRET = "s3cr3t-w0rd"
ACT = Run("act", "act", Stage.REMEDIATE, 1, "k")
STEP = keyed("act", expect="result.size() >= 0", outputs={"all": "result", "one": "result.json"})


class Stubborn:
    def __str__(self) -> str:
        raise RuntimeError("no text of me")


class Brings(Targets):
    """An action that is done, with a result."""

    def __init__(self, outcome: Outcome, details: Any = None) -> None:
        super().__init__()
        self.outcome = outcome
        self.details = details

    def _done(self, call: Call[Any]) -> Outcome:
        return self.outcome

    async def show(self, call: Call[Any], _: object, trial: bool) -> Preview:
        return Preview("does it", self.details)


def deep(levels: int) -> Any:
    nested: Any = 1
    for level in range(levels):
        nested = [nested] if level % 2 else {"a": nested}
    return nested


NUMBERS = st.integers() | st.sampled_from([2**64, -(2**70)]) | st.builds(pow, st.just(10), st.just(5000)) | st.floats()
TEXTS = st.text(max_size=5) | st.sampled_from(["\0", "\ud800", "\udfff\x1b[2J", SECRET, f"a {SECRET} b"])
ODD = st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(max_size=3) | st.builds(deep, st.integers(0, 1200))
KEYS = TEXTS.filter(lambda text: SECRET not in text) | st.integers() | st.none() | st.booleans()
HOSTILE = st.recursive(
    ODD | st.builds(set),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def executor(outcome: Outcome, details: Any = None) -> Executor:
    made: Executor = FakeCluster(None, None, targets=Brings(outcome, details)).engine().executor  # type: ignore[arg-type]
    meta = incident().metadata
    known = made.redactors.of(ObjectKey(meta.namespace, meta.name), meta.uid)
    known.redactor.learn("db", "1", lambda: [SECRET])
    return made


def begun() -> Incident:
    record = StepRecord(
        name="act", stage=Stage.REMEDIATE, action="http", effect="keyed-call", key=ACT.key, started_at=START
    )
    made = incident()
    return made.model_copy(update={"status": made.status.model_copy(update={"steps": [record]})})


async def told(outcome: Outcome) -> tuple[Outcome, IncidentStatus, action.Evidence | None]:
    """Take an outcome through everything up to the bytes of the status, and read those again."""
    compiled, subject = runbook(remediate=[STEP]), begun()
    seen = view(compiled, subject)
    call = call_of(seen, ACT)
    assert isinstance(call, Call)
    ran = await executor(outcome).calls.ran(Do(call, Effect.KEYED_CALL, How.ACT, Preview("does it")))
    found, exhibit = ran.outcome, ran.evidence
    settled = recorded(subject, seen, ACT, ran)
    stored = subject.model_copy(update={"status": settled}).to_bytes()
    return found, Incident.model_validate(loads(stored)).status, exhibit


@given(st.dictionaries(KEYS, HOSTILE, max_size=4))
@settings(max_examples=200, deadline=None)
async def test_a_done_act_stays_done_whatever_its_result(result: Any) -> None:
    found, kept, exhibit = await told(Succeeded(result, "done", {"n": 1}))
    assert isinstance(found, Succeeded)
    assert kept.steps[0].state.value == "Succeeded"
    assert exhibit is None or (exhibit.text.encode() and SECRET not in exhibit.text)
    assert SECRET not in json.dumps(kept.to_json())


@pytest.mark.parametrize("levels", [48, 49, 64, 81, 300, 1100])
async def test_a_deep_result_is_judged_and_what_is_too_deep_is_told(levels: int) -> None:
    _, kept, exhibit = await told(Succeeded({"json": deep(levels)}, "done"))
    record = kept.steps[0]
    assert record.state.value == "Succeeded"
    assert ("one" in (record.outputs or {})) is (levels <= 48)
    assert ("nested more than 48 levels deep" in record.summary) is True
    assert exhibit is not None
    assert ("[nested too deep]" in exhibit.text) is (levels > 80)


async def test_what_no_json_can_say_is_told_as_text_and_a_double_is_one_to_expressions() -> None:
    odd = {"nan": math.nan, "inf": -math.inf, "big": 2**70, "text": "a\0b\ud800", 5: b"x", "long": "y" * 300}
    found, _, exhibit = await told(Succeeded(odd, "done"))
    assert isinstance(found, Succeeded)
    texts = {"big": str(2**70), "text": "a\ufffdb\ufffd", "5": "b'x'", "long": "y" * 300}
    assert math.isnan(found.result["nan"])
    assert {name: value for name, value in found.result.items() if name != "nan"} == {**texts, "inf": -math.inf}
    assert exhibit is not None
    assert json.loads(exhibit.text) == {**texts, "nan": "NaN", "inf": "-Infinity"}


async def test_a_result_that_nothing_can_be_made_of_leaves_a_note() -> None:
    found, kept, _ = await told(Succeeded({"odd": Stubborn()}, "done"))
    assert isinstance(found, Succeeded)
    assert "cannot be kept" in found.result["note"]
    assert kept.steps[0].state.value == "Succeeded"


async def test_an_act_that_failed_keeps_its_reason_whatever_its_result() -> None:
    found, kept, _ = await told(Failed("JobFailed", "exit 1", result={"odd": deep(1100)}, effected=True))
    assert isinstance(found, Failed)
    assert (found.reason, kept.steps[0].reason) == ("JobFailed", "JobFailed")


async def test_a_plan_is_not_cut_but_refused_where_it_is_too_deep() -> None:
    compiled, subject = runbook(remediate=[STEP]), begun()
    for levels, fits in [(48, True), (49, False), (1100, False)]:
        act = executor(Failed("x", "x"), {"deep": deep(levels - 1)})
        call = call_of(view(compiled, subject), ACT)
        assert isinstance(call, Call)
        shown = await act.calls.shown(Show(call, trial=True))
        if fits:
            assert isinstance(shown, Preview)
            assert shown.details == {"deep": deep(levels - 1)}
            continue
        assert isinstance(shown, Failure)
        assert "nested more than 48 levels deep" in shown.message


class Shows(Targets):
    """An action with a preview."""

    def __init__(self, preview: Preview) -> None:
        super().__init__()
        self.preview = preview

    async def show(self, call: Call[Any], _: object, trial: bool) -> Preview:
        return self.preview


async def shown(preview: Preview, *, trial: bool = True) -> Preview | Failure:
    call = call_of(view(runbook(remediate=[STEP]), begun()), ACT)
    assert isinstance(call, Call)
    made = FakeCluster(None, None, targets=Shows(preview)).engine().executor  # type: ignore[arg-type]
    known = made.redactors.of(ObjectKey(call.namespace, call.incident), call.incident_uid)
    known.redactor.learn("db", "1", lambda: ["s3cr3t-passw0rd"])
    return await made.calls.shown(Show(call, trial=trial))


@pytest.mark.parametrize(
    ("preview", "part"),
    [
        (Preview("echo s3cr3t-passw0rd"), "what is done"),
        (Preview("do", {"command": ["a", "x=s3cr3t-passw0rd"]}), "`command`"),
        (Preview("do", {"params": {"s3cr3t-passw0rd": 1}}), "`params`"),
        (Preview("do", {"url": "http://x/?t=czNjcjN0LXBhc3N3MHJk"}), "`url`"),
        (Preview("do", {}, "the row s3cr3t-passw0rd"), "what its trial did"),
        (Preview("do", whole={"template": {"env": [{"value": "s3cr3t-passw0rd"}]}}), "`template`"),
        (Preview("do", allows=("hostPath: s3cr3t-passw0rd",)), "what it allows"),
        (Preview("do s3cr3t-passw0rd", {"a s3cr3t-passw0rd": 1}), "what is done"),
    ],
)
async def test_what_is_approved_is_never_masked_but_refused_and_the_secret_is_not_told(
    preview: Preview, part: str
) -> None:
    found = await shown(preview)
    assert isinstance(found, Failure)
    assert found.message.startswith(f"{part} would show a credential of Connection db")
    assert "s3cr3t-passw0rd" not in found.message
    assert not found.retryable


async def test_what_nobody_approves_may_hold_a_secret_which_is_masked_where_people_read_it() -> None:
    preview = Preview("echo s3cr3t-passw0rd", {"command": ["s3cr3t-passw0rd", 1, None]}, thing=["s3cr3t-passw0rd"])
    found = await shown(preview, trial=False)
    assert isinstance(found, Preview)
    assert (found.do, found.details) == ("echo ***", {"command": ["***", 1, None]})
    assert found.thing is preview.thing


async def test_a_plan_without_secrets_is_shown_as_it_is() -> None:
    preview = Preview("echo", {"command": ("a", 1, None), "params": {5: {"x"}}}, "1 row", whole={"template": {}})
    assert await shown(preview) is preview
