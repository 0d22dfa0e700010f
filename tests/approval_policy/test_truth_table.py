"""Who may write what on an Incident, said by the apiserver itself: real people, real tokens, the shipped policies."""

import pytest

from incident_operator.api.incident import GROUP_LABEL, OPENED_BY
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Forbidden
from tests.approval_policy import people
from tests.approval_policy.cases import (
    ABORT,
    ACKNOWLEDGE,
    ALICE_ABORTED,
    ALICE_APPROVED,
    ALICE_APPROVED_THE_OLD_PLAN,
    ALICE_IS_ON_IT,
    ALICE_REJECTED,
    ALICE_RESOLVED,
    ALICE_RETRIED,
    ALICE_SAID_OVER,
    ALICE_UNDOES,
    ALICE_WAS_FASTER,
    APPROVE,
    CHANGED_PLAN_WAITS,
    CLOSED,
    NEVER_VISITED,
    NOTHING_WAITS,
    OLD_APPROVAL_VOID,
    OLD_TOKEN,
    OVER,
    PLAN,
    QUESTION_WAITS,
    REJECT,
    RESOLVE,
    RETRY,
    RETRY_WAITS,
    TOKEN,
    TWO_ALERTS,
    WITHOUT_RUNBOOK,
    Case,
    Patch,
    answered,
    answers,
    waiting_for_answer,
    waiting_for_approval,
)
from tests.approval_policy.people import (
    ADMIN,
    ALICE,
    BOB,
    BOT,
    CAROL,
    COLLECTOR,
    DAVE,
    ERIN,
    FRANK,
    GRACE,
    HEIDI,
    HENRY,
    IDA,
    JUDY,
    MALLORY,
    OPERATOR,
)
from tests.approval_policy.scenario import Scenario

pytestmark = pytest.mark.cluster

ADMIN_NAME = "cluster-admin"

