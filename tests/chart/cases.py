"""The values that the chart is rendered with."""

from tests.chart.combinations import COMBINATIONS
from tests.chart.combinations import Values as Values

DIGEST = "sha256:" + "0123456789abcdef" * 4
# The least that the chart takes where there is a cluster; Helm makes the admin key then.
INSTALLED: Values = {"image": {"repository": "registry.example.com/triton-infer", "digest": DIGEST}}
# The least without one.
LEAST: Values = {**INSTALLED, "admin": {"existingSecret": "triton-infer-admin"}}
CPU: Values = {"gpu": {"enabled": False}}

# What a cluster before Kubernetes 1.29 takes.
NO_AGENT: Values = {"modelControl": "none"}

# Each flag alone.
FLAGS: dict[str, Values] = {
    "tag": {"image": {"digest": "", "tag": "0f1e2d3c-dirty"}},
    "pull secret": {"imagePullSecrets": [{"name": "pull"}]},
    "stable version": {"readiness": {"model": "resnet50", "version": 1}},
    "stable model": {"readiness": {"model": "my_Model.v2"}, "models": {"my_Model.v2": {}}},
    "mig slices": {"gpu": {"resource": "nvidia.com/mig-1g.10gb", "count": 2, "runtimeClassName": "nvidia"}},
    "models": {"models": {"resnet50": {"serve": [1, 3], "instances": 2}, "mobilenetv2": {"maxBatchSize": 128}}},
    "config": {"models": {"resnet50": {"config": 'name: "resnet50"\nversion_policy { all { } }\n'}, "Other_1.b": {}}},
    "two configs": {"models": {"a": {"config": 'name: "a"\n'}, "b": {"config": 'name: "b"\n'}}},
    "no model control": NO_AGENT,
    "plan": {
        "plan": {"generation": 7},
        "models": {"resnet50": {"serve": [2, 3], "candidate": 4, "digests": {"3": "0123456789abcdef" * 4}}, "m": {}},
    },
    "store": {
        "agent": {
            "store": "s3://models/production",
            "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
            "size": "1.5Gi",
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "512Mi"}},
        }
    },
    "store in a volume": {
        "agent": {"store": "file:///mnt/models/production"},
        "extraVolumes": [{"name": "nfs", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "nfs", "mountPath": "/mnt/models"}],
    },
    "agent of another image": {"agent": {"image": f"registry.example.com/triton-agent@{DIGEST}"}},
    "no agent limits": {"agent": {"resources": {"requests": None, "limits": None}}},
    "another admin key": {"admin": {"existingSecret": "vault"}},
    "open": {"admin": {"restrictedApis": []}},
    "surge": {"rollout": {"surge": True}},
    "no surge": {"rollout": {"surge": False}},
    "recreate": {"rollout": {"recreate": True}},
    "no pause": {"preStopSeconds": 0},
    "long exit": {"exitTimeoutSeconds": 300, "preStopSeconds": 45, "startup": {"seconds": 1805}},
    "resources": {
        "resources": {"requests": {"cpu": "500m", "memory": "1.5Gi"}, "limits": {"cpu": 2, "memory": "2000M"}},
        "shmSize": "1Gi",
        "pythonBackend": True,
        "tmpSize": "64Mi",
    },
    "no memory limit": {"resources": {"limits": {"memory": None}}},
    "no limits": {"resources": {"limits": None}},
    "no requests": {"gpu": {"enabled": False}, "resources": {"requests": None}},
    "any user": {"runAsUser": None},
    "accounts": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}}},
    "load balancer": {"service": {"type": "LoadBalancer", "annotations": {"a": "b"}}},
    "extras": {
        "extraArgs": ["--log-verbose=1", "--exit-on-error=false"],
        "extraEnv": [{"name": "OMP_NUM_THREADS", "value": "2"}],
        "podAnnotations": {"example.com/note": "x"},
        "priorityClassName": "serving",
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [{"key": "team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                }
            }
        },
        "topologySpreadConstraints": [
            {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
        ],
    },
    "disruptions in percent": {"replicas": 4, "podDisruptionBudget": {"minAvailable": "50%", "maxUnavailable": None}},
    "no disruption budget": {"replicas": 3, "podDisruptionBudget": {"enabled": False}},
    "hpa": {"autoscaling": {"enabled": True, "minReplicas": 2}},
    "keda": {"autoscaling": {"enabled": True, "kind": "keda", "keda": {"prometheusUrl": "http://prometheus:9090"}}},
    "service monitor": {"metrics": {"serviceMonitor": {"enabled": True}}},
    "pod monitor": {"metrics": {"podMonitor": {"enabled": True}, "labels": {"release": "prometheus"}}},
    "alerts": {"metrics": {"prometheusRule": {"enabled": True}}},
    "dashboard": {"metrics": {"dashboard": {"enabled": True}}},
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy with peers": {
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}],
            "metricsFrom": [],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        }
    },
    "ingress": {"ingress": {"enabled": True, "host": "triton.example.com"}},
    "test": {"helmTest": {"enabled": True}},
    "gateway": {
        "gateway": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "httpHostnames": ["http.example.com"],
            "grpcHostnames": ["grpc.example.com"],
        }
    },
}


def merge(*parts: Values) -> Values:
    """Put values together as Helm does: mappings are merged, anything else is replaced by the later one."""
    merged: Values = {}
    for part in parts:
        for key, value in part.items():
            former = merged.get(key)
            merged[key] = merge(former, value) if isinstance(former, dict) and isinstance(value, dict) else value
    return merged


def without_agent(values: Values) -> Values:
    """Return the values for a cluster in which no agent can run."""
    models = {
        name: {key: value for key, value in model.items() if key not in ("serve", "candidate")}
        for name, model in values.get("models", {}).items()
    }
    return {**values, **NO_AGENT, "agent": {}, "models": models}


# All flags that go together.
_APART = (
    "tag",
    "no model control",
    "store in a volume",
    "no agent limits",
    "another admin key",
    "open",
    "recreate",
    "no surge",
    "no pause",
    "any user",
    "no memory limit",
    "no limits",
    "no requests",
    "keda",
    "pod monitor",
)
_TOGETHER = [values for name, values in FLAGS.items() if name not in _APART and "disruption" not in name]
_MORE = (
    *("pull secrets of all", "labels of all", "annotations of all", "labels of pods", "reloader", "volumes"),
    *("container before", "container beside", "environment", "objects", "names by others", "scheduler"),
    *("load balancer inside", "two families", "both outside", "several metrics", "monitors elsewhere"),
    "dashboard in a folder",
)
ALL = merge(LEAST, *_TOGETHER, *(COMBINATIONS[name] for name in _MORE))

CASES: dict[str, Values] = {
    "gpu": LEAST,
    "cpu": merge(LEAST, CPU),
    "gpu, 3 replicas": merge(LEAST, {"replicas": 3}),
    "cpu, 3 replicas": merge(LEAST, CPU, {"replicas": 3}),
    "none running": merge(LEAST, {"replicas": 0}),
    **{name: merge(LEAST, values) for name, values in FLAGS.items()},
    **{name: merge(LEAST, values) for name, values in COMBINATIONS.items()},
    "all": ALL,
    "all, cpu": merge(ALL, CPU),
    "all, no agent": without_agent(ALL),
}
