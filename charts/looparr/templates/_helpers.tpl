{{- define "looparr.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- /* Short enough for what is put behind it: a Job's name has 63 characters at most. */}}
{{- define "looparr.fullname" -}}
{{- $long := printf "%s-%s" .Release.Name (include "looparr.name" .) }}
{{- $both := ternary .Release.Name $long (contains (include "looparr.name" .) .Release.Name) }}
{{- .Values.fullnameOverride | default $both | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* A name for what lies outside of the release's namespace, where another release may have the same. */}}
{{- define "looparr.outsideName" -}}
{{ .name }}:{{ .root.Release.Namespace }}
{{- end }}

{{- define "looparr.selectorLabels" -}}
app.kubernetes.io/name: {{ include "looparr.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "looparr.labels" -}}
app.kubernetes.io/name: {{ include "looparr.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "looparr.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "looparr.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "looparr.image" -}}
{{- with .Values.image }}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- with .digest }}@{{ . }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "looparr.claim" -}}
{{ .Values.store.persistence.existingClaim | default (printf "%s-store" (include "looparr.fullname" .)) }}
{{- end }}

{{- /* What every pod of the chart has. Links to Services would be variables such as LOOPARR_PORT, which mean nothing. */}}
{{- define "looparr.pod" -}}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* What every container of the chart has. */}}
{{- define "looparr.container" -}}
image: {{ include "looparr.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end }}