APPROVING = [
    Case("an approver approves the pending plan", ALICE, answers(APPROVE, f"{TOKEN} {ALICE}")),
    Case("the whole hash is as good as its prefix", ALICE, answers(APPROVE, f"{PLAN} {ALICE}")),
    Case("a name with colons approves", ERIN, answers(APPROVE, f"{TOKEN} {ERIN}")),
    Case("a name with blanks approves", FRANK, answers(APPROVE, f"{TOKEN} {FRANK}")),
    Case("a name with commas, two blanks and quotes approves", GRACE, answers(APPROVE, f"{TOKEN} {GRACE}")),
    Case("of two blanks neither may be left out", GRACE, answers(APPROVE, f"{TOKEN} {' '.join(GRACE.split())}"), "you are Hopper,  Grace"),
    Case("a part of a name before its comma is another name", GRACE, answers(APPROVE, f"{TOKEN} Hopper"), "you are Hopper,  Grace"),
    Case("a name of 253 characters approves", HENRY, answers(APPROVE, f"{TOKEN} {HENRY}")),
    Case("a name of 254 characters approves", IDA, answers(APPROVE, f"{TOKEN} {IDA}")),
    Case("a name is not one that it begins with", IDA, answers(APPROVE, f"{TOKEN} {HENRY}"), f"you are {IDA}"),
    Case("who has commas in the name is excluded by it", GRACE, answers(APPROVE, f"{TOKEN} {GRACE}"),
         "someone else has to approve (four eyes)", status=waiting_for_approval(excluded=(GRACE,))),
    Case("who has 253 characters is excluded by them", HENRY, answers(APPROVE, f"{TOKEN} {HENRY}"),
         "someone else has to approve (four eyes)", status=waiting_for_approval(excluded=(HENRY,))),
    Case("nobody is excluded by a part of a name", FRANK, answers(APPROVE, f"{TOKEN} {FRANK}"),
         status=waiting_for_approval(excluded=("Frank", "van Dam", f"{FRANK} ", GRACE))),
    Case("the administrator approves under the own name", ADMIN, answers(APPROVE, f"{TOKEN} {ADMIN_NAME}")),
    Case("the administrator may not sign for another", ADMIN, answers(APPROVE, f"{TOKEN} {ALICE}"), f"you are {ADMIN_NAME}"),
    Case("nobody signs for another", MALLORY, answers(APPROVE, f"{TOKEN} {ALICE}"),
         f'you are {MALLORY}; an answer carries your own name and the pending plan: {APPROVE}="{PLAN[:12]} {MALLORY}"'),
    Case("an approver may not sign for another either", CAROL, answers(APPROVE, f"{TOKEN} {ALICE}"), f"you are {CAROL}"),
    Case("a name is not found by its end", FRANK, answers(APPROVE, f"{TOKEN} x {FRANK}"), f"you are {FRANK}"),
    Case("a name alone is no approval", ALICE, answers(APPROVE, ALICE), f"you are {ALICE}"),
    Case("a token alone is no approval", ALICE, answers(APPROVE, TOKEN), f"you are {ALICE}"),
    Case("an empty value is no approval", ALICE, answers(APPROVE, ""), f"you are {ALICE}"),
    Case("two blanks leave the name wrong", ALICE, answers(APPROVE, f"{TOKEN}  {ALICE}"), f"you are {ALICE}"),
    Case("seven characters of the plan are too few", ALICE, answers(APPROVE, f"{TOKEN[:7]} {ALICE}"), "at least 8 characters"),
    Case("no token is no plan", ALICE, answers(APPROVE, f" {ALICE}"), "at least 8 characters"),
    Case("another plan is not approved", ALICE, answers(APPROVE, f"{OLD_TOKEN} {ALICE}"),
         f"the pending plan is {PLAN[:12]}"),
    Case("what changed since is told", ALICE, answers(APPROVE, f"{OLD_TOKEN} {ALICE}"),
         "the plan changed (mark-fresh: 1 row → 1204 rows rebuild: gone); you are", status=CHANGED_PLAN_WAITS),
    Case("more than the hash is another plan", ALICE, answers(APPROVE, f"{PLAN}0 {ALICE}"), f"the pending plan is {PLAN[:12]}"),
    Case("nothing to approve, nothing approved", ALICE, answers(APPROVE, f"{TOKEN} {ALICE}"),
         "no plan waits for approval: kubectl describe incident", status=NOTHING_WAITS),
    Case("an Incident never visited asks for nothing", ALICE, answers(APPROVE, f"{TOKEN} {ALICE}"),
         "no plan waits for approval", status=NEVER_VISITED),
    Case("who edited the runbook is excluded", BOB, answers(APPROVE, f"{TOKEN} {BOB}"),
         f"{BOB} edited the runbook; someone else has to approve (four eyes)"),
    Case("without the verb, no approval", MALLORY, answers(APPROVE, f"{TOKEN} {MALLORY}"),
         f'you are {MALLORY}; you need the verb "approve" on runbooks/rb in '),
    Case("to respond is not to approve", DAVE, answers(APPROVE, f"{TOKEN} {DAVE}"), 'you need the verb "approve" on runbooks/rb'),
    Case("the verb on another runbook does not count", ALICE, answers(APPROVE, f"{TOKEN} {ALICE}"),
         'you need the verb "approve" on runbooks/other', spec={"runbookRef": {"name": "other"}}),
    Case("a service account never approves", BOT, answers(APPROVE, f"{TOKEN} {people.bot('NAMESPACE')}"),
         "a service account cannot approve, a person has to"),
    Case("the operator approves nothing", OPERATOR, answers(APPROVE, f"{TOKEN} {OPERATOR}"),
         "the operator never answers for people"),
    Case("the operator forges nobody's approval", OPERATOR, answers(APPROVE, f"{TOKEN} {ALICE}"),
         "the operator never answers for people"),
]  # fmt: skip

