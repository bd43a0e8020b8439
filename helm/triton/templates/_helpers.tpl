{{/*
Gives an empty section of the values its defaults, of which Helm has only left that there is nothing; every template does so first. Makes no text.
*/}}
{{- define "triton.defaults" -}}
{{- include "triton.fill" (list .Values (include "triton.knownDefaults" . | fromJson)) -}}
{{- end -}}

{{- define "triton.fill" -}}
{{- $values := first . -}}
{{- range $name, $known := last . -}}
{{- if or (not (hasKey $values $name)) (kindIs "invalid" (index $values $name)) -}}
{{- $_ := set $values $name $known.default -}}
{{- else if hasKey $known "within" -}}
{{- include "triton.fill" (list (index $values $name) $known.within) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The chart's name or, in an umbrella, the alias under which it is there: two of one chart are told apart by it. */}}
{{- define "triton.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/*
The release's name where it contains "triton", else RELEASE-triton. Under an alias always both, or two of them could get one name; and the other
way round where the release's name begins with a digit, which no Service's may. checks.yaml says how long it may be.
*/}}
{{- define "triton.fullname" -}}
{{- $name := include "triton.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if regexMatch "^[0-9]" .Release.Name -}}
{{- printf "%s-%s" $name .Release.Name -}}
{{- else if and (contains $name .Release.Name) (or .Values.nameOverride (eq .Chart.Name "triton")) -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}

{{/* What never changes in a release's life: a Deployment's selector cannot. */}}
{{- define "triton.selectorLabels" -}}
app.kubernetes.io/name: {{ include "triton.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{/*
The metadata of an object: `include "triton.metadata" (dict "root" $ "suffix" "-x" "labels" $map "annotations" $map "namespace" $text "component" $text)`,
of which only root must be given. Labels of ours cannot be overridden: others find the objects by them.
*/}}
{{- define "triton.metadata" -}}
{{- $root := .root -}}
{{- $labels := include "triton.selectorLabels" $root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" (include "triton.version" $root) -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-._") -}}
{{- with .component -}}
{{- $_ := set $labels "app.kubernetes.io/component" . -}}
{{- end -}}
name: {{ printf "%s%s" (include "triton.fullname" $root) (.suffix | default "") | quote }}
namespace: {{ .namespace | default $root.Release.Namespace | quote }}
labels: {{- merge $labels (.labels | default dict) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge dict (.annotations | default dict) $root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A label that tells images apart: the tag, or the beginning of the digest. */}}
{{- define "triton.version" -}}
{{- if .Values.image.digest -}}
{{- .Values.image.digest | replace ":" "-" | trunc 19 -}}
{{- else -}}
{{- .Values.image.tag | trunc 63 | trimAll "-._" -}}
{{- end -}}
{{- end -}}

{{/* The server's image. */}}
{{- define "triton.image" -}}
{{- $repository := include "triton.mirrored" (list . .Values.image.repository) -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository .Values.image.tag -}}
{{- end -}}
{{- end -}}

{{/* `include "triton.mirrored" (list $ "HOST/NAME")`: an image's name, in which global.imageRegistry takes the place of the host. */}}
{{- define "triton.mirrored" -}}
{{- $name := last . -}}
{{- with (first .).Values.global.imageRegistry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $name "") -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Those of the umbrella, which may be names alone, and ours. */}}
{{- define "triton.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $secrets | uniq -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "triton.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "triton.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/*
"true" where Helm looks into a cluster. `helm template`, and so Argo CD, does not: then `lookup` finds nothing whatever there is. Every namespace has the
account; one that is not made yet has none, and who may make it may look at another. deploy-triton, which renders the chart to see what it
asks for, says so by an API that there is not.
*/}}
{{- define "triton.cluster" -}}
{{- if or (.Capabilities.APIVersions.Has "triton-serving/preflight") (lookup "v1" "ServiceAccount" .Release.Namespace "default") (lookup "v1" "Namespace" "" "default") -}}
true
{{- end -}}
{{- end -}}

{{- define "triton.adminSecret" -}}
{{- .Values.admin.existingSecret | default (printf "%s-admin" (include "triton.fullname" .)) -}}
{{- end -}}

{{/*
The admin key in base64: the one that is in the Secret, or a new one; empty where a Secret of the user's is not there (yet). All templates of
one rendering get the same.
*/}}
{{- define "triton.adminKey" -}}
{{- if not (hasKey .Values "adminKeyOfThisRendering") -}}
{{- $former := lookup "v1" "Secret" .Release.Namespace (include "triton.adminSecret" .) -}}
{{- $new := ternary "" (randAlphaNum 40 | b64enc) (not (empty .Values.admin.existingSecret)) -}}
{{- $_ := set .Values "adminKeyOfThisRendering" (dig "data" "key" "" $former | default $new) -}}
{{- end -}}
{{- .Values.adminKeyOfThisRendering -}}
{{- end -}}

{{/* The path of the server that says whether the stable version can answer; with an agent that one knows better. */}}
{{- define "triton.readyPath" -}}
{{- with .Values.readiness -}}
{{- if include "triton.agent" $ -}}
/v2/health/live
{{- else if not .model -}}
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

{{/* So many MiB as Kubernetes writes them itself, or `kubectl apply` would find a difference each time. */}}
{{- define "triton.memory" -}}
{{- ternary (printf "%dGi" (div . 1024)) (printf "%dMi" .) (eq (mod . 1024) 0) -}}
{{- end -}}

{{/* "true" where models may run on a Python-based backend: those of the CPU image do, ONNX models of the GPU image do not. */}}
{{- define "triton.shm" -}}
{{- if kindIs "bool" .Values.pythonBackend -}}
{{- or .Values.pythonBackend (not (empty .Values.shmSize)) -}}
{{- else -}}
{{- or (not .Values.gpu.enabled) (not (empty .Values.shmSize)) -}}
{{- end -}}
{{- end -}}

{{/*
The size of /dev/shm in MiB, 0 for none. A Python-based backend holds 1 MiB for each instance (of which each GPU has its own) of each version, which grows to its
largest batch and never shrinks. Measured with Triton 24.10: 20 MiB for 32 images of FP32 (224 x 224 x 3 x 4 bytes is
0.575 MiB, and outputs), so 0.625 MiB for each image. When it is full requests fail, while the server still counts as
ready: hence 32 MiB more, and no less than 128 MiB. Every model has room for as many versions as triton.versions says,
whichever the plan names: another size would be another pod.
*/}}
{{- define "triton.shmMebibytes" -}}
{{- if ne (include "triton.shm" .) "true" -}}
0
{{- else if .Values.shmSize -}}
{{- include "triton.mebibytes" .Values.shmSize -}}
{{- else -}}
{{- $sum := 32.0 -}}
{{- $devices := ternary .Values.gpu.count 1 .Values.gpu.enabled -}}
{{- range .Values.models -}}
{{- $copies := mul (include "triton.versions" .) (.instances | default 1) $devices -}}
{{- $sum = addf $sum (mulf $copies (addf 1 (mulf 0.625 (default 32 .maxBatchSize)))) -}}
{{- end -}}
{{- max 128 (mul 16 (ceil (divf $sum 16.0) | int64)) -}}
{{- end -}}
{{- end -}}

{{/* For so many versions of each model at once /dev/shm has room: those that are served, a candidate, and one that is about to be. */}}
{{- define "triton.versions" -}}
8
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

{{/* Nodes with GPUs have the taint nvidia.com/gpu, whatever slices of them are called; some have one named after the slices too. */}}
{{- define "triton.tolerations" -}}
{{- if .Values.gpu.enabled }}
{{- range list "nvidia.com/gpu" .Values.gpu.resource | uniq }}
- key: {{ . | quote }}
  operator: Exists
  effect: NoSchedule
{{- end }}
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

{{/* The kinds of address of every Service; empty: the cluster's default. */}}
{{- define "triton.ipFamilies" -}}
{{- with .Values.service.ipFamilyPolicy -}}
ipFamilyPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
