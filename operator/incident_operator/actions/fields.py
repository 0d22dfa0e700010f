"""Types of fields that several actions have."""

from typing import Annotated, Any

from pydantic import Field

from incident_operator.api.meta import OBJECT_NAME_PATTERN

Text = Annotated[str, Field(max_length=4096)]
Statement = Annotated[str, Field(min_length=1, max_length=16384)]
"""SQL or PromQL text. It is a literal: values come in through `params`, never through `${…}`."""


def kind_and_name(*kinds: str) -> Any:
    """Return the field of a text that names an object of one of these kinds as kubectl writes it: `deployment/web`."""
    return Field(pattern=f"^({'|'.join(kinds)})/{OBJECT_NAME_PATTERN}$", max_length=270)


WorkloadRef = Annotated[str, kind_and_name("deployment", "statefulset", "daemonset")]
"""A workload as kubectl writes it, e.g. `deployment/scheduler`."""
JobSource = Annotated[str, kind_and_name("deployment", "statefulset", "daemonset", "cronjob")]
"""What has a Pod template, as kubectl writes it."""
Params = Annotated[dict[str, Any], Field(max_length=64)]
Pattern = Annotated[str, Field(max_length=1024)]
"""RE2 with named groups."""
Selector = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(min_length=1, max_length=16)]
"""Labels that all must match; never empty, which would mean every object of the namespace."""
