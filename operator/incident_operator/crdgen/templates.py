"""CRDs and approval policies as crds/ and the chart carry them: one source, with what the chart's values decide templated.

A value decides whether the CRDs are installed, another whether they outlive the release; the operator's name is filled in.
"""

from incident_operator import policies

DEFAULT_OPERATOR = "system:serviceaccount:incident-operator-system:incident-operator"
"""The operator's user name in the plain manifests; the chart computes its own."""

_TEMPLATED_OPERATOR = '{{ include "incident-operator.username" . }}'
_TEMPLATED_LABELS = 'metadata:\n  labels:\n    {{- include "incident-operator.labels" . | nindent 4 }}\n'
_ENABLED = "{{- if .Values.policies.enabled }}\n"
_STAMPS_SERVED = (
    "{{- if and .Values.policies.enabled"
    ' (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") }}\n'
)
_END = "{{- end }}\n"
_LABELS = '  labels:\n    {{- include "incident-operator.labels" . | nindent 4 }}\n'
_KEEP = (
    "  {{- if .Values.crds.keep }}\n"
    "  annotations:\n"
    "    helm.sh/resource-policy: keep\n"
    "  {{- end }}\n"
)  # fmt: skip


def plain_policy(text: str) -> str:
    """Return a policy file for `kubectl apply`, trusting the default operator."""
    return text.replace(policies.OPERATOR, DEFAULT_OPERATOR)


def policy_template(file: str) -> str:
    """Return a policy file as a chart template, trusting the release's own service account.

    Raises ValueError where the source holds what the template language would interpret.
    """
    text = policies.text(file)
    if "{{" in text:
        raise ValueError(f"{file}: '{{{{' would be read as a template action")
    labelled = text.replace("metadata:\n", _TEMPLATED_LABELS)
    opening = _STAMPS_SERVED if file == policies.STAMPING else _ENABLED
    return opening + labelled.replace(policies.OPERATOR, _TEMPLATED_OPERATOR) + _END


def definition_template(text: str) -> str:
    """Return a CRD manifest as a chart template.

    Raises ValueError where a description holds what the template language would interpret.
    """
    if "{{" in text:
        raise ValueError("a description holds '{{', which would be read as a template action")
    labelled = text.replace("metadata:\n", f"metadata:\n{_LABELS}{_KEEP}", 1)
    return "{{- if .Values.crds.enabled }}\n" + labelled + _END
