"""What a person's annotation says, and the history of approvals."""

import json
from datetime import timedelta

import pytest

from incident_operator.api.approvals import ApprovalState, HandledAnswer, PendingApproval, PlanEntry
from incident_operator.api.incident import StepRecord, Verb
from incident_operator.api.runbook import Stage
from incident_operator.core import approval
from incident_operator.core.runbooks import limits
from incident_operator.core.status.present import MAX_BYTES, fitting_status
from tests.core.builders import START, incident

HASH = "7f3a9cde" * 8


def pending(do: str = "do it", steps: tuple[str, ...] = ("rebuild",)) -> PendingApproval:
    entries = [PlanEntry(step=step, attempt=1, do=do) for step in steps]
    return PendingApproval(
        plan_hash=HASH, expires_at=START, nonce="n", steps=list(steps), plan=entries, approve_with="a", reject_with="r"
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("7f3a9cde alice@dawsos.com", ("7f3a9cde", "alice@dawsos.com")),
        ("now Alice of the night shift", ("now", "Alice of the night shift")),
        ("", None),
        ("7f3a9cde", None),
        ("7f3a9cde ", None),
        (" alice", None),
    ],
)
def test_an_answer_is_a_token_a_blank_and_a_name(value, found):
    read = approval.answer({Verb.APPROVE.annotation: value}, Verb.APPROVE)
    assert (read and (read.token, read.by)) == found


@pytest.mark.parametrize(
    ("token", "counts"),
    [("7f3a9cde", True), (HASH, True), ("7f3a9cd", False), ("7f3a9cdf", False), ("", False), (HASH + "0", False)],
)
def test_an_answer_names_the_plan_by_eight_or_more_of_its_characters(token, counts):
    assert approval.answers_plan(approval.Answer(token, "alice"), pending()) is counts


def test_the_history_keeps_twenty_answers_and_the_newest_plans_within_bounds():
    current = incident().status
    for number in range(30):
        asked = pending(do="x" * 15000, steps=(f"step-{number}",))
        current = approval.expire(current.model_copy(update={"pending_approval": asked}), START)
    assert [record.steps for record in current.approvals][-1] == ["step-29"]
    assert len(current.approvals) == 20
    assert sum(bool(record.plan) for record in current.approvals) == 3
    assert sum(approval.size(record.plan) for record in current.approvals) <= 48 * 1024


def test_the_largest_plan_is_kept_while_it_is_carried_out_and_goes_first_once_it_has_ended():
    large = pending(do="x" * 32_000, steps=("a", "b", "c"))
    current = incident().status
    for _ in range(3):
        asked = pending(do="x" * 15000, steps=("rebuild",))
        current = approval.expire(current.model_copy(update={"pending_approval": asked}), START)
    current = current.model_copy(update={"pending_approval": large})
    current = approval.consume(current, "alice", timedelta(minutes=5), START)
    assert [bool(record.plan) for record in current.approvals] == [True, True, True, True]
    assert current.approvals[-1].plan == large.plan
    filled = current.model_copy(update={"parameters": {"x": "y" * (MAX_BYTES - 100 * 1024)}})
    fitting, _ = fitting_status(filled)
    assert [bool(record.plan) for record in fitting.approvals] == [False, False, False, True]
    current = approval.end_active(current, ApprovalState.CONSUMED)
    current = approval.expire(current.model_copy(update={"pending_approval": pending(do="x")}), START)
    assert [bool(record.plan) for record in current.approvals] == [False, False, False, False, True]


def test_the_largest_question_fits_beside_all_outputs_and_the_records_of_a_large_runbook():
    steps = [
        StepRecord(name=f"step-{number}", stage=Stage.DIAGNOSE, action="sqlQuery", key="k" * 64, summary="x" * 512)
        for number in range(100)
    ]
    steps[0] = steps[0].model_copy(update={"outputs": {"x": "y" * limits.ALL_OUTPUTS}})
    asked = pending(do="x" * 32_000, steps=("a", "b", "c"))
    current = incident().status.model_copy(update={"steps": steps, "pending_approval": asked})
    fitting, text = fitting_status(current)
    assert len(text) <= MAX_BYTES
    assert fitting == current, "nothing has to be cut"


def test_a_long_reason_fits_where_it_is_stored():
    current = incident().status.model_copy(update={"pending_approval": pending()})
    current = approval.consume(current, "alice", timedelta(minutes=5), START)
    current = approval.end_active(current, ApprovalState.VOIDED, "x" * 9000)
    assert len(current.approvals[-1].reason) == 1024


def test_questions_that_expired_before_a_person_answered_count_no_more():
    current = incident().status
    for _ in range(3):
        current = approval.expire(current.model_copy(update={"pending_approval": pending()}), START)
    assert approval.times_expired(current, "rebuild") == 3
    assert approval.times_expired(current, "other") == 0
    answered = HandledAnswer(verb="retry", token="rebuild/0.0", by="alice", at=START)
    current = current.model_copy(update={"answers": [answered]})
    assert approval.times_expired(current, "rebuild") == 0


def test_fifty_steps_with_four_kibibytes_of_outputs_each_and_full_histories_fit():
    steps = [
        StepRecord(
            name=f"step-{number}",
            stage=Stage.DIAGNOSE,
            action="sqlQuery",
            key="k" * 64,
            summary="ü" * 512,
            outputs={"text": "x" * 1000},
            evidence="sha256:" + "e" * 64,
        )
        for number in range(50)
    ]
    current = incident().status.model_copy(update={"steps": steps})
    for number in range(20):
        asked = pending(do="x" * 15000, steps=(f"step-{number}",))
        current = approval.expire(current.model_copy(update={"pending_approval": asked}), START)
    current = current.model_copy(update={"pending_approval": pending(do="y" * 15000)})
    fitting, text = fitting_status(current)
    assert len(text) <= MAX_BYTES
    assert text == json.dumps(fitting.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    assert fitting.pending_approval == current.pending_approval
    assert [record.outputs for record in fitting.steps] == [record.outputs for record in current.steps]


def test_the_largest_runbook_there_can_be_still_fits_into_what_etcd_takes():
    steps = [
        StepRecord(name=f"{'n' * 60}{number}", stage=Stage.DIAGNOSE, action="sqlQuery", key="k" * 64, summary="ü" * 512)
        for number in range(300)
    ]
    fitting, text = fitting_status(incident().status.model_copy(update={"steps": steps}))
    assert len(text) < 256 * 1024
    assert len(fitting.steps) == 300
