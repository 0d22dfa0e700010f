"""`logs`: what Pods wrote, as bounded lines and as typed values."""

import pytest

from incident_operator.actions.clients import Clients
from incident_operator.actions.logs import ACTION, Logs
from incident_operator.core import reasons
from incident_operator.core.expressions.templates import Take, marked, take_of
from incident_operator.core.outcomes import Doubt, Failed, Succeeded
from tests.actions.calls import ACCOUNT, Player, call
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault
from tests.kubernetes.manifests import deployment, pod

USER = f"system:serviceaccount:prod:{ACCOUNT}"
BUILD = "build_pack: prices fetched\nheartbeat\nbuild_pack: ERROR provider polygon 503\n"


def of(**spec):
    return Logs(**({"from": "deployment/web"} | spec))


@pytest.fixture
def logs(clients: Clients) -> Player:
    return Player(ACTION, clients)


@pytest.fixture
def web(api: FakeApiserver) -> FakeApiserver:
    api.put(deployment())
    api.put(pod("web-1"))
    api.logs["prod", "web-1", "main"] = BUILD
    return api


async def test_a_workloads_pods_are_read_as_the_runbooks_account(web, logs):
    outcome = await logs.run(call(of()))
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {
        "pods": ["web-1"],
        "lines": BUILD.splitlines(),
        "matches": [],
        "truncated": False,
        "notes": [],
    }
    assert outcome.summary == "3 lines of web-1"
    assert {request.user for request in web.requests} == {USER}


async def test_named_groups_of_matching_lines_become_values(web, logs):
    pattern = r"build_pack: (?P<level>ERROR) provider (?P<provider>\w+) (?P<status>\d+)(?P<more>,.*)?"
    outcome = await logs.run(call(of(pattern=pattern)))
    assert outcome.result["matches"] == [{"level": "ERROR", "provider": "polygon", "status": "503"}]
    assert outcome.summary == "3 lines of web-1, 1 match"


async def test_only_the_tail_is_read(web, logs):
    assert (await logs.run(call(of(tail=1)))).result["lines"] == BUILD.splitlines()[-1:]


async def test_since_is_asked_in_whole_seconds(web, logs):
    await logs.run(call(of(since="1500ms")))
    assert web.requests[-1].params["sinceSeconds"] == "2"


async def test_pods_are_read_by_labels_in_the_order_of_their_names(web, logs):
    web.put(pod("web-0"))
    web.put(pod("stranger", labels={"app": "other"}))
    web.logs["prod", "web-0", "main"] = "zero\n"
    outcome = await logs.run(call(of(**{"from": None}, selector={"app": "web"})))
    assert outcome.result["pods"] == ["web-0", "web-1"]
    assert outcome.result["lines"][0] == "zero"


async def test_a_pods_default_container_is_read_unless_one_is_named(web, logs):
    web.put(
        pod(
            "web-1",
            containers=("proxy", "main", "cron"),
            annotations={"kubectl.kubernetes.io/default-container": "main"},
        )
    )
    web.logs["prod", "web-1", "cron"] = "tick\n"
    assert (await logs.run(call(of()))).result["lines"] == BUILD.splitlines()
    assert (await logs.run(call(of(container="cron")))).result["lines"] == ["tick"]


async def test_no_pods_is_an_answer(api, logs):
    api.put(deployment(replicas=0))
    outcome = await logs.run(call(of()))
    assert outcome.result["pods"] == []
    assert outcome.summary == "no Pods of deployment/web"


