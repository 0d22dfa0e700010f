"""What an earlier life of an Incident did is found where it is about to be done again, and is left as it is."""

from dataclasses import replace

import pytest

from incident_operator.actions import scale as scales
from incident_operator.actions.job import job as jobs
from incident_operator.core import reasons
from incident_operator.core.outcomes import Pending, RolledBack, Succeeded, Undetermined
from tests.actions.calls import Player, call
from tests.actions.job.test_job import CALL, JOBS, NAME
from tests.actions.test_scale import WEB, replicas, to
from tests.kubernetes.manifests import deployment

SCALE = call(to(5))


@pytest.fixture
def web(api):
    api.put(deployment())
    return api


async def test_a_workload_that_this_attempt_has_scaled_is_not_scaled_again(web, clients):
    assert isinstance(await Player(scales.ACTION, clients).run(SCALE), Succeeded)
    body = web.object(WEB)
    web.put({**body, "spec": {**body["spec"], "replicas": 2}})
    later = Player(scales.ACTION, clients)
    with pytest.raises(RolledBack, match="says that it was scaled 2 → 5"):
        await later.show(SCALE)
    outcome = await later.run(SCALE)
    assert isinstance(outcome, Undetermined)
    assert outcome.reason == reasons.RECORD_ROLLED_BACK
    assert replicas(web) == 2


async def test_another_attempt_scales_beside_the_mark_of_an_earlier_one(web, clients):
    await Player(scales.ACTION, clients).run(SCALE)
    body = web.object(WEB)
    web.put({**body, "spec": {**body["spec"], "replicas": 2}})
    assert isinstance(await Player(scales.ACTION, clients).run(call(to(5), attempt=2)), Succeeded)
    assert replicas(web) == 5


async def test_a_job_that_this_attempt_has_let_run_is_not_run_again(web, clients):
    assert isinstance(await Player(jobs.ACTION, clients).run(CALL), Pending)
    writes = len(web.writes)
    outcome = await Player(jobs.ACTION, clients).run(CALL)
    assert isinstance(outcome, Undetermined)
    assert outcome.reason == reasons.RECORD_ROLLED_BACK
    assert f"Job {NAME} in prod was started by it (running by now)" in outcome.message
    assert [one.path for one in web.writes[writes:] if one.method != "POST"] == []
    assert len(web.objects(JOBS)) == 1


@pytest.mark.parametrize("lets_run", [False, True], ids=["made only", "let run by a queue"])
async def test_a_job_that_was_made_and_not_let_run_by_the_step_is_taken_up(web, clients, lets_run):
    first = Player(jobs.ACTION, clients)
    preview = await first.show(CALL)
    made = await jobs.ACTION.reserve(CALL, preview, clients)
    if lets_run:
        job = web.object(f"{JOBS}/{NAME}")
        web.put({**job, "spec": {**job["spec"], "suspend": False}})
    taken = await jobs.ACTION.reserve(CALL, preview, clients)
    assert taken["uid"] == made["uid"]
    assert isinstance(await first.sent(replace(CALL, seen=taken), preview), Pending)
