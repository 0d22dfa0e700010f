"""The Connection: a named endpoint; its credentials stay in a Secret that only the Runbook's account may read.

What types there are is in `connections/`, one file each.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from incident_operator.api.meta import Conditions, Model, NameRef, ObjectMeta

Url = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", max_length=2048)]


class ConnectionSpec(Model):
    """Where it is, and which Secret opens it."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=63)]
    """Which of the members is set."""
    secret_ref: NameRef | None = None
    """A Secret of this namespace, read as the service account of the Runbook that uses it (alertmanager: as its own)."""

    @property
    def members(self) -> Mapping[str, Any]:
        """What is written beside these fields, as JSON: the member that `type` names."""
        return self.model_extra or {}


class ConnectionStatus(Model):
    """Whether it answered when a Runbook's account (alertmanager: its own) last tried."""

    observed_generation: int | None = None
    """The generation of the spec that this is about; absent where nothing has tried it."""
    used_by: int = 0
    """Runbooks that name it."""
    conditions: Conditions = Field(default_factory=list)
    """`Ready`: whether it answered."""


class Connection(Model):
    """A named endpoint that the steps of Runbooks talk to; what opens it is in a Secret."""

    api_version: str = ""
    kind: str = "Connection"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ConnectionSpec
    status: ConnectionStatus = Field(default_factory=ConnectionStatus)
