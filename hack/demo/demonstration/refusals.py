"""The part in which the wrong people try to approve."""

from demonstration import manifests
from demonstration.incidents import Incident
from demonstration.narrator import Narrator


def tell(narrator: Narrator, incident: Incident) -> None:
    """Let everyone try who may not. Raises shell.Failure where one of them succeeds."""
    pending = incident.status["pendingApproval"]
    forged = (
        f"kubectl annotate -n {manifests.NAMESPACE} incident {incident.name}"
        f' incidents.dev/approve="{pending["planHash"][:8]} alice@dawsos.com"'
    )
    narrator.story.happens("mallory signs with alice's name.")
    narrator.is_refused(narrator.actors.mallory, forged)
    narrator.story.happens("bob approves what he wrote himself.")
    narrator.is_refused(narrator.actors.bob, pending["approveWith"])
