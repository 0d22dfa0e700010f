"""`job` runs what was shown, once: whoever deletes, forges or changes Jobs, and whichever reply is lost."""

import json
from dataclasses import replace

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.job import template as job_template
from incident_operator.actions.job.job import ACTION
from incident_operator.actions.workloads import WITHDRAWN
from incident_operator.core import reasons
from incident_operator.core.action import shown_marker
from incident_operator.core.outcomes import Failed, NotDone, Pending, Succeeded, Undetermined
from incident_operator.kubernetes.errors import Conflict, Forbidden
from tests.actions.calls import Player
from tests.actions.job.test_job import CALL, JOBS, MANIFEST, NAME, USER, ends
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment

JOB = f"{JOBS}/{NAME}"
BEING_DELETED = {"finalizers": ["foregroundDeletion"], "deletionTimestamp": "2025-10-21T00:00:30Z"}
OLD_NAME = job_template.name("rebuild", CALL.key)


@pytest.fixture
def job(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api):
    api.put(deployment())
    return api


def creates(api):
    return len([request for request in api.writes if request.method == "POST"])


def is_suspended(api):
    return api.object(JOB)["spec"]["suspend"]


async def reserved(job):
    """The call of an act whose intent is stored, and its preview."""
    preview = await job.show(CALL)
    seen = await ACTION.reserve(CALL, preview, job.clients)
    return replace(CALL, seen=seen), preview


def changed(api, change, path=JOB):
    made = api.object(path)
    change(made)
    api.put(made)


async def test_a_reserved_job_does_nothing_and_is_told_with_how_to_delete_it(web, job):
    begun, preview = await reserved(job)
    assert is_suspended(web)
    assert begun.seen == {
        "job": NAME,
        "uid": web.object(JOB)["metadata"]["uid"],
        "marker": shown_marker(CALL.marker),
        "stopWith": f"kubectl delete job -n prod {NAME}",
    }
    assert CALL.marker not in json.dumps([begun.seen, preview.bound, preview.details])
    assert isinstance(await job.sent(begun, preview), Pending)
    assert not is_suspended(web)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_job_that_is_deleted_while_it_runs_is_never_made_again(web, job, kept):
    await job.run(CALL)
    if kept:
        changed(web, lambda made: made["metadata"].update(BEING_DELETED))
    else:
        web.remove(JOB)
    for _ in range(3):
        outcome = await job.run(CALL)
        assert isinstance(outcome, Undetermined)
        assert f"Job {NAME} in prod was deleted by somebody" in outcome.message
    assert creates(web) == 1


async def test_a_job_that_is_deleted_after_the_intent_is_never_made_again(web, job):
    begun, preview = await reserved(job)
    web.remove(JOB)
    assert isinstance(await job.sent(begun, preview), Undetermined)
    assert isinstance(await job.look(begun), Undetermined)
    assert creates(web) == 1


async def test_a_job_that_is_deleted_at_the_last_moment_is_never_made_again(web, job):
    begun, preview = await reserved(job)
    web.interleave(lambda: web.remove(JOB), method="PATCH")
    assert isinstance(await job.sent(begun, preview), Undetermined)
    assert creates(web) == 1


