"""The CRDs as chart templates: a value decides whether they are installed, another whether they outlive the release."""

_LABELS = '  labels:\n    {{- include "incident-operator.labels" . | nindent 4 }}\n'
_KEEP = (
    "  {{- if .Values.crds.keep }}\n"
    "  annotations:\n"
    "    helm.sh/resource-policy: keep\n"
    "  {{- end }}\n"
)  # fmt: skip


def definition_template(text: str) -> str:
    """Return a CRD manifest as a chart template.

    Raises ValueError where a description holds what the template language would interpret.
    """
    if "{{" in text:
        raise ValueError("a description holds '{{', which would be read as a template action")
    labelled = text.replace("metadata:\n", f"metadata:\n{_LABELS}{_KEEP}", 1)
    return "{{- if .Values.crds.enabled }}\n" + labelled + "{{- end }}\n"
