"""One night, part by part. A part raises shell.Failure where something does not happen in its time."""

from demonstration import chart, incidents, manifests, platform, refusals, shell, waiting
from demonstration.incidents import Incident
from demonstration.narrator import PROD, Narrator
from demonstration.people import Actors
from demonstration.preparation import RUNBOOK_NAME
from demonstration.terminal import Story

STEPS = '{range .status.steps[?(@.stage=="%s")]}{.name}{"\\t"}{.summary}{"\\n\\t"}{.outputs}{"\\n"}{end}'


def tell(story: Story, actors: Actors) -> Incident:
    """Tell the whole night; returns the Incident at its end."""
    narrator = Narrator(story, actors)
    _the_build_fails(narrator)
    name = _the_alert(narrator)
    _diagnosis(narrator, name)
    _mitigation(narrator, name)
    incident = _the_question(narrator, name)
    refusals.tell(narrator, incident)
    _approval(narrator, incident)
    _remediation(narrator, name)
    _recovery(narrator, name)
    return _report(narrator, name)


def _the_build_fails(narrator: Narrator) -> None:
    story, admin = narrator.story, narrator.actors.admin
    story.chapter("Midnight")
    story.happens("Users are served; Polygon, which sells the platform its prices, goes down.")
    narrator.asks_api(200)
    narrator.does(admin, f"kubectl set env deployment/providers BROKEN=polygon {PROD}")
    admin.cluster.roll_out(manifests.NAMESPACE, "providers")
    story.happens("The nightly build begins. (It was held back until now; the rest of the night is real.)")
    narrator.does(admin, platform.NIGHT_COMMAND)
    waiting.until("the failure of the nightly build", lambda: platform.failed_build(admin.cluster), 120)
    story.happens("It fails: yesterday's prices have ended, and there are no new ones.")
    narrator.does(admin, f"kubectl logs deployment/scheduler {PROD} --tail=200 | grep ' build_pack '")
    narrator.asks_api(503)
    story.happens("A quarter past midnight: the pack is overdue.")
    narrator.does(admin, platform.DUE_COMMAND)


def _the_alert(narrator: Narrator) -> str:
    story, admin = narrator.story, narrator.actors.admin
    story.chapter("The alert")
    incident = waiting.until("an Incident for the alert", lambda: incidents.newest(admin.cluster, RUNBOOK_NAME), 120)
    fired = incident.body["spec"]["alerts"][0]["startsAt"]
    story.happens(
        f"PricingPackBuildFailure fires at {fired}; Alertmanager posts it; the Incident {incident.name} is there."
    )
    return incident.name


def _diagnosis(narrator: Narrator, name: str) -> None:
    incidents.until_condition(narrator.actors.admin.cluster, name, "Diagnosed", 60)
    narrator.story.happens("Diagnosed, by reading only: logs, providers, database.")
    narrator.does(narrator.actors.alice, _steps_command(name, "diagnose"))


def _mitigation(narrator: Narrator, name: str) -> None:
    incidents.until_condition(narrator.actors.admin.cluster, name, "Mitigated", 60)
    narrator.story.chapter("Users first")
    narrator.story.happens("The last good pack is fresh again: users are served, on yesterday's prices.")
    narrator.asks_api(200)


def _the_question(narrator: Narrator, name: str) -> Incident:
    incident = incidents.until_phase(narrator.actors.admin.cluster, name, "AwaitingApproval", 60)
    story, alice = narrator.story, narrator.actors.alice
    story.chapter("The question")
    story.happens("What comes next cannot be undone, so a person is asked and sees the plan.")
    narrator.does(alice, f"kubectl get inc {PROD}")
    narrator.does(alice, f"kubectl get incident {name} {PROD} -o jsonpath='{{.status.message}}{{\"\\n\"}}'")
    narrator.does(alice, f"kubectl get incident {name} {PROD} -o yaml | sed -n '/^    plan:/,/^    planHash:/p'")
    return incident


def _approval(narrator: Narrator, incident: Incident) -> None:
    story, actors = narrator.story, narrator.actors
    story.chapter("The answer")
    story.happens("Polygon is back.")
    narrator.does(actors.admin, f"kubectl set env deployment/providers BROKEN- {PROD}")
    actors.admin.cluster.roll_out(manifests.NAMESPACE, "providers")
    story.happens("alice, who is on call, approves: the command is in the Incident.")
    narrator.does(actors.alice, incident.status["pendingApproval"]["approveWith"])


def _remediation(narrator: Narrator, name: str) -> None:
    story, actors = narrator.story, narrator.actors
    incidents.until_step(actors.admin.cluster, name, "rebuild", 180)
    story.happens("Tonight's pack is built, in a Job of its own.")
    job = f"$(kubectl get jobs -l incidents.dev/incident={name} -o name {PROD})"
    narrator.does(actors.alice, f"kubectl logs {job} {PROD}")
    incidents.until_step(actors.admin.cluster, name, "mark-fresh", 60)
    story.happens("The new pack replaces the old one, in one transaction.")
    incidents.until_condition(actors.admin.cluster, name, "Verified", 150)
    story.happens("Verified by a signal other than the alert: what users get.")
    narrator.asks_api(200)


def _recovery(narrator: Narrator, name: str) -> None:
    incidents.until_phase(narrator.actors.admin.cluster, name, "Resolved", 120)
    narrator.story.chapter("Morning")
    narrator.story.happens("The alert has resolved, what was temporary is undone, the Incident is closed.")
    narrator.does(narrator.actors.alice, f"kubectl get inc {PROD} -o wide")


def _report(narrator: Narrator, name: str) -> Incident:
    narrator.story.happens("The report:")
    report = narrator.does(narrator.actors.admin, chart.report_command(name))
    if "alice@dawsos.com" not in report:
        raise shell.Failure("the report does not say who approved")
    return incidents.read(narrator.actors.admin.cluster, name)


def _steps_command(name: str, stage: str) -> str:
    return f"kubectl get incident {name} {PROD} -o jsonpath='{STEPS % stage}'"