CHANGING_WHAT_OTHERS_SAID = [
    Case("an approval is not overwritten by another", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         f'you are {CAROL}; {APPROVE}="{TOKEN} {ALICE}" still counts', earlier=ALICE_APPROVED),
    Case("an approval is not removed by another", MALLORY, answers(APPROVE, None), "still counts", earlier=ALICE_APPROVED),
    Case("an approval is not removed by the operator", OPERATOR, answers(APPROVE, None),
         "the operator never answers", earlier=ALICE_APPROVED),
    Case("an approval is not removed by the administrator", ADMIN, answers(APPROVE, None), "still counts",
         earlier=ALICE_APPROVED),
    Case("removing all annotations removes no approval", MALLORY, {"metadata": {"annotations": None}}, "still counts",
         earlier=ALICE_APPROVED),
    Case("one takes back one's own approval", ALICE, answers(APPROVE, None), earlier=ALICE_APPROVED),
    Case("one changes one's own approval", ALICE, answers(APPROVE, f"{PLAN} {ALICE}"), earlier=ALICE_APPROVED),
    Case("what approved an old plan may be replaced", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         earlier=ALICE_APPROVED_THE_OLD_PLAN),
    Case("what approved an old plan may be removed", MALLORY, answers(APPROVE, None), earlier=ALICE_APPROVED_THE_OLD_PLAN),
    Case("a rejection is not removed by another", CAROL, answers(REJECT, None), "still counts", earlier=ALICE_REJECTED),
    Case("a rejection does not hinder an approval of another", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         earlier=ALICE_REJECTED),
    Case("an abort is not removed by another", CAROL, answers(ABORT, None), "still counts", earlier=ALICE_ABORTED),
    Case("one takes back one's own abort", ALICE, answers(ABORT, None), earlier=ALICE_ABORTED),
    Case("a live retry is not overwritten", CAROL, answers(RETRY, f"replay/1 {CAROL}"), "still counts",
         status=QUESTION_WAITS, earlier=ALICE_RETRIED),
    Case("an old retry may be replaced", CAROL, answers(RETRY, f"replay/2 {CAROL}"),
         status=waiting_for_answer("retry", token="replay/2"), earlier=ALICE_RETRIED),
    Case("a live resolve is not overwritten", CAROL, answers(RESOLVE, f"replay/1=not-done {CAROL}"), "still counts",
         status=QUESTION_WAITS, earlier=ALICE_RESOLVED),
    Case("one corrects one's own resolve", ALICE, answers(RESOLVE, f"replay/1=not-done {ALICE}"),
         status=QUESTION_WAITS, earlier=ALICE_RESOLVED),
    Case("an untouched approval lets other annotations pass", MALLORY, answers("team", "payments"), earlier=ALICE_APPROVED),
]  # fmt: skip

OTHER_ANSWERS = [
    Case("a responder rejects", DAVE, answers(REJECT, f"{TOKEN} {DAVE}")),
    Case("an approver rejects", ALICE, answers(REJECT, f"{TOKEN} {ALICE}")),
    Case("who is excluded from approving may reject", BOB, answers(REJECT, f"{TOKEN} {BOB}")),
    Case("without a verb, no rejection", MALLORY, answers(REJECT, f"{TOKEN} {MALLORY}"),
         'you need the verb "respond" on runbooks/rb'),
    Case("another plan is not rejected", DAVE, answers(REJECT, f"{OLD_TOKEN} {DAVE}"), f"the pending plan is {PLAN[:12]}"),
    Case("a responder aborts", DAVE, answers(ABORT, f"now {DAVE}"), status=NOTHING_WAITS),
    Case("an abort says now", DAVE, answers(ABORT, f"please {DAVE}"), f'{ABORT}="now {DAVE}"', status=NOTHING_WAITS),
    Case("nobody aborts in another's name", DAVE, answers(ABORT, f"now {ALICE}"), f"you are {DAVE}"),
    Case("without a verb, no abort", MALLORY, answers(ABORT, f"now {MALLORY}"), 'you need the verb "respond"'),
    Case("a responder retries what is asked for", DAVE, answers(RETRY, f"replay/1 {DAVE}"), status=QUESTION_WAITS),
    Case("a retry names the attempt", DAVE, answers(RETRY, f"replay/0 {DAVE}"), f'{RETRY}="replay/1 {DAVE}"',
         status=QUESTION_WAITS),
    Case("no retry where none is asked for", DAVE, answers(RETRY, f"replay/1 {DAVE}"), "nothing waits for a retry"),
    Case("an empty token is no retry", DAVE, answers(RETRY, f" {DAVE}"), "nothing waits for a retry", status=NOTHING_WAITS),
    Case("a responder says it was done", DAVE, answers(RESOLVE, f"replay/1=done {DAVE}"), status=QUESTION_WAITS),
    Case("a responder says it was not done", DAVE, answers(RESOLVE, f"replay/1=not-done {DAVE}"), status=QUESTION_WAITS),
    Case("a resolve says which", DAVE, answers(RESOLVE, f"replay/1 {DAVE}"), "tell whether it happened", status=QUESTION_WAITS),
    Case("a resolve says nothing else", DAVE, answers(RESOLVE, f"replay/1=perhaps {DAVE}"), "tell whether it happened",
         status=QUESTION_WAITS),
    Case("no resolve where only a retry helps", DAVE, answers(RESOLVE, f"replay/1=done {DAVE}"),
         "nothing waits to be resolved by a person", status=RETRY_WAITS),
    Case("without a verb, no resolve", MALLORY, answers(RESOLVE, f"replay/1=done {MALLORY}"),
         'you need the verb "respond"', status=QUESTION_WAITS),
    Case("without a runbook the verb is on the Incident", DAVE, answers(ABORT, f"now {DAVE}"), spec=WITHOUT_RUNBOOK),
    Case("without a runbook the verb on runbooks does not count", ALICE, answers(ABORT, f"now {ALICE}"),
         'you need the verb "respond" on incidents/case-', spec=WITHOUT_RUNBOOK),
    Case("two answers at once both have to hold", DAVE,
         {"metadata": {"annotations": {REJECT: f"{TOKEN} {DAVE}", APPROVE: f"{TOKEN} {DAVE}"}}},
         'you need the verb "approve"'),
]  # fmt: skip

