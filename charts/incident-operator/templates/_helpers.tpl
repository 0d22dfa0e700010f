{{- define "incident-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "incident-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "incident-operator.fullname" .) -}}
{{- end -}}

{{- /* The operator's own user name, which the admission policies trust. */ -}}
{{- define "incident-operator.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "incident-operator.serviceAccount" . }}
{{- end -}}

{{- define "incident-operator.tokenSecret" -}}
{{- .Values.webhook.token.existingSecret | default (printf "%s-webhook" (include "incident-operator.fullname" .)) -}}
{{- end -}}

{{- define "incident-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "incident-operator.labels" -}}
{{ include "incident-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Incidents are written in listed namespaces only, so one for unmatched alerts has to be among them. */ -}}
{{- define "incident-operator.unmatchedNamespace" -}}
{{- with .Values.unmatchedNamespace -}}
{{- if not (has . $.Values.namespaces) -}}
{{- fail (printf "unmatchedNamespace: %s is not one of namespaces, so the operator may open no Incident there" .) -}}
{{- end -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- /* The operator refuses to start with one that it does not serve: nobody would read its Runbooks. */ -}}
{{- define "incident-operator.globalNamespaces" -}}
{{- range .Values.globalNamespaces -}}
{{- if and $.Values.namespaces (not (has . $.Values.namespaces)) -}}
{{- fail (printf "globalNamespaces: %s is not one of namespaces, so the operator would not read its Runbooks" .) -}}
{{- end -}}
{{- end -}}
{{- join "," .Values.globalNamespaces -}}
{{- end -}}
