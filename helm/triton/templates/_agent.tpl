{{/* "true" where an agent makes each server serve the plan. */}}
{{- define "triton.agent" -}}
{{- if eq .Values.modelControl "agent" -}}
true
{{- end -}}
{{- end -}}

{{/*
The serving plan, as the agent reads it. A model of which the values say no version has no part in it: all that the image has of it are served, or
nothing where it is not in there.
*/}}
{{- define "triton.plan" -}}
{{- $models := dict -}}
{{- range $name, $model := .Values.models -}}
{{- $serve := $model.serve | default list -}}
{{- $digests := $model.digests | default dict -}}
{{- if or $serve $digests $model.candidate -}}
{{- $_ := set $models $name (dict "serve" $serve "candidate" $model.candidate "digests" $digests) -}}
{{- end -}}
{{- end -}}
{{- dict "schema" 1 "generation" .Values.plan.generation "models" $models | toJson -}}
{{- end -}}

{{/* The agent, and what must have ended before it starts. */}}
{{- define "triton.initContainers" -}}
{{- with .Values.initContainers }}
{{ toYaml . }}
{{- end }}
{{- if include "triton.agent" . }}
{{- if .Values.agent.image }}
# The agent's image does not have the models of the server's: both read this copy.
- name: models
  image: {{ include "triton.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
  command: [cp, -r, /models/., /copy]
  resources:
    requests:
      cpu: 50m
      memory: 64Mi
    limits:
      memory: 256Mi
  securityContext: {{- include "triton.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: image
      mountPath: /copy
{{- end }}
- name: agent
  image: {{ include "triton.agentImage" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
  # It runs beside the server, and starts before it.
  restartPolicy: Always
  command:
    - sh
    - -c
    - |
      if ! cd /opt/triton-agent 2>/dev/null || ! command -v python3 >/dev/null; then
        echo 'This image has no agent. Build it anew with `invoke build-image`, or name one that has the agent in agent.image, or set modelControl: none.' >&2
        exit 1
      fi
      # A container that is started anew takes its pod out of the Service for seconds. So an agent that ran and ended, which
      # harms nobody, is started again in here; one that cannot run ends the container, and Kubernetes tells.
      trap 'kill "$agent"; wait "$agent"; exit 0' TERM
      while :; do
        since=$(date +%s)
        python3 -m scripts.agent "$@" &
        agent=$!
        wait "$agent"
        status=$?
        [ $(($(date +%s) - since)) -ge 10 ] || exit "$status"
      done
    - agent
  args:
    # The pod's addresses, of IPv4 and of IPv6.
    - "--host=::"
    - --http-host={{ include "triton.loopback" . }}
    - --image=/models
    - --served=/served/models
    - --work=/served/work
    - --room={{ mul 1048576 (include "triton.mebibytes" .Values.agent.size | int64) }}
    - --plan=/plan/plan.json
    - --traffic=/plan
    {{- if .Values.gpu.enabled }}
    - --config-name=gpu
    {{- end }}
    {{- if include "triton.overrides" . | fromJson }}
    - --overrides=/overrides
    {{- end }}
  env:
    # The root cannot be written.
    - name: PYTHONDONTWRITEBYTECODE
      value: "1"
    {{- if .Values.gpu.enabled }}
    # Where NVIDIA's runtime is the nodes' default, it would show every GPU to any container of this image.
    - name: NVIDIA_VISIBLE_DEVICES
      value: void
    {{- end }}
    {{- with .Values.agent.store }}
    - name: MODEL_STORE
      value: {{ . | quote }}
    {{- end }}
    {{- include "triton.adminKeyVariable" . | nindent 4 }}
    {{- with .Values.agent.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: agent
      containerPort: 8003
  # Then the folder that the server serves is there. It is empty at first: the agent loads each model when server and
  # versions are there, so that one bad version keeps no other from being served.
  startupProbe:
    httpGet:
      path: /v1/state
      port: agent
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 120
  # The server stays as it is when the agent is restarted.
  livenessProbe:
    httpGet:
      path: /v1/state
      port: agent
    periodSeconds: 10
    timeoutSeconds: 10
    failureThreshold: 6
  resources: {{- toYaml .Values.agent.resources | nindent 4 }}
  securityContext: {{- include "triton.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: served
      mountPath: /served
    # As a folder, or a change of the plan would not reach it.
    - name: plan
      mountPath: /plan
      readOnly: true
    {{- if .Values.agent.image }}
    - name: image
      mountPath: /models
      readOnly: true
    {{- end }}
    {{- if include "triton.overrides" . | fromJson }}
    - name: models
      mountPath: /overrides
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Where the server's HTTP is within its pod: it listens on IPv4 alone, or by --http-address=ipv6:ADDRESS on IPv6 alone (Triton 24.10). */}}
{{- define "triton.loopback" -}}
{{- $loopback := "127.0.0.1" -}}
{{- range .Values.extraArgs -}}
{{- if hasPrefix "--http-address=" (toString .) -}}
{{- $loopback = ternary "::1" "127.0.0.1" (hasPrefix "--http-address=ipv6:" (toString .)) -}}
{{- end -}}
{{- end -}}
{{- $loopback -}}
{{- end -}}

{{- define "triton.agentImage" -}}
{{- if .Values.agent.image -}}
{{- include "triton.mirrored" (list . .Values.agent.image) -}}
{{- else -}}
{{- include "triton.image" . -}}
{{- end -}}
{{- end -}}

{{/* kubelet puts the key in, so it is in no object. */}}
{{- define "triton.adminKeyVariable" -}}
{{- if .Values.admin.restrictedApis -}}
- name: TRITON_ADMIN_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "triton.adminSecret" . | quote }}
      key: key
{{- end -}}
{{- end -}}

{{/*
A probe of the server that asks the agent for a path (from a list of $ and the path): its word counts. Where it is away, which is no reason to take
traffic or life from a server that serves, the server itself is asked whether it lives. What is wrong is printed, and so stands in the pod's events.
*/}}
{{- define "triton.agentProbe" -}}
{{- $loopback := include "triton.loopback" (first .) -}}
{{- $path := last . -}}
exec:
  command:
    - bash
    - -c
    - |
      ask() { exec 3<>"/dev/tcp/{{ $loopback }}/$1" && printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 && read -r -t 2 answer <&3; }
      ask 8003 {{ $path }} || ask 8000 /v2/health/live
      [[ $answer == *' 200 '* ]] || { sed '1,/^\r$/d' <&3; exit 1; }
{{- end -}}