OVER_AND_ON_IT = [
    Case("a responder says that all alerts are over", DAVE, answers(OVER, f"2 {DAVE}"), spec=TWO_ALERTS),
    Case("an approver may say it too", ALICE, answers(OVER, f"2 {ALICE}"), spec=TWO_ALERTS),
    Case("who has the verb over says it", HEIDI, answers(OVER, f"2 {HEIDI}"), spec=TWO_ALERTS),
    Case("of one opened by hand there are none", DAVE, answers(OVER, f"0 {DAVE}")),
    Case("without a verb, nothing is over", MALLORY, answers(OVER, f"2 {MALLORY}"),
         'you need the verb "over" or "respond" on runbooks/rb', spec=TWO_ALERTS),
    Case("who may acknowledge may not end it", JUDY, answers(OVER, f"2 {JUDY}"), 'you need the verb "over"', spec=TWO_ALERTS),
    Case("who may end it may not abort", HEIDI, answers(ABORT, f"now {HEIDI}"), 'you need the verb "respond"', spec=TWO_ALERTS),
    Case("over names all alerts that are known", DAVE, answers(OVER, f"1 {DAVE}"),
         f'this incident has 2 alerts now; to say that they are over, write {OVER}="2 {DAVE}"', spec=TWO_ALERTS),
    Case("now is not a number of alerts", DAVE, answers(OVER, f"now {DAVE}"), f'{OVER}="2 {DAVE}"', spec=TWO_ALERTS),
    Case("nobody ends it in another's name", DAVE, answers(OVER, f"2 {ALICE}"), f'{OVER}="2 {DAVE}"', spec=TWO_ALERTS),
    Case("what was said to be over is not taken back by another", CAROL, answers(OVER, None), "still counts",
         spec=TWO_ALERTS, earlier=ALICE_SAID_OVER),
    Case("nor said again by another", CAROL, answers(OVER, f"2 {CAROL}"), "still counts", spec=TWO_ALERTS,
         earlier=ALICE_SAID_OVER),
    Case("a responder is on it", DAVE, answers(ACKNOWLEDGE, f"30m {DAVE}")),
    Case("for a day at most", DAVE, answers(ACKNOWLEDGE, f"24h {DAVE}")),
    Case("for an hour and a half", DAVE, answers(ACKNOWLEDGE, f"1h30m {DAVE}")),
    Case("and once more, by another value", DAVE, answers(ACKNOWLEDGE, f"30m/14:05 {DAVE}")),
    Case("who has the verb acknowledge is on it", JUDY, answers(ACKNOWLEDGE, f"30m {JUDY}")),
    Case("who may end it may not acknowledge", HEIDI, answers(ACKNOWLEDGE, f"30m {HEIDI}"), 'you need the verb "acknowledge"'),
    Case("without a verb, nobody is on it", MALLORY, answers(ACKNOWLEDGE, f"30m {MALLORY}"),
         'you need the verb "acknowledge" or "respond" on runbooks/rb'),
    *(Case(f"{lasts!r} is not a time to be on it", DAVE, answers(ACKNOWLEDGE, f"{lasts} {DAVE}"),
           f'up to 24h: {ACKNOWLEDGE}="30m {DAVE}"')
      for lasts in ("", "now", "25h", "24h1m", "0m", "30", "30s", "30m20m", "30m/", "-5m", "1.5h", "99999m")),
    Case("another takes it over", CAROL, answers(ACKNOWLEDGE, f"1h {CAROL}"), earlier=ALICE_IS_ON_IT),
    Case("but does not take it away", CAROL, answers(ACKNOWLEDGE, None), "still counts", earlier=ALICE_IS_ON_IT),
    Case("and who may not be on it does not take it over", MALLORY, answers(ACKNOWLEDGE, f"1h {MALLORY}"),
         'you need the verb "acknowledge"', earlier=ALICE_IS_ON_IT),
    Case("one says that one is not on it any more", ALICE, answers(ACKNOWLEDGE, None), earlier=ALICE_IS_ON_IT),
    Case("the operator is on nothing", OPERATOR, answers(ACKNOWLEDGE, f"30m {OPERATOR}"), "the operator never answers"),
]  # fmt: skip

