"""The scene in which the wrong people try to approve."""

from demonstration import manifests
from demonstration.incidents import Incident
from demonstration.teller import Teller


def tell(teller: Teller, incident: Incident) -> None:
    """Let everyone try who may not. Raises shell.Failure where one of them succeeds."""
    pending = incident.status["pendingApproval"]
    forged = (
        f"kubectl annotate -n {manifests.NAMESPACE} incident {incident.name}"
        f' incidents.dev/approve="{pending["planHash"][:8]} alice@dawsos.com"'
    )
    teller.story.happens("mallory signs with alice's name.")
    teller.is_refused(teller.cast.mallory, forged)
    teller.story.happens("bob approves what he wrote himself.")
    teller.is_refused(teller.cast.bob, pending["approveWith"])