async def test_a_container_that_has_not_started_wrote_nothing(web, logs):
    web.put(pod("web-2", containerStatuses=[{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]))
    outcome = await logs.run(call(of()))
    assert outcome.result["pods"] == ["web-1", "web-2"]
    assert outcome.result["lines"] == BUILD.splitlines()
    assert "not readable" not in outcome.summary


async def test_one_unreadable_pod_is_told_and_the_others_are_read(web, logs):
    web.put(pod("web-0"))
    web.inject(Fault.INTERNAL_ERROR, path="/pods/web-0/log")
    outcome = await logs.run(call(of()))
    assert outcome.result["lines"] == BUILD.splitlines()
    assert "; web-0 not readable: injected" in outcome.summary
    assert outcome.doubt == Doubt("not every Pod's log could be read", "pods", passes=True)


async def test_no_readable_pod_at_all_is_a_failure(web, logs):
    web.forbid(USER, "get", "pods/log")
    outcome = await logs.run(call(of()))
    assert (outcome.reason, outcome.retryable) == (reasons.FORBIDDEN, False)
    assert 'cannot get resource "pods/log"' in outcome.message


async def test_a_long_log_keeps_its_newest_lines_and_says_so(web, logs):
    web.logs["prod", "web-1", "main"] = "".join(f"{number} {'x' * 1000}\n" for number in range(1000))
    outcome = await logs.run(call(of(tail=1000)))
    assert outcome.result["truncated"] is True
    assert outcome.result["lines"][-1].startswith("999 ")
    assert sum(len(line) for line in outcome.result["lines"]) < 170_000


async def test_of_a_huge_log_the_end_is_read(web, logs):
    web.logs["prod", "web-1", "main"] = "".join(f"{number} {'x' * 400}\n" for number in range(5000))
    assert (await logs.run(call(of(tail=5000)))).result["lines"][-1].startswith("4999 ")


async def test_a_long_line_is_cut_and_still_matched_as_a_whole(web, logs):
    web.logs["prod", "web-1", "main"] = "x" * 10_000 + " exit=7\n"
    outcome = await logs.run(call(of(pattern=r"exit=(?P<code>\d+)")))
    assert outcome.result["matches"] == [{"code": "7"}]
    assert outcome.result["lines"][0].endswith("x…")
    assert outcome.result["truncated"] is True


async def test_a_pattern_that_would_take_for_ever_elsewhere_does_not_here(web, logs):
    web.logs["prod", "web-1", "main"] = "a" * 50_000 + "\n"
    assert (await logs.run(call(of(pattern=r"(a+)+$b")))).result["matches"] == []


async def test_bytes_that_are_no_text_are_still_lines(web, logs):
    web.logs["prod", "web-1", "main"] = "caf\udce9 \x00 ok\n"
    assert len((await logs.run(call(of()))).result["lines"]) == 1


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
async def test_lines_end_at_lf_and_nowhere_else(web, logs, inside):
    web.logs["prod", "web-1", "main"] = f'{{"msg": "a{inside}b"}}\nnext\r\n\nlast'
    outcome = await logs.run(call(of(pattern='"msg": "(?P<msg>.*)"')))
    assert outcome.result["lines"] == [f'{{"msg": "a{inside}b"}}', "next", "", "last"]
    assert outcome.result["matches"] == [{"msg": f"a{inside}b"}]


async def test_one_named_pod_is_read_and_no_other(web, logs):
    web.put(pod("web-2"))
    outcome = await logs.run(call(Logs(pod="web-1")))
    assert (outcome.result["pods"], outcome.result["lines"]) == (["web-1"], BUILD.splitlines())
    assert [request.path for request in web.requests] == [
        f"/api/v1/namespaces/prod/pods/web-1{part}" for part in ("", "/log")
    ]


async def test_a_named_pod_that_is_not_there_is_told(web, logs):
    outcome = await logs.run(call(Logs(pod="web-9")))
    assert (outcome.reason, outcome.message) == (reasons.NOT_FOUND, 'pods "web-9" not found')


@pytest.mark.parametrize(
    "name", ["", "..", "web-1/log", "web-1/../web-2", "web-1?x=1", "web-1%2flog", "web-1\n", "web_1", "a" * 254, "\0"]
)
async def test_what_cannot_be_the_name_of_a_pod_is_never_asked_for(web, logs, name):
    outcome = await logs.run(call(Logs(pod=name)))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (reasons.BAD_REQUEST, False)
    assert outcome.message.endswith(" is not a valid name of a Pod")
    assert web.requests == []


def test_the_name_of_a_pod_may_come_from_a_parameter():
    assert take_of(marked(Logs), ("pod",)) is Take.NAME


OOM = {"exitCode": 137, "reason": "OOMKilled"}
AGAIN = {"name": "main", "restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": OOM}}


async def test_a_container_that_restarted_says_so_and_how_to_see_what_it_wrote_before(web, logs):
    web.put(pod("web-1", phase="Running", containerStatuses=[AGAIN]))
    web.previous_logs["prod", "web-1", "main"] = "before\n"
    outcome = await logs.run(call(of()))
    told = "web-1: container main restarted 3 times, the last time after OOMKilled, exit code 137 (SIGKILL)"
    assert outcome.result["notes"] == [f"{told}; previous: true reads what it wrote before"]
    assert outcome.summary.endswith("; " + outcome.result["notes"][0])
    before = await logs.run(call(of(previous=True)))
    assert (before.result["lines"], before.result["notes"]) == (["before"], [told])
    assert before.summary == f"1 line of web-1 before the last restart; {told}"