ABORTING_WITH_UNDO = [
    Case("a responder aborts and has it undone", DAVE, answers(ABORT, f"undo {DAVE}"), status=NOTHING_WAITS),
    Case("without a verb, nothing is undone", MALLORY, answers(ABORT, f"undo {MALLORY}"), 'you need the verb "respond"'),
    Case("another stops the undoing", DAVE, answers(ABORT, f"now {DAVE}"), earlier=ALICE_UNDOES),
    Case("but nobody takes it away", DAVE, answers(ABORT, None), "still counts", earlier=ALICE_UNDOES),
    Case("nor has undone what another has aborted", DAVE, answers(ABORT, f"undo {DAVE}"), "still counts", earlier=ALICE_ABORTED),
    Case("who aborted may still have it undone", ALICE, answers(ABORT, f"undo {ALICE}"), earlier=ALICE_ABORTED),
]  # fmt: skip

ANSWERS_THAT_DO_NOTHING = [
    *(Case(f"{key} is not an answer", ALICE, answers(f"incidents.dev/{key}", f"{TOKEN} {ALICE}"),
           f"incidents.dev/{key} is not an answer; these are: {APPROVE}, {REJECT}, {ABORT}")
      for key in ("aprove", "approved", "Approve", "ack", "editors", "close")),
    Case("the operator may keep notes of its own", OPERATOR, answers("incidents.dev/note", "x")),
    Case("other keys are free", MALLORY, answers("example.com/aprove", "x")),
    Case("a second approver is told who was faster", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         f"you are {CAROL}; {ALICE} approved that plan, which is carried out now (asked or answered at 2025-10-21T00:41:00Z); "
         "no plan waits for approval", status=ALICE_WAS_FASTER),
    Case("also once it was carried out", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         f"{ALICE} approved that plan, which was carried out (", status=answered("Consumed", ALICE)),
    Case("and who rejected it", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"), f"{BOB} rejected that plan (",
         status=answered("Rejected", BOB)),
    Case("and that nobody answered it", CAROL, answers(APPROVE, f"{TOKEN} {CAROL}"),
         f"plan {PLAN[:8]} was not answered in time (", status=answered("Expired")),
    Case("an old plan is told as what it is", CAROL, answers(APPROVE, f"{OLD_TOKEN} {CAROL}"),
         f"{ALICE} approved that plan, which is void by now (", status=OLD_APPROVAL_VOID),
    *(Case(f"nobody hears {sentence} on a closed incident", DAVE, answers(key, f"{token} {DAVE}"),
           "the incident is closed (Resolved), and answers have no effect any more", status=CLOSED)
      for sentence, key, token in (("an abort", ABORT, "now"), ("that it is over", OVER, "0"), ("who is on it", ACKNOWLEDGE, "30m"))),
]  # fmt: skip

OWNED_BY_THE_OPERATOR = [
    Case("nobody else edits spec", MALLORY, {"spec": {"alertsOmitted": 3}}, "spec of an Incident is the operator's"),
    Case("not even the administrator edits spec", ADMIN, {"spec": {"alertsOmitted": 3}}, "spec of an Incident is the operator's"),
    Case("the operator edits the alerts in spec", OPERATOR, {"spec": {"alertsOmitted": 3}}),
    Case("nobody else writes status", MALLORY, {"status": {"phase": "Resolved"}}, "status of an Incident is the operator's",
         part="status"),
    Case("an approver does not write status", ALICE, {"status": {"pendingApproval": {"excluded": []}}},
         "status of an Incident is the operator's", part="status"),
    Case("the administrator does not write status", ADMIN, {"status": {"phase": "Resolved"}},
         "status of an Incident is the operator's", part="status"),
    Case("the operator writes status", OPERATOR, {"status": {"phase": "Resolved"}}, part="status"),
    Case("nobody else adds the operator's labels", MALLORY, {"metadata": {"labels": {"incidents.dev/severity": "P0"}}},
         "the label incidents.dev/severity is the operator's"),
    Case("nobody else changes the operator's labels", MALLORY, {"metadata": {"labels": {GROUP_LABEL: "x"}}},
         f"the label {GROUP_LABEL} is the operator's"),
    Case("nobody else removes the operator's labels", MALLORY, {"metadata": {"labels": {GROUP_LABEL: None}}},
         f"the label {GROUP_LABEL} is the operator's"),
    Case("other labels are free", MALLORY, {"metadata": {"labels": {"team": "payments"}}}),
    Case("the operator changes its labels", OPERATOR, {"metadata": {"labels": {GROUP_LABEL: "x"}}}),
    Case("nobody else adds a finalizer", MALLORY, {"metadata": {"finalizers": ["example.com/x"]}},
         "finalizers of an Incident are the operator's"),
    Case("nobody else adds an owner", MALLORY,
         {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]}},
         "ownerReferences of an Incident are the operator's"),
    Case("the garbage collector takes a finalizer away", COLLECTOR, {"metadata": {"finalizers": None}},
         finalizers=("example.com/x",)),
    Case("the garbage collector takes an owner away", COLLECTOR, {"metadata": {"ownerReferences": None}}),
    Case("the garbage collector does not edit spec", COLLECTOR, {"spec": {"alertsOmitted": 3}},
         "spec of an Incident is the operator's"),
    Case("nobody claims to have opened it", MALLORY, answers(OPENED_BY, ALICE), "never changes"),
]  # fmt: skip

