"""How a Job is ended whose container has done its work while another one goes on, and how that is noted on it. Pure.

Its deadline is set to a second, which has passed: the Job controller lets it fail for good and ends its Pod, so it can never run
again, as a suspended Job could, and stays to be looked at, as a deleted one would not. The same patch notes what the container came
to: whoever looks after that, a restarted operator too, reads it there, since the Pod is gone by then.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from incident_operator.actions import kube_patches
from incident_operator.api.meta import GROUP
from incident_operator.core.outcomes import Json

ENDED = f"{GROUP}/ended"
"""On a Job: how the container that is meant ended before the rest was stopped."""
_PASSED = 1
"""Seconds after its start at which a Job that is stopped would have had to be done."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Whose end decides, and what it was; the exit code is None where it never ran or nobody knows."""

    pod: str
    container: str
    exit_code: int | None
    reason: str

    @property
    def told(self) -> str:
        """For people, where nothing else is known any more."""
        reason = f"{self.reason}, " if self.reason else ""
        return f"container {self.container}: {reason}exit code {self.exit_code}; the others were ended"


def stop(job: Json, ending: Ending) -> Sequence[kube_patches.Operation]:
    """Return the patch that ends this very version of a Job, and notes why."""
    return [
        *kube_patches.tests(job),
        kube_patches.annotated(job, ENDED, json.dumps(asdict(ending))),
        {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": _PASSED},
    ]


def noted(job: Json) -> Ending | None:
    """Return what was noted when the Job was stopped; None where it was not, or what stands there is something else."""
    try:
        found = json.loads(kube_patches.annotations(job).get(ENDED, ""))
    except ValueError:
        return None
    return _ending(found) if isinstance(found, Mapping) else None


def _ending(found: Mapping[str, Any]) -> Ending | None:
    texts = [found.get(key) for key in ("pod", "container", "reason")]
    code = found.get("exit_code")
    if not all(isinstance(each, str) for each in texts) or not isinstance(code, int) or isinstance(code, bool):
        return None
    pod, container, reason = (str(each) for each in texts)
    return Ending(pod, container, code, reason)
