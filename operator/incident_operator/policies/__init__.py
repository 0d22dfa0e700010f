"""The admission policies, which make people's answers trustworthy and limit the operator: the source of the chart's and crds/' copies.

The operator compares what is in place with what is here before it trusts an approval (`engine/readiness.py`).
Nothing is decided or requested here.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from incident_operator.core.outcomes import Json

OPERATOR = "@operator@"
"""Stands in the files for the operator's own user name."""
VALIDATING = ("incident-approval.yaml", "incident-status.yaml", "runbook-editor.yaml")
"""Files whose objects must be in place, unweakened, for an approval to be trusted."""
LIMITING = ("operator-configmaps.yaml", "incident-deletion.yaml", "label-counts.yaml", "incident-hints.yaml")
"""What the operator's own account may not write, what nobody deletes or grows, and what people are warned of; no approval depends on these."""
STAMPING = "editor-stamps.yaml"
"""A convenience for editors; Kubernetes serves its kind from 1.36 on."""


@dataclass(frozen=True, slots=True)
class Guard:
    """An object that must be in place, and where the apiserver has it."""

    path: str
    """For a GET, e.g. `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/…`."""
    manifest: Json


def text(file: str) -> str:
    """Return one of the files as it is, with the placeholder for the operator's name."""
    return resources.files(__name__).joinpath(file).read_text(encoding="utf-8")


def guards(operator: str) -> tuple[Guard, ...]:
    """Return the policies and bindings that must be in place for an operator of that user name.

    Raises ValueError for a user name that would end the quotation in which it stands.
    """
    if not operator or set(operator) & set("'\\\n"):
        raise ValueError(f"not a user name that a policy can hold: {operator!r}")
    manifests = [manifest for file in VALIDATING for manifest in yaml.safe_load_all(text(file))]
    return tuple(Guard(_path(manifest), _named(manifest, operator)) for manifest in manifests)


def _path(manifest: Json) -> str:
    kind = manifest["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"/apis/{manifest['apiVersion']}/{plural}/{manifest['metadata']['name']}"


def _named(node: Any, operator: str) -> Any:
    """Return the manifest with the placeholder replaced, wherever it stands."""
    if isinstance(node, dict):
        return {key: _named(value, operator) for key, value in node.items()}
    if isinstance(node, list):
        return [_named(value, operator) for value in node]
    return node.replace(OPERATOR, operator) if isinstance(node, str) else node