async def test_a_container_that_never_restarted_has_nothing_from_before(web, logs):
    outcome = await logs.run(call(of(previous=True)))
    assert outcome.result["lines"] == []
    assert outcome.summary == "0 lines of web-1 before the last restart; web-1: container main has not restarted"


def waits(reason, message="", name="main", **more):
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **more}


PODS_INIT = waits("PodInitializing")
FAILED_BEFORE = {"lastState": {"terminated": {"exitCode": 7, "reason": "Error"}}, "restartCount": 4}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"containerStatuses": [waits("ImagePullBackOff", "not found: x:9")]}, "ImagePullBackOff (not found: x:9), container main"),
        ({"containerStatuses": [waits("CreateContainerConfigError", 'secret "x" not found')]}, 'CreateContainerConfigError (secret "x" not found), container main'),
        ({"containerStatuses": [waits("ContainerCreating")]}, "ContainerCreating"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}, "Unschedulable (0/3 nodes)"),
        ({"initContainerStatuses": [{"name": "migrate", "state": {"running": {}}}], "containerStatuses": [PODS_INIT]}, "init container migrate runs; container: migrate reads its log"),
        ({"initContainerStatuses": [waits("CrashLoopBackOff", "back-off", "migrate", **FAILED_BEFORE)], "containerStatuses": [PODS_INIT]}, "CrashLoopBackOff (back-off), init container migrate; exit code 7; container: migrate reads its log"),
        ({"initContainerStatuses": [{"name": "proxy", "state": {"running": {}}}, {"name": "migrate", "state": {"terminated": {"exitCode": 0}}}], "containerStatuses": [waits("ContainerCreating")]}, "ContainerCreating"),
        ({}, "Pending"),
    ],
)  # fmt: skip
async def test_a_pod_that_never_started_says_why(web, logs, status, told):
    made = pod("web-2", phase="Pending", **status)
    made["spec"]["initContainers"] = [{"name": "proxy", "restartPolicy": "Always"}, {"name": "migrate"}]
    web.put(made)
    outcome = await logs.run(call(of()))
    assert outcome.result["lines"] == BUILD.splitlines()
    assert outcome.result["notes"] == [f"web-2: container main has not started: {told}"]
    assert outcome.summary.endswith(outcome.result["notes"][0])


async def test_a_pod_that_was_evicted_says_so(web, logs):
    status = [{"name": "main", "state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}}]
    web.put(pod("web-1", phase="Failed", reason="Evicted", message="low on memory", containerStatuses=status))
    assert (await logs.run(call(of()))).result["notes"] == ["web-1: Evicted (low on memory)"]


async def test_a_summary_names_a_few_pods_and_the_result_all(web, logs):
    for number in range(9):
        web.put(pod(f"web-{number}", phase="Pending", containerStatuses=[waits("ImagePullBackOff")]))
    outcome = await logs.run(call(of()))
    assert len(outcome.result["notes"]) == 9
    assert outcome.summary.count("ImagePullBackOff") == 4


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        (Logs(), reasons.BAD_REQUEST, "either `from` or a selector"),
        (of(pod="web-1"), reasons.BAD_REQUEST, "either `from` or a selector"),
        (of(selector={"a": "b"}), reasons.BAD_REQUEST, "either `from` or a selector"),
        (of(pattern="("), reasons.BAD_REQUEST, "pattern is not a regular expression (RE2): missing )"),
        (of(**{"from": "deployment/nobody"}), reasons.NOT_FOUND, 'deployments.apps "nobody" not found'),
    ],
)
async def test_what_cannot_be_read_is_refused(web, logs, spec, reason, told):
    outcome = await logs.run(call(spec))
    assert isinstance(outcome, Failed)
    assert outcome.reason == reason
    assert told in outcome.message


async def test_a_workload_that_selects_everything_is_refused(api, logs):
    made = deployment()
    made["spec"]["selector"] = {}
    api.put(made)
    assert "selects every Pod of prod" in (await logs.run(call(of()))).message


async def test_a_selector_of_expressions_is_understood(api, logs):
    made = deployment()
    made["spec"]["selector"] = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "app", "operator": "Exists"},
        ],
    }
    api.put(made)
    await logs.run(call(of()))
    assert api.requests[-1].params["labelSelector"] == "app=web,tier in (a,b),!old,app"
