"""The names under which `check` tells what it finds."""

from collections.abc import Mapping

from incident_operator.core.runbooks import advice

ERRORS: Mapping[str, str] = {
    "yaml": "what kubectl cannot read, or reads otherwise than it is written",
    "schema": "what the apiserver refuses",
    "runbook": "what keeps the Runbook from being Ready",
}
_WARNINGS: Mapping[str, tuple[str, str]] = {
    "yaml-word": (
        "`y`, `n`, `yes`, `no`, `on` or `off` without quotes as a value",
        "The cluster reads it as a boolean.",
    ),
    "empty-field": (
        "a field that is written and has no value, such as `expect:`",
        "The apiserver drops the field, and the step runs without it.",
    ),
    "same-name": (
        "two documents of one file that are the same object",
        "The apiserver keeps only the last of them, without a warning.",
    ),
    "next-release": (
        "a time that is longer than a step may take",
        "The next release refuses it.",
    ),
}

WARNINGS: Mapping[str, tuple[str, str]] = {
    **_WARNINGS,
    **{each.name: (each.about, each.reason) for each in advice.RULES},
}
"""Name → what it finds, and why that matters; for the docs."""
ABOUT: Mapping[str, str] = {**ERRORS, **{name: f"{about}. {reason}" for name, (about, reason) in WARNINGS.items()}}
"""All of them, in the order in which they are listed."""
