"""One night, scene by scene. A scene raises shell.Failure where something does not happen in its time."""

from demonstration import chart, incidents, manifests, platform, refusals, shell, waiting
from demonstration.incidents import Incident
from demonstration.people import Cast
from demonstration.preparation import RUNBOOK_NAME
from demonstration.teller import PROD, Teller
from demonstration.terminal import Story

STEPS = '{range .status.steps[?(@.stage=="%s")]}{.name}{"\\t"}{.summary}{"\\n\\t"}{.outputs}{"\\n"}{end}'


def tell(story: Story, cast: Cast) -> Incident:
    """Tell the whole night; returns the Incident at its end."""
    teller = Teller(story, cast)
    _the_build_fails(teller)
    name = _the_alert(teller)
    _diagnosis(teller, name)
    _mitigation(teller, name)
    incident = _the_question(teller, name)
    refusals.tell(teller, incident)
    _approval(teller, incident)
    _remediation(teller, name)
    _recovery(teller, name)
    return _report(teller, name)


def _the_build_fails(teller: Teller) -> None:
    story, admin = teller.story, teller.cast.admin
    story.chapter("Midnight")
    story.happens("Users are served; Polygon, which sells the platform its prices, goes down.")
    teller.asks_api(200)
    teller.does(admin, f"kubectl set env deployment/providers BROKEN=polygon {PROD}")
    admin.cluster.roll_out(manifests.NAMESPACE, "providers")
    story.happens("The nightly build begins. (It was held back until now; the rest of the night is real.)")
    teller.does(admin, platform.NIGHT_COMMAND)
    waiting.until("the failure of the nightly build", lambda: platform.failed_build(admin.cluster), 120)
    story.happens("It fails: yesterday's prices have ended, and there are no new ones.")
    teller.does(admin, f"kubectl logs deployment/scheduler {PROD} --tail=200 | grep ' build_pack '")
    teller.asks_api(503)
    story.happens("A quarter past midnight: the pack is overdue.")
    teller.does(admin, platform.DUE_COMMAND)


def _the_alert(teller: Teller) -> str:
    story, admin = teller.story, teller.cast.admin
    story.chapter("The alert")
    incident = waiting.until("an Incident for the alert", lambda: incidents.newest(admin.cluster, RUNBOOK_NAME), 120)
    fired = incident.body["spec"]["alerts"][0]["startsAt"]
    story.happens(
        f"PricingPackBuildFailure fires at {fired}; Alertmanager posts it; the Incident {incident.name} is there."
    )
    return incident.name


def _diagnosis(teller: Teller, name: str) -> None:
    incidents.until_condition(teller.cast.admin.cluster, name, "Diagnosed", 60)
    teller.story.happens("Diagnosed, by reading only: logs, providers, database.")
    teller.does(teller.cast.alice, _steps_command(name, "diagnose"))


def _mitigation(teller: Teller, name: str) -> None:
    incidents.until_condition(teller.cast.admin.cluster, name, "Mitigated", 60)
    teller.story.chapter("Users first")
    teller.story.happens("The last good pack is fresh again: users are served, on yesterday's prices.")
    teller.asks_api(200)


def _the_question(teller: Teller, name: str) -> Incident:
    incident = incidents.until_phase(teller.cast.admin.cluster, name, "AwaitingApproval", 60)
    story, alice = teller.story, teller.cast.alice
    story.chapter("The question")
    story.happens("What comes next cannot be undone, so a person is asked and sees the plan.")
    teller.does(alice, f"kubectl get inc {PROD}")
    teller.does(alice, f"kubectl get incident {name} {PROD} -o jsonpath='{{.status.message}}{{\"\\n\"}}'")
    teller.does(alice, f"kubectl get incident {name} {PROD} -o yaml | sed -n '/^    plan:/,/^    planHash:/p'")
    return incident


def _approval(teller: Teller, incident: Incident) -> None:
    story, cast = teller.story, teller.cast
    story.chapter("The answer")
    story.happens("Polygon is back.")
    teller.does(cast.admin, f"kubectl set env deployment/providers BROKEN- {PROD}")
    cast.admin.cluster.roll_out(manifests.NAMESPACE, "providers")
    story.happens("alice, who is on call, approves: the command is in the Incident.")
    teller.does(cast.alice, incident.status["pendingApproval"]["approveWith"])


def _remediation(teller: Teller, name: str) -> None:
    story, cast = teller.story, teller.cast
    incidents.until_step(cast.admin.cluster, name, "rebuild", 180)
    story.happens("Tonight's pack is built, in a Job of its own.")
    job = f"$(kubectl get jobs -l incidents.dev/incident={name} -o name {PROD})"
    teller.does(cast.alice, f"kubectl logs {job} {PROD}")
    incidents.until_step(cast.admin.cluster, name, "mark-fresh", 60)
    story.happens("The new pack replaces the old one, in one transaction.")
    incidents.until_condition(cast.admin.cluster, name, "Verified", 150)
    story.happens("Verified by a signal other than the alert: what users get.")
    teller.asks_api(200)


def _recovery(teller: Teller, name: str) -> None:
    incidents.until_phase(teller.cast.admin.cluster, name, "Resolved", 120)
    teller.story.chapter("Morning")
    teller.story.happens("The alert has resolved, what was temporary is undone, the Incident is closed.")
    teller.does(teller.cast.alice, f"kubectl get inc {PROD} -o wide")


def _report(teller: Teller, name: str) -> Incident:
    teller.story.happens("The report:")
    report = teller.does(teller.cast.admin, chart.report_command(name))
    if "alice@dawsos.com" not in report:
        raise shell.Failure("the report does not say who approved")
    return incidents.read(teller.cast.admin.cluster, name)


def _steps_command(name: str, stage: str) -> str:
    return f"kubectl get incident {name} {PROD} -o jsonpath='{STEPS % stage}'"