async def test_another_job_of_the_same_name_is_not_ours(web, job):
    begun, preview = await reserved(job)
    made = web.object(JOB)
    web.remove(JOB)
    web.put({**made, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    assert isinstance(await job.sent(begun, preview), Undetermined)
    assert isinstance(await job.look(begun), Undetermined)


async def test_the_job_that_runs_is_the_one_that_was_shown(web, job):
    preview = await job.show(CALL)
    evil = deployment()
    evil["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    web.put(evil)
    begun = replace(CALL, seen=await ACTION.reserve(CALL, preview, job.clients))
    web.put(deployment(serviceAccountName="admin"))
    assert isinstance(await job.sent(begun, preview), Pending)
    (made,) = web.objects(JOBS)
    assert job_template.bound(made) == preview.bound
    assert not is_suspended(web)


def another_image(made):
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"


def another_marker(made):
    made["metadata"]["annotations"]["incidents.dev/step-key"] = "mine"


def another_owner(made):
    made["metadata"]["ownerReferences"] = []


@pytest.mark.parametrize("change", [another_image, another_marker, another_owner])
@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_reserved_job_that_somebody_changes_is_not_started(web, job, change, moment):
    begun, preview = await reserved(job)
    if moment == "before":
        changed(web, change)
    else:
        web.interleave(lambda: changed(web, change), method="PATCH")
    outcome = await job.sent(begun, preview)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.CONFLICT, False, False)
    assert "was changed by somebody since it was made; not started" in outcome.message
    assert is_suspended(web)


@pytest.mark.parametrize("change", [another_image, another_marker, another_owner])
async def test_a_job_that_somebody_changes_is_not_adopted(web, job, change):
    _, preview = await reserved(job)
    changed(web, change)
    outcome = await job.act(CALL, preview)
    assert (outcome.reason, outcome.retryable) == (reasons.CONFLICT, False)
    assert job.intents == {}
    assert is_suspended(web)


async def test_a_reserved_job_that_is_being_deleted_is_not_adopted_and_is_made_anew_later(web, job):
    _, preview = await reserved(job)
    changed(web, lambda made: made["metadata"].update(BEING_DELETED))
    assert isinstance(await job.act(CALL, preview), NotDone)
    assert job.intents == {}


async def test_a_job_that_somebody_makes_anew_with_another_content_is_not_adopted(web, job):
    _, preview = await reserved(job)
    made = web.object(JOB)
    another_image(made)
    web.remove(JOB)
    web.put(made)
    outcome = await job.act(CALL, preview)
    assert (outcome.reason, outcome.retryable) == (reasons.CONFLICT, False)
    assert "is not what this step would run" in outcome.message
    assert is_suspended(web)


async def test_a_job_that_was_let_run_and_suspended_again_may_have_run(web, job):
    begun, preview = await reserved(job)
    for suspended in (False, True):
        changed(web, lambda made, to=suspended: made["spec"].update(suspend=to))
    assert isinstance(await job.sent(begun, preview), Undetermined)
    assert isinstance(await job.look(begun), Pending)
    assert is_suspended(web)


async def test_a_reserved_job_that_somebody_let_run_is_followed_and_not_made_again(web, job):
    _, preview = await reserved(job)  # the intent was never stored
    changed(web, lambda made: made["spec"].update(suspend=False))
    assert isinstance(await job.act(CALL, preview), Pending)
    assert job.intents[CALL.key]["uid"] == web.object(JOB)["metadata"]["uid"]
    ends(web)
    assert isinstance(await job.run(CALL), Succeeded)
    assert creates(web) == 2, "the Job, and a dry run to compare the one that was found with it"


async def test_a_trial_says_that_the_account_may_not_let_a_job_run(web, job):
    web.forbid(USER, "patch", "jobs.batch")
    with pytest.raises(Forbidden):
        await job.show(CALL)


async def test_a_trial_changes_no_job_of_that_name(web, job):
    await reserved(job)
    before = web.object(JOB)
    await job.show(CALL)
    assert web.object(JOB) == before


async def test_a_job_that_was_let_run_and_suspended_again_is_for_a_person(web, job):
    _, preview = await reserved(job)
    for suspended in (False, True):
        changed(web, lambda made, to=suspended: made["spec"].update(suspend=to))
    outcome = await job.act(CALL, preview)
    assert isinstance(outcome, Undetermined)
    assert "was suspended by somebody, and may have run before" in outcome.message


def forged(name):
    """A Job as somebody makes it who knows the Incident: it has ended well."""
    made = json.loads(json.dumps(MANIFEST))
    made["metadata"] |= {"name": name, "namespace": "prod", "annotations": {"incidents.dev/step-key": CALL.key}}
    return {**made, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}


@pytest.mark.parametrize("name", [OLD_NAME, NAME])
async def test_a_forged_job_does_not_count_as_ours(web, job, name):
    web.put(forged(name))
    outcome = await job.run(CALL)
    if name == OLD_NAME:
        assert isinstance(outcome, Pending)
        assert not is_suspended(web)
        return
    assert (outcome.reason, outcome.retryable) == (reasons.CONFLICT, False)
    assert "was not made by this step" in outcome.message


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.INTERNAL_ERROR, Fault.DROPPED])
async def test_a_lost_reply_of_the_create_is_met_again_by_the_same_name(web, job, fault):
    web.inject(fault, method="POST")
    assert isinstance(await job.run(CALL), NotDone)
    assert isinstance(await job.run(CALL), Pending)
    assert len(web.objects(JOBS)) == 1
    assert not is_suspended(web)


async def test_a_job_that_is_made_and_deleted_by_somebody_in_between_is_reserved_later(web, job):
    _, preview = await reserved(job)
    web.interleave(lambda: web.remove(JOB), method="GET", path=JOB)
    assert isinstance(await job.act(CALL, preview), NotDone)
    assert isinstance(await job.act(CALL, preview), Pending)


async def test_a_lost_reply_of_the_start_is_found_by_a_look(web, job):
    web.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await job.run(CALL), Pending)
    ends(web)
    assert isinstance(await job.run(CALL), Succeeded)
    assert creates(web) == 1


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.DROPPED])
async def test_a_lost_start_is_certainly_not_begun_and_then_begun_again(web, job, fault):
    web.inject(fault, method="PATCH")
    assert isinstance(await job.run(CALL), Pending)
    assert await job.run(CALL) == NotDone(0, f"Job {NAME} was not started")
    assert isinstance(await job.run(CALL), Pending)
    assert not is_suspended(web)
    assert len(web.objects(JOBS)) == 1