TABLE = [*APPROVING, *CHANGING_WHAT_OTHERS_SAID, *OTHER_ANSWERS, *OVER_AND_ON_IT, *ABORTING_WITH_UNDO,
         *ANSWERS_THAT_DO_NOTHING, *OWNED_BY_THE_OPERATOR]  # fmt: skip


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.sentence)
async def test_on_an_incident(scenario: Scenario, case: Case) -> None:
    """Every row is tried twice: as a dry run, then for good; the answer is the same."""
    name = await _arrange(scenario, case)
    client = await scenario.client(case.who)
    path = discovery.incidents(scenario.namespace, name, case.part)
    patch = _in_namespace(case.patch, scenario.namespace)
    for dry_run in (True, False):
        said = None
        try:
            await client.merge_patch(path, patch, dry_run=dry_run)
        except Forbidden as error:
            said = error.message
        assert (said is None) == (case.refused is None), said
        assert case.refused is None or case.refused in str(said)


async def _arrange(scenario: Scenario, case: Case) -> str:
    status = case.earlier.status if case.earlier else case.status
    name = await scenario.incident(status, case.spec, {GROUP_LABEL: "a1b2c"}, case.finalizers)
    if case.earlier:
        earlier = await scenario.client(case.earlier.who)
        patch = answers(case.earlier.annotation, case.earlier.value)
        await earlier.merge_patch(discovery.incidents(scenario.namespace, name), patch)
        await scenario.report(name, case.status)
    return name


def _in_namespace(patch: Patch, namespace: str) -> Patch:
    annotations = patch.get("metadata", {}).get("annotations")
    if not annotations:
        return patch
    named = {key: value and value.replace("NAMESPACE", namespace) for key, value in annotations.items()}
    return {"metadata": {"annotations": named}}
