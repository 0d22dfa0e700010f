"""Whether approvals can be trusted right now: the admission policies are in place, unweakened, and refuse a forgery."""

from dataclasses import dataclass

from incident_operator import policies
from incident_operator.api.annotations import Verb
from incident_operator.api.incident import Incident
from incident_operator.clients import kube, paths
from incident_operator.core import policy_diff
from incident_operator.core.outcomes import Json

_FORGER = "nobody-who-approved"
_HOW_TO_MEND = "approvals cannot be trusted, so destructive steps stop. To fix it: helm upgrade incident-operator, or kubectl apply -f crds/"


@dataclass(frozen=True, slots=True)
class Policies:
    """Checks the shipped policies on the live apiserver. `operator` is our own user name."""

    client: kube.Kube
    operator: str

    async def problem(self, incident: Incident | None = None, plan_hash: str = "") -> str:
        """Return why approvals cannot be trusted, for people; empty where they can.

        With an Incident, a forged approval of its plan is also tried, as a dry run: it has to be refused.
        Raises `kube.Unavailable` where the apiserver does not answer.
        """
        for guard in policies.guards(self.operator):
            try:
                found = policy_diff.weakened(await self._get(guard.path), guard.manifest)
            except kube.Forbidden as error:
                found = f"the admission policies cannot be read ({error})"
            if found:
                return f"{found}: {_HOW_TO_MEND}"
        if incident is not None and not await self._refuses_forgery(incident, plan_hash):
            return f"a forged approval was not refused: {_HOW_TO_MEND}"
        return ""

    async def _get(self, path: str) -> Json | None:
        try:
            return await self.client.get(path)
        except kube.NotFound:
            return None

    async def _refuses_forgery(self, incident: Incident, plan_hash: str) -> bool:
        forged = {"metadata": {"annotations": {Verb.APPROVE.annotation: f"{plan_hash[:12]} {_FORGER}"}}}
        meta = incident.metadata
        try:
            await self.client.merge_patch(paths.incidents(meta.namespace, meta.name), forged, dry_run=True)
        except (kube.Forbidden, kube.Invalid) as refusal:
            return "ValidatingAdmissionPolicy" in str(refusal)
        return False
