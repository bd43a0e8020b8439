{{/* The release's name where it contains "triton", else RELEASE-triton. checks.yaml says how long it may be. */}}
{{- define "triton.fullname" -}}
{{- ternary .Release.Name (printf "%s-triton" .Release.Name) (contains "triton" .Release.Name) -}}
{{- end -}}

{{/* What never changes in a release's life: a Deployment's selector cannot. */}}
{{- define "triton.selectorLabels" -}}
app.kubernetes.io/name: triton
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "triton.otherLabels" -}}
app.kubernetes.io/version: {{ include "triton.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "triton.labels" -}}
{{ include "triton.selectorLabels" . }}
{{ include "triton.otherLabels" . }}
{{- end -}}

{{/* A label that tells images apart: the tag, or the beginning of the digest. */}}
{{- define "triton.version" -}}
{{- if .Values.image.digest -}}
{{- .Values.image.digest | replace ":" "-" | trunc 19 -}}
{{- else -}}
{{- .Values.image.tag | trunc 63 | trimAll "-._" -}}
{{- end -}}
{{- end -}}

{{- define "triton.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository .Values.image.tag -}}
{{- end -}}
{{- end -}}

{{- define "triton.adminSecret" -}}
{{- .Values.admin.existingSecret | default (printf "%s-admin" (include "triton.fullname" .)) -}}
{{- end -}}

{{/* The path that says whether the stable version can answer. */}}
{{- define "triton.readyPath" -}}
{{- with .Values.readiness -}}
{{- if not .model -}}
/v2/health/ready
{{- else if .version -}}
/v2/models/{{ .model }}/versions/{{ .version }}/ready
{{- else -}}
/v2/models/{{ .model }}/ready
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where an upgrade starts a pod before it ends one. */}}
{{- define "triton.surge" -}}
{{- if kindIs "bool" .Values.rollout.surge -}}
{{- .Values.rollout.surge -}}
{{- else -}}
{{- not .Values.gpu.enabled -}}
{{- end -}}
{{- end -}}

{{/* The fewest pods that there are. */}}
{{- define "triton.minReplicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled -}}
{{- end -}}

{{/* A quantity of memory in MiB, rounded up. */}}
{{- define "triton.mebibytes" -}}
{{- $number := regexFind "^[0-9.]+" (toString .) | float64 -}}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) -}}
{{- $bytes := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- divf (mulf $number (get $bytes $unit)) 1048576.0 | ceil | int64 -}}
{{- end -}}

{{/*
The size of /dev/shm in MiB. A Python-based backend holds 1 MiB for each instance (of which each GPU has its own) of each version, which grows to its
largest batch and never shrinks. Measured with Triton 24.10: 20 MiB for 32 images of FP32 (224 x 224 x 3 x 4 bytes is
0.575 MiB, and outputs), so 0.625 MiB for each image. When it is full requests fail, while the server still counts as
ready: hence 32 MiB more, and no less than 128 MiB. ONNX models in the production image do without; what is not used
costs nothing.
*/}}
{{- define "triton.shmMebibytes" -}}
{{- if .Values.shmSize -}}
{{- include "triton.mebibytes" .Values.shmSize -}}
{{- else -}}
{{- $sum := 32.0 -}}
{{- $devices := ternary .Values.gpu.count 1 .Values.gpu.enabled -}}
{{- range .Values.models -}}
{{- $copies := mul (.versions | default 1) (.instances | default 1) $devices -}}
{{- $sum = addf $sum (mulf $copies (addf 1 (mulf 0.625 (default 32 .maxBatchSize)))) -}}
{{- end -}}
{{- max 128 (mul 16 (ceil (divf $sum 16.0) | int64)) -}}
{{- end -}}
{{- end -}}

{{/* The models whose configuration this release gives, as a JSON object. */}}
{{- define "triton.overrides" -}}
{{- $texts := dict -}}
{{- range $name, $model := .Values.models -}}
{{- with $model.config -}}
{{- $_ := set $texts $name . -}}
{{- end -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{/*
The name of the configurations that the server prefers to its models' config.pbtxt. Triton takes one name, so on GPUs
those of this release lie in the place of the image's own for GPUs.
*/}}
{{- define "triton.configName" -}}
{{- ternary "gpu" "release" .Values.gpu.enabled -}}
{{- end -}}

{{/* What no pod of this chart may do: so Pod Security's level `restricted` takes them. */}}
{{- define "triton.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "triton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "triton.tolerations" -}}
{{- if .Values.gpu.enabled }}
- key: {{ .Values.gpu.resource }}
  operator: Exists
  effect: NoSchedule
{{- end }}
{{- with .Values.tolerations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Selects this release's pods in Prometheus, however they are scraped. */}}
{{- define "triton.series" -}}
namespace={{ .Release.Namespace | quote }},pod=~"{{ include "triton.fullname" . }}-[a-z0-9]+-[a-z0-9]+"
{{- end -}}

{{/*
Up as Kubernetes does by default (at once, twice as many or four more every 15 s), since a queue that grows costs
requests; down one by one, since a pod takes long to start.
*/}}
{{- define "triton.scaling" -}}
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: 60
{{- end -}}
