"""A Secret is rotated, a Connection deleted, a Role taken away in the middle of an Incident: it ends, or says whom it waits for.

Each loss, at each moment: before a step is shown, between its intent and its act, between the act and the look, before its undo.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from incident_operator.api.incident import Incident, Phase
from incident_operator.clients.connections import EndpointError
from incident_operator.clients.sql_errors import Fault, SqlError
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failure, Outcome, Pending
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.errors import Forbidden
from tests.engine.fake_cluster import INCIDENT, FakeCluster, Killed


@dataclass(frozen=True)
class Loss:
    """What is gone, and what an action meets then."""

    told: str
    failure: Callable[[], Failure]


LOSSES = {
    "a Secret rotated, and the old one refused": Loss(
        "password authentication failed",
        lambda: SqlError(Fault.FORBIDDEN, "password authentication failed for user app"),
    ),
    "a Secret deleted": Loss(
        'names Secret "db", which is not in prod',
        lambda: EndpointError(reasons.SECRET_UNREADABLE, 'Connection write names Secret "db", which is not in prod'),
    ),
    "a Connection deleted": Loss(
        "there is no Connection write in prod: kubectl get connections -n prod",
        lambda: EndpointError(
            reasons.CONNECTION_NOT_FOUND, "there is no Connection write in prod: kubectl get connections -n prod"
        ),
    ),
    "an account's Role deleted": Loss(
        "cannot patch resource",
        lambda: Forbidden(403, "Forbidden", "User rb cannot patch resource deployments in the namespace prod"),
    ),
    "an account deleted": Loss(
        "cannot impersonate", lambda: Forbidden(403, "Forbidden", "the operator cannot impersonate serviceaccount rb")
    ),
}
LOST = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def ends_or_says(incident: Incident) -> None:
    """It is closed, or it waits for a person, and says what to run next."""
    current = incident.status
    if current.phase in {Phase.RESOLVED, Phase.FAILED}:
        return
    assert current.phase is Phase.NEEDS_HUMAN, current.message
    assert current.waiting_for.startswith("a person: "), current.waiting_for
    assert "kubectl annotate" in current.message
    assert current.pending_answer is not None


def refuses(fake_cluster: FakeCluster, step: str, loss: Loss) -> None:
    def fails(_: object = None) -> Outcome:
        raise loss.failure()

    fake_cluster.targets.answers[step] = fails


def cannot_be_shown(fake_cluster: FakeCluster, step: str, loss: Loss) -> None:
    def fails() -> None:
        raise loss.failure()

    fake_cluster.targets.preview_of[step] = fails


async def on(fake_cluster: FakeCluster, times: int = 1) -> None:
    for _ in range(times):
        await fake_cluster.engine().reconcile(INCIDENT)
        fake_cluster.later(minutes=2)


@LOST
async def test_before_a_protective_act_it_is_told_with_what_to_run_and_goes_on_once_it_is_back(
    pack: FakeCluster, loss: Loss
) -> None:
    cannot_be_shown(pack, "serve", loss)
    await on(pack, 6)
    ends_or_says(pack.incident())
    assert loss.told in pack.incident().status.message
    assert pack.targets.done() == []
    question = pack.incident().status.pending_answer
    pack.targets.preview_of.clear()
    await pack.annotate("retry", f"{question.token} alice@example.com")
    await on(pack)
    assert pack.targets.done() == ["serve"]
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


@LOST
async def test_after_the_approval_and_before_the_act_the_approval_is_void_and_it_is_told(
    pack: FakeCluster, loss: Loss
) -> None:
    await on(pack)
    await pack.approve()
    cannot_be_shown(pack, "rebuild", loss)
    await on(pack, 3)
    ends_or_says(pack.incident())
    assert loss.told in pack.incident().status.message
    assert pack.targets.done() == ["serve"]


@LOST
async def test_between_the_intent_and_the_act_nothing_is_done_and_it_is_told(pack: FakeCluster, loss: Loss) -> None:
    await on(pack)
    await pack.approve()
    refuses(pack, "rebuild", loss)
    await on(pack, 3)
    ends_or_says(pack.incident())
    assert loss.told in pack.incident().status.message
    assert pack.targets.done() == ["serve"]


@LOST
async def test_between_the_act_and_the_look_it_is_looked_for_and_then_a_person_is_asked(
    pack: FakeCluster, loss: Loss
) -> None:
    await on(pack)
    await pack.approve()
    pack.targets.kill_after = "rebuild"
    with pytest.raises(Killed):
        await pack.engine().reconcile(INCIDENT)
    refuses(pack, "rebuild", loss)
    await on(pack, 30)
    ends_or_says(pack.incident())
    assert pack.incident().status.reason == "StepUnknown"
    assert loss.told in pack.incident().status.message
    assert pack.targets.done() == ["serve", "rebuild"]
    pack.targets.answers.clear()
    await pack.annotate("resolve", f"{pack.incident().status.pending_answer.token}=done alice@example.com")
    await on(pack, 2)
    assert [step for step in pack.targets.done() if step == "rebuild"] == ["rebuild"]


@LOST
async def test_while_it_is_under_way_it_is_looked_for_and_found_once_it_is_back(pack: FakeCluster, loss: Loss) -> None:
    await on(pack)
    await pack.approve()
    pack.targets.answers["rebuild"] = lambda _: Pending(5.0, "running for 1s")
    await on(pack)
    refuses(pack, "rebuild", loss)
    await on(pack)
    assert pack.state("rebuild") == "Running"
    del pack.targets.answers["rebuild"]
    pack.targets.effects.append(("rebuild", next(r.key for r in pack.incident().status.steps if r.name == "rebuild")))
    await on(pack, 2)
    assert pack.state("rebuild") == "Succeeded"


@LOST
async def test_before_an_undo_what_stays_changed_is_told(pack: FakeCluster, loss: Loss) -> None:
    await on(pack)
    await pack.approve()
    await on(pack)
    refuses(pack, "undo-serve", loss)
    await pack.resolve_alert()
    await on(pack, 4)
    ends_or_says(pack.incident())
    message = pack.incident().status.message
    assert loss.told in message
    assert "What serve changed is still in place." in message
    assert "undo-serve" not in pack.targets.done()


@LOST
async def test_in_a_read_its_answer_is_unknown_and_it_goes_on(pack: FakeCluster, loss: Loss) -> None:
    refuses(pack, "queries", loss)
    await on(pack)
    assert pack.state("queries") == "Failed"
    assert pack.incident().status.phase is Phase.AWAITING_APPROVAL


async def test_an_abort_ends_it_at_once_whatever_is_lost(pack: FakeCluster) -> None:
    cannot_be_shown(pack, "serve", LOSSES["a Connection deleted"])
    pack.api.remove(discovery.connections("prod", "write"))
    await on(pack)
    await pack.annotate("abort", "now alice@example.com")
    await on(pack)
    assert pack.incident().status.phase is Phase.FAILED
