"""Whatever can come between an alert and its end, on a real cluster: people, time, edits, failures, hostile labels."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from demonstration import cluster as clusters
from demonstration import people

from incident_operator.kubernetes import discovery
from proofs.forking.starter import Stable
from tests.e2e import detours
from tests.e2e.detours import HOSTILE, Scenario, approve_with, job, plan_hash, retry_with, scale, states

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
GREETING = "print('hello')"
WHOAMI = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"


@pytest.fixture(scope="module")
def namespace(cluster: clusters.Cluster, installed: str) -> Iterator[str]:
    with detours.namespace(cluster, "detours") as name:
        yield name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenario(
    cluster: clusters.Cluster,
    installed: str,
    namespace: str,
    stable: Stable,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Scenario]:
    folder = tmp_path_factory.mktemp("detours")
    async with detours.operated(cluster, installed, stable, folder, namespace) as running:
        yield running


@pytest.fixture
def idle(scenario: Scenario) -> Scenario:
    """Nothing is scaled up yet."""
    scenario.set_replicas(0)
    return scenario


async def test_a_question_that_nobody_answers_is_asked_afresh_and_after_three_times_needs_a_human(
    scenario: Scenario, actors: people.Actors
) -> None:
    await scenario.has_runbook("expiring", remediate=[job(GREETING, approval={"expiresAfter": "2s"})])
    await scenario.fires("expiring")
    first = await scenario.waits_in("AwaitingApproval", "expiring")
    scenario.change_template("COLOUR", "changed-while-it-was-asked")
    stopped = await scenario.waits_in("NeedsHuman", "expiring")
    asked = stopped["status"]["approvals"]
    assert [record["state"] for record in asked] == ["Expired"] * 3
    assert len({record["planHash"] for record in asked}) == 3
    assert asked[0]["plan"] == first["status"]["pendingApproval"]["plan"] != asked[2]["plan"], "facts are read again"
    assert stopped["status"]["reason"] == "ApprovalExpired"
    await scenario.answers(actors.alice, retry_with(stopped))
    again = await scenario.waits_in("AwaitingApproval", "expiring")
    assert plan_hash(again) not in {record["planHash"] for record in asked}
    assert await scenario.jobs(again) == []


async def test_a_rejected_plan_stops_and_a_retry_asks_again_and_completes(
    idle: Scenario, actors: people.Actors
) -> None:
    await idle.has_runbook("rejected", remediate=[scale()])
    fired = await idle.fires("rejected")
    asked = await idle.waits_in("AwaitingApproval", "rejected")
    await idle.answers(actors.alice, asked["status"]["pendingApproval"]["rejectWith"])
    stopped = await idle.waits_in("NeedsHuman", "rejected")
    assert (stopped["status"]["reason"], states(stopped)) == ("Rejected", {"scale-up": "Rejected"})
    assert "alice@dawsos.com" in stopped["status"]["message"]
    assert await idle.replicas() == 0
    await idle.answers(actors.alice, retry_with(stopped))
    await idle.is_approved(actors.alice, "rejected")
    ended = await idle.ends("rejected", fired)
    assert [record["state"] for record in ended["status"]["approvals"]] == ["Rejected", "Consumed"]
    assert await idle.replicas() == 1


async def test_a_rejected_step_that_may_be_skipped_lets_the_rest_go_on(idle: Scenario, actors: people.Actors) -> None:
    optional = {"alone": True, "onReject": "skip"}
    await idle.has_runbook("skipped", remediate=[job(GREETING, approval=optional), scale()])
    await idle.fires("skipped")
    asked = await idle.waits_in("AwaitingApproval", "skipped")
    await idle.answers(actors.alice, asked["status"]["pendingApproval"]["rejectWith"])
    other = await idle.waits_in("AwaitingApproval", "skipped", asked=plan_hash(asked))
    assert other["status"]["pendingApproval"]["steps"] == ["scale-up"]
    await idle.answers(actors.alice, approve_with(other))
    ended = await idle.waits_in("Verifying", "skipped")
    assert states(ended) == {"run": "Skipped", "scale-up": "Succeeded"}
    assert (await idle.jobs(ended), await idle.replicas()) == ([], 1)


async def test_a_plan_that_drifts_after_the_question_is_not_carried_out_but_asked_again_with_the_difference(
    scenario: Scenario, actors: people.Actors
) -> None:
    scenario.change_template("COLOUR", "as-asked")
    await scenario.has_runbook("drifting", remediate=[job(GREETING)])
    fired = await scenario.fires("drifting")
    asked = await scenario.waits_in("AwaitingApproval", "drifting")
    scenario.change_template("COLOUR", "as-never-approved")
    await scenario.answers(actors.alice, approve_with(asked))
    again = await scenario.waits_in("AwaitingApproval", "drifting", asked=plan_hash(asked))
    assert await scenario.jobs(again) == []
    (voided,) = again["status"]["approvals"]
    assert (voided["state"], voided["by"]) == ("Voided", "alice@dawsos.com")
    told = again["status"]["pendingApproval"]["changed"]
    assert "as-asked" in told.partition("→")[0], told
    assert "as-never-approved" in told.partition("→")[2], told
    assert "as-never-approved" in "".join(again["status"]["pendingApproval"]["plan"][0]["details"]["template"])
    await scenario.answers(actors.alice, approve_with(again))
    ended = await scenario.ends("drifting", fired)
    (made,) = await scenario.jobs(ended)
    assert {"name": "COLOUR", "value": "as-never-approved"} in _container(made)["env"]


async def test_a_job_that_fails_tells_its_exit_code_and_last_line_and_is_not_repeated(
    scenario: Scenario, actors: people.Actors
) -> None:
    program = "print('started'); print('polygon does not answer'); raise SystemExit(3)"
    await scenario.has_runbook("failing", remediate=[job(program, retry={"attempts": 3, "backoff": "1s"}), scale()])
    fired = await scenario.fires("failing")
    await scenario.is_approved(actors.alice, "failing")
    stopped = await scenario.waits_in("NeedsHuman", "failing")
    step = stopped["status"]["steps"][0]
    for text in (stopped["status"]["message"], step["summary"]):
        assert "exit code 3" in text
        assert "polygon does not answer" in text
    assert (step["state"], step["reason"], step["attempt"]) == ("Failed", "JobFailed", 1)
    await scenario.fire(fired)
    await asyncio.sleep(2)  # longer than the backoff of a retry that must not come
    assert (await scenario.newest("failing"))["status"] == stopped["status"]
    assert len(await scenario.jobs(stopped)) == 1


async def test_an_abort_stops_everything_and_names_what_is_still_in_place(
    idle: Scenario, actors: people.Actors
) -> None:
    await idle.has_runbook("aborted", mitigate=[scale()], remediate=[job(GREETING)])
    fired = await idle.fires("aborted")
    asked = await idle.waits_in("AwaitingApproval", "aborted")
    line = (
        f'kubectl annotate -n {idle.namespace} incident {asked["metadata"]["name"]} incidents.dev/abort="now {WHOAMI}"'
    )
    await idle.answers(actors.alice, line)
    ended = await idle.waits_in("Failed", "aborted")
    assert ended["status"]["reason"] == "Aborted"
    assert "alice@dawsos.com" in ended["status"]["message"]
    assert "not undone: scale-up" in ended["status"]["message"]
    assert states(ended) == {"scale-up": "Succeeded", "run": "Skipped"}
    await asyncio.to_thread(actors.alice.is_refused, approve_with(asked))
    await idle.resolves(fired)
    assert (await idle.newest("aborted"))["status"] == ended["status"]
    assert (await idle.jobs(ended), await idle.replicas()) == ([], 1)


async def test_an_edited_runbook_changes_the_next_incident_but_not_the_one_under_way(
    idle: Scenario, actors: people.Actors
) -> None:
    await idle.has_runbook("edited", remediate=[scale(1)])
    fired = await idle.fires("edited")
    asked = await idle.waits_in("AwaitingApproval", "edited")
    await idle.has_runbook("edited", remediate=[scale(2)])
    await idle.answers(actors.alice, approve_with(asked))
    ended = await idle.ends("edited", fired)
    assert await idle.replicas() == 1
    idle.set_replicas(0)
    await idle.fires("edited")
    following = await idle.is_approved(actors.alice, "edited")
    await idle.waits_in("Verifying", "edited")
    assert await idle.replicas() == 2
    assert following["status"]["runbookRevision"] != ended["status"]["runbookRevision"]


async def test_a_runbook_that_is_not_ready_calls_a_human_and_mending_it_lets_the_incident_go_on(idle: Scenario) -> None:
    await idle.has_runbook("broken", ready=False, mitigate=[scale(when="params.nosuch == 'x'")])
    fired = await idle.fires("broken")
    stopped = await idle.waits_in("NeedsHuman", "broken")
    assert stopped["status"]["reason"] == "RunbookNotReady"
    assert "nosuch" in stopped["status"]["message"]
    assert await idle.replicas() == 0
    await idle.has_runbook("broken", mitigate=[scale()])
    await idle.waits_in("Verifying", "broken")
    assert await idle.replicas() == 1
    await idle.resolves(fired)
    await idle.waits_in("Resolved", "broken")
    assert await idle.replicas() == 0


async def test_an_incident_opened_by_hand_runs_its_runbook_and_its_opener_may_not_approve(
    idle: Scenario, actors: people.Actors
) -> None:
    count = {"name": "count", "type": "int", "from": "alert.labels.count", "default": "2"}
    await idle.has_runbook("by-hand", parameters=[count], remediate=[scale("${params.count}")])
    opened = {"apiVersion": "incidents.dev/v1alpha1", "kind": "Incident", "metadata": {"name": "by-hand-1"}}
    spec = json.dumps({**opened, "spec": {"runbookRef": {"name": "by-hand"}}})
    actors.bob.cluster.kubectl("create", "-n", idle.namespace, "-f", "-", stdin=spec)

    async def phase(wanted: str) -> dict[str, Any] | None:
        found = await idle.kube.get(discovery.incidents(idle.namespace, "by-hand-1"))
        return found if found.get("status", {}).get("phase") == wanted else None

    asked = await idle.until(lambda: phase("AwaitingApproval"), "a question")
    assert asked["status"]["pendingApproval"]["excluded"].count("bob@dawsos.com") == 1
    refusal = await asyncio.to_thread(actors.bob.is_refused, approve_with(asked))
    assert "bob@dawsos.com" in refusal
    await idle.answers(actors.alice, approve_with(asked))
    await idle.until(lambda: phase("Resolved"), "an end")
    assert await idle.replicas() == 2


UNSEEN = {"newline": "a\nb", "right-to-left": "a\u202eb", "long": "x" * 1000}
TYPES = ("int", "date", "k8sName", "duration")


async def test_hostile_text_is_refused_by_every_type_that_it_does_not_fit_and_nothing_is_done(idle: Scenario) -> None:
    refused = [(kind, case) for kind in TYPES for case in {**HOSTILE, **UNSEEN}] + [("string", case) for case in UNSEEN]
    names = {kind: f"hostile-{kind.lower()}" for kind in (*TYPES, "string")}
    for kind, name in names.items():
        parameter = {"name": "value", "type": kind, "from": "alert.labels.value"}
        await idle.has_runbook(name, groupBy=["case"], parameters=[parameter], mitigate=[scale()])
    texts, began, generation = {**HOSTILE, **UNSEEN}, datetime.now(UTC), await _generation(idle)
    posted = [idle.alert(began, names[kind], case=case, value=texts[case]) for kind, case in refused]
    await idle.fire(*posted)

    async def all_stopped() -> list[dict[str, Any]] | None:
        found = await idle.listed(
            discovery.incidents(idle.namespace), f"incidents.dev/runbook in ({','.join(names.values())})"
        )
        stopped = [each for each in found if each.get("status", {}).get("reason") == "ParameterInvalid"]
        return stopped if len(stopped) == len(refused) else None

    for incident in await idle.until(all_stopped, f"{len(refused)} refusals"):
        assert incident["status"]["phase"] == "NeedsHuman"
        assert "label value=" in incident["status"]["message"]
        assert "nothing was done" in incident["status"]["message"]
        assert len(incident["status"]["message"]) < 512
        assert incident["status"].get("steps", []) == []
    assert (await idle.replicas(), await _generation(idle)) == (0, generation)


async def test_hostile_text_that_a_string_allows_reaches_a_program_unchanged(
    scenario: Scenario, actors: people.Actors
) -> None:
    scenario.change_template("CANARY", "leaked")
    anything = {"type": "string", "pattern": ".*"}
    parameters = [{"name": case, "from": f"alert.labels.{case}", **anything} for case in HOSTILE]
    arguments = (f"${{params.{case}}}" for case in HOSTILE)
    step = job("import json, sys; print(json.dumps(sys.argv[2:]))", "--", *arguments)
    await scenario.has_runbook("hostile-argv", parameters=parameters, remediate=[step])
    fired = await scenario.fires("hostile-argv", **HOSTILE)
    await scenario.is_approved(actors.alice, "hostile-argv")
    ended = await scenario.ends("hostile-argv", fired)
    (made,) = await scenario.jobs(ended)
    said = scenario.cluster.kubectl("logs", f"job/{made['metadata']['name']}", "-n", scenario.namespace)
    assert json.loads(said) == list(HOSTILE.values())


async def test_a_label_of_10_kb_is_stored_as_far_as_it_fits_and_so_is_what_came_with_it(scenario: Scenario) -> None:
    await scenario.has_runbook("oversize", groupBy=["case"])
    began = datetime.now(UTC)
    long = scenario.alert(began, "oversize", case="long", value="x" * 10_000)
    code, answer = await scenario.operator.post(long, scenario.alert(began, "oversize", case="short"))
    assert (code, json.loads(answer)["message"]) == (200, "2 alerts: 2 Incidents opened")
    stored = {each["spec"]["group"]["case"]: each["spec"] for each in await scenario.incidents("oversize")}
    assert set(stored) == {"long", "short"}
    assert 0 < len(stored["long"]["commonLabels"]["value"]) <= 1024


def _container(made: dict[str, Any]) -> dict[str, Any]:
    return dict(made["spec"]["template"]["spec"]["containers"][0])


async def _generation(scenario: Scenario) -> int:
    return int((await scenario.scaled())["metadata"]["generation"])
