"""The Job that judges a canary in the cluster, and the rights that it needs: made of what the release itself runs."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from scripts.canary.order import Order
from scripts.cluster.pods import AGENT_CONTAINER
from scripts.cluster.release.stored import name_of
from scripts.host.errors import TaskFailure
from scripts.versions.inside import FURTHER

Object: TypeAlias = dict[str, Any]
RBAC = "rbac.authorization.k8s.io/v1"
CONTAINER, COMPONENT = "judge", "canary"
MODEL, VERSION = "triton-serving/canary-model", "triton-serving/canary-version"
# At a Job that has ended: somebody knows how.
TOLD = "triton-serving/canary-told"
# What the pod takes over from those of the server: where it may run, and how it gets its image. It needs no GPU.
_POD = (
    "securityContext", "imagePullSecrets", "nodeSelector", "tolerations", "schedulerName", "priorityClassName",
    "dnsPolicy", "dnsConfig",
)  # fmt: skip
_KEY = "TRITON_ADMIN_KEY"
_NAMES = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
# If it is stopped, it takes everything back; a server may be slow to answer meanwhile.
_GRACE_S = 120
# After the verdict its log can be read for a day.
_KEPT_S = 86_400
# If its node is lost, or somebody kills it, another pod goes on; who is killed again and again is not.
_AGAIN = 3
_START = """\
cd /opt/triton-agent 2>/dev/null && [ -d scripts/canary ] && exec python3 -m scripts.canary "$@"
echo 'This image has no judge of canaries. Build it anew (invoke build-image) and deploy it, or leave --job out.' >&2
exit 1
"""


def name(deployment: str, model: str) -> str:
    """Return the name of the Job for the canary of a model."""
    return f"{deployment[:46]}{ending(model)}"


def ending(model: str) -> str:
    """Return how that name ends, whatever the Deployment is called."""
    return f"-canary-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def access(deployment: Mapping[str, Any], order: Order) -> Sequence[Object]:
    """Return the rights of the judge, and who has them: a Role, and what goes with it.

    Args:
        deployment: The release's Deployment, with which they go.
        order: What the judge is told.
    """
    named = order.job
    revisions = [name_of(order.release, number) for number in range(order.revision, order.revision + FURTHER)]
    rules = [
        _rule("", "pods", ["list"]),
        _rule("", "configmaps", ["get", "patch"], [order.plan_map]),
        # A new one has no name yet when that is decided.
        _rule("", "secrets", ["create"]),
        _rule("", "secrets", ["get", "patch"], revisions),
        _rule("apps", "deployments", ["get", "patch"], [order.deployment]),
        _rule("batch", "jobs", ["get"], [named]),
        _rule("rbac.authorization.k8s.io", "roles", ["delete"], [named]),
    ]
    subject = {"kind": "ServiceAccount", "name": named, "namespace": order.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": named}
    meta = _metadata(deployment, order)
    return [
        {"apiVersion": RBAC, "kind": "Role", "metadata": meta, "rules": rules},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [subject]},
    ]


def job(deployment: Mapping[str, Any], order: Order) -> Object:
    """Return the Job: the release's agent container with another program, in a pod without a GPU.

    Args:
        deployment: The release's Deployment.
        order: What the judge is told.

    Raises:
        TaskFailure: If the release has no agent.
    """
    template = deployment["spec"]["template"]
    spec, labels = template["spec"], template["metadata"].get("labels") or {}
    agent = next((one for one in spec.get("initContainers") or () if one["name"] == AGENT_CONTAINER), None)
    if agent is None:
        raise TaskFailure(f"The pods of {order.deployment} have no agent, so no canary can be (modelControl: agent).")
    container = {
        "name": CONTAINER,
        "image": agent["image"],
        "imagePullPolicy": agent.get("imagePullPolicy", "IfNotPresent"),
        "command": ["sh", "-c", _START, CONTAINER],
        "args": [order.to_json()],
        "env": [
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            *(each for each in agent.get("env") or () if each["name"] == _KEY),
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": agent.get("securityContext") or {},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        **{key: spec[key] for key in _POD if key in spec},
        "serviceAccountName": order.job,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    tried = {MODEL: order.wish.model, VERSION: str(order.wish.version)}
    # Not a server: no Service may send it traffic.
    own = {**{key: value for key, value in labels.items() if key in _NAMES}, "app.kubernetes.io/component": COMPONENT}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**_metadata(deployment, order), "annotations": tried},
        "spec": {
            "backoffLimit": _AGAIN,
            "ttlSecondsAfterFinished": _KEPT_S,
            # However often it begins again, and if it hangs.
            "activeDeadlineSeconds": int(2 * order.wish.limit_s + 4 * order.wish.roll_s) + 600,
            # Its statuses 1 and 3 are verdicts. If its pod was killed or driven from its node, or it has failed itself,
            # that is none.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 3]}},
                ]
            },
            "template": {"metadata": {"labels": own}, "spec": pod},
        },
    }


def _rule(group: str, what: str, verbs: Sequence[str], names: Sequence[str] = ()) -> Object:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [what], "verbs": list(verbs), **named}


def _metadata(deployment: Mapping[str, Any], order: Order) -> Object:
    """Return the metadata of what goes with a Deployment."""
    meta = deployment["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key in _NAMES}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
    return {
        "name": order.job,
        "namespace": order.namespace,
        "labels": {**labels, "app.kubernetes.io/component": COMPONENT},
        "ownerReferences": [owner],
    }
