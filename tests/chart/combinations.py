"""Values as other people's clusters need them: what the charts of external-dns and kube-prometheus-stack also take."""

from typing import Any

Values = dict[str, Any]

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_SMALL = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}
_KEDA: Values = {"enabled": True, "kind": "keda", "keda": {"prometheusUrl": "https://thanos.example.com"}}
_CRON = {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *"}}


def _beside(name: str, **more: object) -> Values:
    """Return a container that a namespace of the level `restricted` takes."""
    image = "registry.example.com/tool:1"
    return {"name": name, "image": image, "resources": _SMALL, "securityContext": RESTRICTED, **more}


COMBINATIONS: dict[str, Values] = {
    # Names.
    "name": {"nameOverride": "vision"},
    "name that the release has in its own": {"nameOverride": "infer"},
    "full name": {"fullnameOverride": "classifier"},
    "both names": {"nameOverride": "vision", "fullnameOverride": "classifier"},
    "reserved": {"enabled": False},
    # What an umbrella says to all.
    "mirror": {"global": {"imageRegistry": "mirror.example.com:5000"}},
    "mirror with a path": {"global": {"imageRegistry": "mirror.example.com/proxy/"}},
    "mirror of a short name": {"global": {"imageRegistry": "mirror.example.com"}, "image": {"repository": "triton/x"}},
    "pull secrets of all": {"global": {"imagePullSecrets": ["by-name", {"name": "by-object"}]}},
    "pull secrets of all and own": {
        "global": {"imagePullSecrets": ["shared"]},
        "imagePullSecrets": [{"name": "own"}, {"name": "shared"}],
    },
    "more from an umbrella": {"global": {"domain": "example.com", "postgresql": {"auth": {"database": "x"}}}},
    # Labels and annotations.
    "labels of all": {"commonLabels": {"team": "vision", "cost-centre": "0042"}},
    "labels that look like others": {"commonLabels": {"a": "on", "b": "2024", "c": "0x1f", "d": "null", "e": "1e3"}},
    "labels that are ours": {"commonLabels": {"app.kubernetes.io/name": "other", "helm.sh/chart": "x"}},
    "annotations of all": {"commonAnnotations": {"example.com/owner": "yes"}},
    "labels of pods": {"podLabels": {"sidecar.istio.io/inject": "false", "app.kubernetes.io/component": "x"}},
    "reloader": {"deploymentAnnotations": {"reloader.stakater.com/auto": "true"}},
    # More of a pod.
    "volumes": {
        "extraVolumes": [
            {"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "ca", "secret": {"secretName": "ca"}},
        ],
        "extraVolumeMounts": [
            {"name": "cache", "mountPath": "/cache"},
            {"name": "ca", "mountPath": "/etc/ssl/own", "readOnly": True},
        ],
    },
    "container before": {"initContainers": [_beside("fetch", command=["true"])]},
    "sidecar of Kubernetes": {"initContainers": [_beside("proxy", restartPolicy="Always")]},
    "container beside": {
        "extraContainers": [_beside("log", args=["--level", "on"], env=[{"name": "N", "value": "1"}])]
    },
    "volume shared by two": {
        "extraVolumes": [{"name": "shared", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "extraContainers": [_beside("watch", volumeMounts=[{"name": "shared", "mountPath": "/shared"}])],
    },
    "environment": {
        "envFrom": [{"configMapRef": {"name": "tuning"}}, {"secretRef": {"name": "more", "optional": True}}],
        "extraEnv": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    },
    "objects": {
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": "tuning",
                    "namespace": "{{ .Release.Namespace }}",
                    "labels": {"app.kubernetes.io/instance": "{{ .Release.Name }}", "helm.sh/chart": "none"},
                },
                "data": {"a": "on"},
            }
        ]
    },
    "objects as text": {
        "extraObjects": [
            "apiVersion: v1\nkind: ConfigMap\n"
            'metadata: {{- include "triton.metadata" (dict "root" . "suffix" "-x") | nindent 2 }}\n'
            "data: {release: '{{ .Release.Name }}'}\n"
        ]
    },
    # Who the pods are, and where they go.
    "account by name": {"serviceAccount": {"name": "vision", "annotations": {"a": "on"}}},
    "account that is there": {"serviceAccount": {"create": False, "name": "there"}},
    "default account": {"serviceAccount": {"create": False}},
    "names by others": {
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]},
    },
    "scheduler": {"schedulerName": "volcano", "priorityClassName": "1000"},
    # GPUs of other kinds.
    "claims": {
        "gpu": {"count": 0},
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
        "resources": {"claims": [{"name": "gpu"}]},
    },
    "shared GPU": {"gpu": {"resource": "nvidia.com/gpu.shared"}},
    "MIG": {"gpu": {"resource": "nvidia.com/mig-3g.20gb"}, "models": {"m": {"instances": 4, "maxBatchSize": 256}}},
    "Python on a GPU": {"pythonBackend": True, "models": {"m": {}}},
    "no Python on a CPU": {"gpu": {"enabled": False}, "pythonBackend": False},
    # Services.
    "load balancer inside": {
        "service": {
            "type": "LoadBalancer",
            "loadBalancerClass": "service.k8s.aws/nlb",
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
            "externalTrafficPolicy": "Local",
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"},
        }
    },
    "node ports": {"service": {"type": "NodePort", "nodePorts": {"http": 30080, "grpc": 30081}}},
    "one node port": {
        "service": {"type": "NodePort", "nodePorts": {"grpc": 30081}, "externalTrafficPolicy": "Cluster"}
    },
    "two families": {"service": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}},
    "near ones only": {"service": {"internalTrafficPolicy": "Local", "labels": {"tier": "0"}}},
    "gRPC outside": {
        "ingress": {"className": "nginx", "grpc": {"enabled": True, "host": "g.example.com", "tlsSecret": "tls"}}
    },
    "both outside": {
        "ingress": {
            "enabled": True,
            "host": "h.example.com",
            "tlsSecret": "tls",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"},
            "grpc": {
                "enabled": True,
                "host": "g.example.com",
                "tlsSecret": "tls",
                "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"},
            },
        }
    },
    # Autoscaling.
    "several metrics": {
        "autoscaling": {
            "enabled": True,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "30"}},
                },
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                },
            ],
        }
    },
    "KEDA that logs in": {
        "autoscaling": {
            **_KEDA,
            "keda": {**_KEDA["keda"], "authModes": "bearer", "authenticationRef": {"name": "thanos"}},
        }
    },
    "KEDA with a fallback": {
        "autoscaling": {**_KEDA, "keda": {**_KEDA["keda"], "fallback": {"failureThreshold": 3, "replicas": 4}}}
    },
    "KEDA down to nothing": {
        "autoscaling": {**_KEDA, "minReplicas": 0, "keda": {**_KEDA["keda"], "triggers": [_CRON], "cooldownPeriod": 60}}
    },
    # Monitoring.
    "monitors elsewhere": {
        "metrics": {
            "namespace": "monitoring",
            "scrapeTimeout": "5s",
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "gpu_uuid"}],
        }
    },
    "pod monitor elsewhere": {"metrics": {"namespace": "monitoring", "podMonitor": {"enabled": True}}},
    "alerts by hand": {
        "metrics": {
            "prometheusRule": {
                "enabled": True,
                "runbook": "https://wiki.example.com/triton",
                "alerts": {
                    "TritonQueueGrows": {"enabled": False},
                    "TritonCancelled": {"severity": "page", "for": "15m"},
                },
            }
        }
    },
    "dashboard in a folder": {
        "metrics": {"dashboard": {"enabled": True, "annotations": {"grafana_folder": "2024"}, "namespace": "grafana"}}
    },
    # Sections with nothing in them.
    "empty sections": {"gpu": None, "image": {"pullPolicy": None}, "metrics": None, "autoscaling": {"keda": None}},
}