async def test_the_controllers_word_that_it_is_suspended_is_no_obstacle(web, job):
    begun, preview = await reserved(job)
    said = {"conditions": [{"type": "Suspended", "status": "True"}]}
    web.interleave(lambda: web.put({**web.object(JOB), "status": said}), method="PATCH")
    assert isinstance(await job.sent(begun, preview), Pending)
    assert not is_suspended(web)


async def test_a_job_that_never_rests_is_started_later(web, job):
    begun, preview = await reserved(job)
    web.inject(Fault.CONFLICT, method="PATCH", times=5)
    assert isinstance(await job.sent(begun, preview), NotDone)
    assert is_suspended(web)


async def test_where_the_reserved_job_cannot_be_read_nothing_was_started(web, job):
    begun, preview = await reserved(job)
    web.inject(Fault.INTERNAL_ERROR, method="GET")
    assert isinstance(await job.sent(begun, preview), NotDone)
    assert is_suspended(web)


async def test_a_job_that_somebody_let_run_is_followed(web, job):
    begun, preview = await reserved(job)
    changed(web, lambda made: made["spec"].update(suspend=False))
    before = len(web.writes)
    assert isinstance(await job.sent(begun, preview), Pending)
    assert len(web.writes) == before


async def test_a_started_job_is_pending_whatever_cannot_be_read_afterwards(web, job):
    web.forbid(USER, "list", "pods")
    web.inject(Fault.INTERNAL_ERROR, path="/pods", times=9)
    assert isinstance(await job.run(CALL), Pending)


async def test_the_first_start_can_do_nothing_after_a_look_that_found_nothing(web, job):
    begun, preview = await reserved(job)
    made, account = web.object(JOB), job.clients.account_of(CALL)
    assert isinstance(await job.look(begun), NotDone)
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await account.json_patch(JOB, [version, {"op": "replace", "path": "/spec/suspend", "value": False}])
    assert isinstance(await job.sent(begun, preview), NotDone)
    assert is_suspended(web)


async def test_a_start_that_arrives_during_the_look_is_found_by_it(web, job):
    begun, _ = await reserved(job)
    web.interleave(lambda: changed(web, lambda made: made["spec"].update(suspend=False)), method="PATCH")
    assert isinstance(await job.look(begun), Pending)
    assert WITHDRAWN not in web.object(JOB)["metadata"]["annotations"]


async def test_a_job_that_was_withdrawn_is_reserved_again_and_the_first_start_stays_dead(web, job):
    first, preview = await reserved(job)
    for _ in range(2):
        assert isinstance(await job.look(first), NotDone)
    second, again = await reserved(job)
    assert second.seen["uid"] == first.seen["uid"]
    assert isinstance(await job.sent(first, preview), NotDone)
    assert is_suspended(web)
    assert isinstance(await job.sent(second, again), Pending)
    assert not is_suspended(web)


async def test_where_the_proof_cannot_be_sealed_nobody_knows_yet(web, job):
    begun, _ = await reserved(job)
    web.inject(Fault.REPLY_LOST, method="PATCH")
    assert isinstance(await job.look(begun), Pending)
    assert isinstance(await job.look(begun), NotDone)


def of_an_older_version(**status):
    made = json.loads(json.dumps(MANIFEST))
    made["metadata"] |= {"name": OLD_NAME, "namespace": "prod", "annotations": {"incidents.dev/step-key": CALL.key}}
    del made["spec"]["suspend"]
    return {**made, "status": status}


async def test_a_job_that_an_older_version_made_is_followed_to_its_end(web, job):
    web.put(of_an_older_version(active=1))
    assert isinstance(await job.look(CALL), Pending)
    web.put(of_an_older_version(conditions=[{"type": "Complete", "status": "True"}]))
    assert isinstance(await job.look(CALL), Succeeded)
    assert web.writes == []


async def test_a_job_that_an_older_version_made_and_that_is_being_deleted_is_for_a_person(web, job):
    made = of_an_older_version(active=1)
    made["metadata"] |= BEING_DELETED
    web.put(made)
    outcome = await job.look(CALL)
    assert isinstance(outcome, Undetermined)
    assert "was deleted by somebody" in outcome.message


@pytest.mark.parametrize("there", [None, "somebody else's"])
async def test_a_job_that_an_older_version_began_and_that_is_not_there_is_for_a_person(web, job, there):
    if there:
        made = of_an_older_version()
        made["metadata"]["annotations"] = {"incidents.dev/step-key": there}
        web.put(made)
    assert isinstance(await job.look(CALL), Undetermined)
    assert web.writes == []
