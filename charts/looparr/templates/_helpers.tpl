{{- define "looparr.labels" -}}
app.kubernetes.io/name: looparr
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Cluster-wide names hold the namespace, so that two releases do not meet. */}}
{{- define "looparr.clusterName" -}}
{{- if eq .Release.Namespace .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else }}{{ .Release.Namespace }}-{{ .Values.serviceAccount.name }}
{{- end }}
{{- end }}
