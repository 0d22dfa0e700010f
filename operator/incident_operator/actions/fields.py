"""Types of fields that several actions have."""

from typing import Annotated, Any

from pydantic import Field

Text = Annotated[str, Field(max_length=4096)]
Statement = Annotated[str, Field(min_length=1, max_length=16384)]
"""SQL or PromQL text. It is a literal: values come in through `params`, never through `${…}`."""
WorkloadRef = Annotated[
    str, Field(pattern=r"^(deployment|statefulset|daemonset)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=270)
]
"""A workload as kubectl writes it, e.g. `deployment/scheduler`."""
Params = Annotated[dict[str, Any], Field(max_length=64)]
Pattern = Annotated[str, Field(max_length=1024)]
"""RE2 with named groups."""
Selector = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(min_length=1, max_length=16)]
"""Labels that all must match; never empty, which would mean every object of the namespace."""
