"""RB-01 on the sample platform: from an alert to a resolved, reviewed Incident, whoever is killed in between."""

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from demonstration import manifests, people

from tests.e2e.apiserver_proxy import ApiserverProxy, Hold, Write
from tests.e2e.operator_process import OperatorProcess, alert
from tests.e2e.witnesses import AuditLog, MissingPack

pytestmark = pytest.mark.cluster
EFFECTS = ["serve-last-good", "rebuild", "mark-fresh", "undo-serve-last-good"]
RECORDED = ["serve-last-good", "mark-fresh", "undo-serve-last-good"]


async def fire(operator: OperatorProcess, missing_pack: MissingPack, status: str = "firing") -> None:
    found = alert(
        None,
        status,
        alertname="PricingPackBuildFailure",
        namespace="prod",
        severity="page",
        pack_date=str(missing_pack.today),
    )
    found["startsAt"] = f"{missing_pack.today}T00:30:04Z"
    code, answer = await operator.post(found)
    assert code == 200, answer


async def approve(missing_pack: MissingPack, person: people.Person) -> None:
    incident = await asyncio.to_thread(missing_pack.wait_for, "AwaitingApproval")
    await asyncio.to_thread(person.runs, incident["status"]["pendingApproval"]["approveWith"])


async def resolve(operator: OperatorProcess, missing_pack: MissingPack) -> None:
    await asyncio.to_thread(missing_pack.wait_for, "Verifying", 90)
    await fire(operator, missing_pack, "resolved")


def told_once(writes: list[dict[str, Any]]) -> int:
    """How many writes tell that something came about; a machine that is slow tells of a read meanwhile, and no sooner than it may."""

    def facts(write: dict[str, Any]) -> Any:
        (status,) = (each["value"] for each in write["requestObject"] if each["path"] == "/status")
        steps = {step["name"]: step["state"] for step in status.get("steps", [])}
        reading = {name for name, state in steps.items() if state == "Running" and name not in EFFECTS}
        settled = {name: state for name, state in steps.items() if name not in reading and state != "Pending"}
        return settled, status.get("pendingApproval"), status.get("approvals"), status["phase"] == "Resolved"

    def at(write: dict[str, Any]) -> datetime:
        return datetime.fromisoformat(write["requestReceivedTimestamp"])

    for before, after in pairwise(writes):
        assert facts(before) != facts(after) or (at(after) - at(before)).total_seconds() >= 1.5, (
            "a write that tells nothing"
        )
    return 1 + sum(facts(before) != facts(after) for before, after in pairwise(writes))


@pytest.mark.parametrize("operator", [15], indirect=True, ids=["steady"])
async def test_rb01_ends_resolved_and_each_effect_happened_once(
    operator: OperatorProcess, missing_pack: MissingPack, actors: people.Actors
) -> None:
    audit = AuditLog(missing_pack.cluster, manifests.NAMESPACE)
    await fire(operator, missing_pack)
    await asyncio.to_thread(missing_pack.wait_for, "AwaitingApproval")
    assert missing_pack.fresh() == [missing_pack.yesterday]
    await approve(missing_pack, actors.alice)
    await resolve(operator, missing_pack)
    incident = await asyncio.to_thread(missing_pack.wait_for, "Resolved")
    assert missing_pack.fresh() == [missing_pack.pack]
    assert missing_pack.effects() == RECORDED
    assert len(missing_pack.jobs()) == 1
    assert [record["by"] for record in incident["status"]["approvals"]] == ["alice@dawsos.com"]
    waits = 2  # for the approval, and for the alert to resolve
    assert told_once(audit.writes("incidents/status")) == len(EFFECTS) + 1 + waits
    assert len(audit.writes("incidents")) == 2, "one create, one change when the alert resolved"


@pytest.mark.parametrize("applied", [False, True], ids=["before the effect", "after the effect"])
async def test_killed_at_every_effect_of_rb01_it_still_happens_once(
    operator: OperatorProcess, proxy: ApiserverProxy, missing_pack: MissingPack, actors: people.Actors, applied: bool
) -> None:
    def dies_at(step: str) -> Hold:
        # the intent is stored and the reply never comes: nothing has been done yet;
        # or the outcome is about to be stored: all has been done, and nobody knows
        def wanted(write: Write) -> bool:
            state = write.step(step)
            return state == "Running" if not applied else state not in {"", "Pending", "AwaitingApproval", "Running"}

        return proxy.hold(wanted, applied=not applied)

    holds = {step: dies_at(step) for step in EFFECTS}

    async def killed_at(step: str) -> None:
        async with asyncio.timeout(60):
            await holds[step].reached.wait()
        await operator.restart_after_kill()
        holds[step].released.set()

    await fire(operator, missing_pack)
    await killed_at("serve-last-good")
    await approve(missing_pack, actors.alice)
    await killed_at("rebuild")
    await killed_at("mark-fresh")
    await resolve(operator, missing_pack)
    await killed_at("undo-serve-last-good")
    await asyncio.to_thread(missing_pack.wait_for, "Resolved")
    assert missing_pack.effects() == RECORDED
    assert len(missing_pack.jobs()) == 1
    assert missing_pack.fresh() == [missing_pack.pack]


async def test_killed_while_it_reads_it_reads_again(
    operator: OperatorProcess, proxy: ApiserverProxy, missing_pack: MissingPack, actors: people.Actors
) -> None:
    diagnosed = proxy.hold(lambda write: write.step("packs") == "Succeeded", applied=False)
    verified = proxy.hold(lambda write: write.step("execute") == "Succeeded", applied=False)
    await fire(operator, missing_pack)
    await diagnosed.reached.wait()
    await operator.restart_after_kill()
    await approve(missing_pack, actors.alice)
    await verified.reached.wait()
    await operator.restart_after_kill()
    await resolve(operator, missing_pack)
    await asyncio.to_thread(missing_pack.wait_for, "Resolved")
    assert missing_pack.effects() == RECORDED


async def test_an_alert_that_resolves_before_the_approval_ends_without_a_rebuild(
    operator: OperatorProcess, missing_pack: MissingPack
) -> None:
    await fire(operator, missing_pack)
    await asyncio.to_thread(missing_pack.wait_for, "AwaitingApproval")
    missing_pack.build_by_hand()
    await fire(operator, missing_pack, "resolved")
    incident = await asyncio.to_thread(missing_pack.wait_for, "Resolved")
    states = {step["name"]: step["state"] for step in incident["status"]["steps"]}
    assert (states["rebuild"], states["serve-last-good"]) == ("Skipped", "Undone")
    assert missing_pack.jobs() == []
    assert missing_pack.fresh() == [missing_pack.pack]
