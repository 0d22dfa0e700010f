"""`exec` where something breaks: it is asked for once, and `Failed` is said only where it certainly did not begin."""

from dataclasses import replace

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.exec import ACTION, Exec, longest_serving
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Succeeded, Undetermined
from incident_operator.kubernetes import access, errors
from incident_operator.kubernetes import exec as exec_client
from incident_operator.kubernetes.exec import Commands
from tests.actions.calls import ACCOUNT, Player, call
from tests.actions.test_exec import running, serve_web
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.fake_store import RefusedError

USER = f"system:serviceaccount:prod:{ACCOUNT}"
PODS = "/api/v1/namespaces/prod/pods"
CALL = call(Exec(target="deployment/web", command=["python3", "-c", "print(1)"]))


@pytest.fixture
async def web(api: FakeApiserver) -> FakeApiserver:
    serve_web(api)
    return api


@pytest.fixture
def exec_(web: FakeApiserver, clients: Clients) -> Player:
    return Player(ACTION, clients)


def upgrades(api: FakeApiserver) -> int:
    return len([one for one in api.requests if one.path.endswith("/exec")])


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.CUT_SHORT, Fault.NO_END])
async def test_a_connection_that_breaks_leaves_it_unknown_and_is_never_tried_again(web, exec_, fault):
    web.inject(fault, path="/exec", times=5)
    outcome = await exec_.run(CALL)
    assert isinstance(outcome, Undetermined)
    assert upgrades(web) == 1


async def test_an_apiserver_that_accepts_and_never_answers_leaves_it_unknown(web, exec_):
    web.inject(Fault.SILENT, path="/exec", times=5)
    outcome = await exec_.run(call(CALL.spec, timeout=1.0))
    assert isinstance(outcome, Undetermined)
    assert upgrades(web) == 1


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [
        (Fault.TOO_MANY_REQUESTS, reasons.CONNECTION_FAILED, True),
        (Fault.UNAUTHORIZED, reasons.CONNECTION_FAILED, True),
        (Fault.CONFLICT, reasons.CONFLICT, True),
    ],
)
async def test_a_refusal_of_the_upgrade_proves_that_nothing_ran(web, exec_, fault, reason, retryable):
    web.inject(fault, path="/exec")
    outcome = await exec_.run(CALL)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reason, retryable, False)
    assert upgrades(web) == 1


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.SERVICE_UNAVAILABLE])
async def test_a_server_error_instead_of_the_upgrade_proves_nothing(web, exec_, fault):
    web.inject(fault, path="/exec")
    assert isinstance(await exec_.run(CALL), Undetermined)


async def test_an_apiserver_that_is_not_there_ran_nothing(web, clients):
    nobody = Commands(access.Access(server="http://127.0.0.1:1"))
    outcome = await Player(ACTION, replace(clients, commands=nobody)).run(CALL)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (reasons.CONNECTION_FAILED, True)


async def test_a_look_for_the_pod_that_fails_ran_nothing(web, exec_):
    web.inject(Fault.INTERNAL_ERROR, path="/pods", times=1)
    outcome = await exec_.run(CALL)
    assert isinstance(outcome, Failed)
    assert upgrades(web) == 0


async def test_a_pod_that_was_replaced_in_between_leaves_it_unknown_which_one_ran_it(web, exec_):
    def replace() -> None:
        web.remove(f"{PODS}/web-1")
        web.put(running())

    web.interleave(replace, path="/exec")
    outcome = await exec_.run(CALL)
    assert isinstance(outcome, Undetermined)
    assert "Pod web-1 was replaced meanwhile" in outcome.message


async def test_a_pod_that_is_gone_afterwards_ran_it_all_the_same(web, exec_):
    later = f"{PODS}/web-1"
    web.interleave(lambda: web.interleave(lambda: web.remove(later), path=later), path="/exec")
    assert isinstance(await exec_.run(CALL), Succeeded)
    with pytest.raises(RefusedError):
        web.object(later)


async def test_an_end_that_was_told_stands_although_the_pod_cannot_be_looked_at_again(web, exec_):
    web.interleave(lambda: web.inject(Fault.INTERNAL_ERROR, path=f"{PODS}/web-1"), path="/exec")
    assert isinstance(await exec_.run(CALL), Succeeded)
    assert web.requests[-1].path == f"{PODS}/web-1"


@pytest.mark.parametrize("successor", [True, False])
async def test_a_pod_that_is_not_the_one_that_was_shown_runs_nothing(web, exec_, successor):
    shown = await exec_.show(CALL)
    web.remove(f"{PODS}/web-1")
    if successor:
        web.put(running())
    outcome = await exec_.act(CALL, shown)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.effected) == (reasons.CONFLICT, True, False)
    assert "nothing was run" in outcome.message
    assert upgrades(web) == 0


async def test_it_runs_in_the_pod_that_was_shown_although_another_would_be_chosen_by_now(web, exec_):
    shown = await exec_.show(CALL)
    web.put(running("web-0", creationTimestamp="2025-10-20T00:00:00Z"))
    assert (await exec_.show(CALL)).digest != shown.digest
    assert (await exec_.act(CALL, shown)).summary.startswith("exit code 0 in web-1/main")


async def test_a_namespace_that_has_not_opted_in_is_told_how_to(web, exec_):
    shown = await exec_.show(CALL)
    web.interleave(lambda: web.refuse_impersonation(USER), path="/exec")
    outcome = await exec_.act(CALL, shown)
    assert outcome.reason == reasons.FORBIDDEN
    assert "may not act as service account rb-test in prod; bind its impersonator role there" in outcome.message


def test_the_ready_pod_that_is_oldest_is_chosen():
    ready = running()["status"]
    made = [
        ("c", 5, ready),
        ("b", 4, ready),
        ("x", 4, ready),
        ("a", 0, {"phase": "Running"}),
        ("d", 0, {"phase": "Failed"}),
    ]
    pods = [{**running(name, creationTimestamp=f"2025-10-20T00:00:0{age}Z"), "status": how} for name, age, how in made]
    leaving = running("e", creationTimestamp="2025-10-20T00:00:00Z", deletionTimestamp="2025-10-20T00:00:01Z")
    assert longest_serving("deployment/web", [*pods, leaving])["metadata"]["name"] == "b"


async def test_a_workload_without_a_running_pod_is_told(web, exec_):
    web.remove(f"{PODS}/web-1")
    outcome = await exec_.run(CALL)
    assert (outcome.reason, outcome.message) == (reasons.BAD_REQUEST, "no Pod of deployment/web runs")


@pytest.mark.parametrize(
    "status",
    [b"", b"[" * 300, b"[" * 300 + b"]" * 300, b"7", b"[]", b'{"details": 1}', b'{"details": {"causes": [1]}}',
     b'{"details": {"causes": [{"reason": "ExitCode"}]}}',
     b'{"details": {"causes": [{"reason": "ExitCode", "message": "many"}]}}'],
)  # fmt: skip
def test_a_last_word_that_tells_no_end_leaves_it_open(status):
    with pytest.raises(errors.Unavailable) as unclear:
        exec_client.exit_code(status)
    assert unclear.value.maybe_applied is True
