"""What must be there for the objects of a release: their image, and in the cluster APIs, metrics, GPUs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Object, Rendered, Workload
from scripts.cluster.release.capacity import Holder, Node, shortages
from scripts.cluster.release.room import too_small
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target
from scripts.cluster.trouble import condition
from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.image.labels import AGENT
from scripts.registry import aws, ecr, labels
from scripts.registry.ecr import ImageRepository
from scripts.registry.reference import Reference

# The APIs that are no part of Kubernetes itself, and what to do where they are not there.
_ADDED: Mapping[str, str] = {
    "monitoring.coreos.com": "install the Prometheus Operator, or turn metrics.serviceMonitor, metrics.podMonitor and "
    "metrics.prometheusRule off",
    "keda.sh": "install KEDA, or set autoscaling.kind=hpa or autoscaling.enabled=false",
    "gateway.networking.k8s.io": "install the Gateway API, or set gateway.enabled=false",
    "custom.metrics.k8s.io": "install an adapter such as prometheus-adapter, or KEDA with autoscaling.kind=keda, or "
    "set autoscaling.enabled=false",
    "external.metrics.k8s.io": "install an adapter for external metrics, or KEDA, or set autoscaling.enabled=false",
    "metrics.k8s.io": "install metrics-server, or set autoscaling.enabled=false",
}
_METRICS = {
    "Pods": "custom.metrics.k8s.io",
    "Object": "custom.metrics.k8s.io",
    "External": "external.metrics.k8s.io",
    "Resource": "metrics.k8s.io",
    "ContainerResource": "metrics.k8s.io",
}
KARPENTER = "karpenter.sh"


def image(wanted: Reference, settings: Settings) -> tuple[str, str]:
    """Ask the registry for the image; return what is wrong, and what could not be found out (each may be empty)."""
    try:
        where = ImageRepository.of(wanted, settings)
        if where is None:
            return "", f"The image is not checked: {wanted.host or 'its registry'} is not ECR. The nodes will tell."
        if wanted.digest is None:
            return (
                "",
                f"{wanted} has no digest: a tag may name another image tomorrow. Better: --image NAME@sha256:DIGEST",
            )
        # The image's own region counts, whatever the settings say.
        there = attrs.evolve(settings, values={**settings.values, "AWS_REGION": where.region})
        if ecr.has(aws.open_access(there), where, wanted.digest):
            return "", ""
    except TaskFailure as error:
        # The nodes pull with a role of their own: who deploys need not be able to look.
        return "", f"The image is not checked. {error}"
    return f"{where.uri} has no image {wanted.digest}. Push it (invoke push-triton), or correct --image.", ""


def has_agent(wanted: Reference, settings: Settings) -> bool | None:
    """Return whether an image has an agent, by its labels in ECR; None where nobody can tell."""
    try:
        where = ImageRepository.of(wanted, settings)
        if where is None or wanted.digest is None:
            return None
        there = attrs.evolve(settings, values={**settings.values, "AWS_REGION": where.region})
        said = labels.read(aws.open_access(there), where, wanted.digest)
    except TaskFailure:
        return None
    return None if said is None else AGENT in said


def served(kubectl: Kubectl) -> Mapping[str, Sequence[str]]:
    """Return the versions of each API group that the cluster serves.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    told = json.loads(kubectl.text("get", "--raw=/apis", doing="ask for the cluster's APIs"))
    return {group["name"]: [v["version"] for v in group["versions"]] for group in told["groups"]} | {"": ["v1"]}


def apis(rendered: Rendered, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return which APIs the objects need and the cluster does not serve, with what to do."""
    problems = []
    for api, kinds in _by_api(rendered).items():
        group, _, version = api.rpartition("/")
        if version not in groups.get(group, ()):
            advice = _ADDED.get(group, "is the cluster too old for the chart, or is something not installed?")
            problems.append(f"The cluster has no {api}, which {' and '.join(kinds)} need: {advice}.")
    for kind, name in _metrics(rendered):
        group = _METRICS.get(kind, "")
        if group and group not in groups:
            problems.append(f"The cluster has no {group}, where autoscaling looks for {name}: {_ADDED[group]}.")
    return list(dict.fromkeys(problems))


def metric_notes(rendered: Rendered, groups: Mapping[str, Sequence[str]], kubectl: Kubectl) -> list[str]:
    """Return which of the metrics that autoscaling asks for nobody delivers yet: normal before a first start."""
    notes = []
    for kind, name in _metrics(rendered):
        group = _METRICS.get(kind, "")
        if kind in ("Pods", "Object") and group in groups:
            try:
                known = kubectl.text("get", f"--raw=/apis/{group}/{groups[group][0]}", doing="ask for metrics")
                there = any(r["name"].endswith(f"/{name}") for r in json.loads(known).get("resources") or ())
                why = "is not there"
            except ClusterFailure as error:
                there, why = False, f"cannot be asked for ({str(error).splitlines()[0]})"
            if not there:
                notes.append(
                    f"The metric {name} {why} in {group}: until the servers run and the adapter has a rule for it, the "
                    "autoscaler changes nothing."
                )
    return notes


def running(kubectl: Kubectl, target: Target) -> list[Object]:
    """Return the pods of the release.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    found: list[Object] = kubectl.json("get", "pods", f"--selector={target.owned}", doing="look at the pods")["items"]
    return found


def gpus(
    rendered: Rendered,
    *,
    deployed: Rendered | None,
    kubectl: Kubectl,
    namespace: str,
    groups: Mapping[str, Sequence[str]],
) -> tuple[list[str], list[str]]:
    """Return what devices the cluster is short of, or CPU and memory for an upgrade, and what could not be found out.

    Raises:
        ClusterFailure: If the cluster gives no answer.
    """
    replaced = rendered.replaces_pods(deployed)
    wanting = [workload for workload in rendered.workloads if workload.devices]
    surging = [workload for workload in rendered.workloads if replaced and workload.surge and not workload.unavailable]
    if not wanting and not surging:
        return [], []
    try:
        items = kubectl.json("get", "nodes", doing="look at the nodes")["items"]
        phases = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
        pods = kubectl.json("get", "pods", "--all-namespaces", phases, doing="see who has the GPUs")["items"]
    except ClusterFailure as error:
        if error.cause != "forbidden":
            raise
        return [], [
            "This login may not list the nodes or all pods: whether there are CPU, memory and GPUs is not checked."
        ]
    nodes = [Node.parse(item) for item in items]
    holders = Holder.parse_all(pods)
    if replaced:
        # A pod that waits for a node holds up an upgrade; where no pod is replaced, it just goes on waiting.
        wanting = [workload.beside(_running(workload, pods, namespace)) for workload in wanting]
    short = [
        text
        for workload in wanting
        for text in shortages(workload, namespace=namespace, replaced=replaced, nodes=nodes, holders=holders)
    ]
    short += [text for workload in surging if (text := too_small(workload, nodes=items, pods=pods))]
    if short and (scaler := _autoscaler(kubectl, groups)):
        return [], [f"{text} {scaler} may add nodes: going on." for text in short]
    return short, []


def downtime(rendered: Rendered, deployed: Rendered | None, running: Callable[[], Sequence[Object]]) -> list[str]:
    """Return a note where nothing will serve for a while, and for how long that may be.

    Args:
        rendered: What is to be deployed.
        deployed: What is deployed.
        running: Gives the release's pods.
    """
    away = [w for w in rendered.workloads if w.replicas and w.unavailable >= w.replicas]
    if not away or not rendered.replaces_pods(deployed):
        return []
    pods, notes = running(), []
    for workload in away:
        said = f"Nothing serves while the pods of {workload.name} are replaced: "
        said += f"{workload.replicas} of {workload.replicas} may be away"
        if (start_s := last_start_s(pods)) is not None:
            said += f", for about {start_s:.0f} s if the new ones start as the last one did"
            grace_s = int(workload.pod.get("terminationGracePeriodSeconds", 30))
            said += f", and up to {grace_s} s more until the old one has left its GPU" if workload.devices else ""
        notes.append(f"{said}. A spare GPU and --set rollout.surge=true, or a second replica, avoid that.")
    return notes


def last_start_s(pods: Iterable[Object]) -> float | None:
    """Return how long the pod that was made last took from the start of its server until it was ready, in seconds."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        status = pod.get("status") or {}
        ready = condition(status, "Ready")
        states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
        began = [state["running"].get("startedAt") for state in states if "running" in state]
        if ready.get("status") == "True" and ready.get("lastTransitionTime") and began and all(began):
            first = min(datetime.fromisoformat(each) for each in began)
            return max(0.0, (datetime.fromisoformat(ready["lastTransitionTime"]) - first).total_seconds())
    return None


def _running(workload: Workload, pods: Sequence[Object], namespace: str) -> int:
    """Return how many pods a Deployment has now, those that wait for a node too."""
    own = (pod["metadata"] for pod in pods if pod["metadata"].get("namespace") == namespace)
    labels = [each.get("labels") or {} for each in own if "deletionTimestamp" not in each]
    return sum(bool(workload.selector) and workload.selector.items() <= each.items() for each in labels)


def _autoscaler(kubectl: Kubectl, groups: Mapping[str, Sequence[str]]) -> str:
    """Return the name of what makes nodes here; empty where nothing seems to."""
    if KARPENTER in groups:
        return "Karpenter"
    status = ("get", "configmap", "cluster-autoscaler-status", "--namespace=kube-system", "--ignore-not-found")
    try:
        return "The cluster autoscaler" if kubectl.text(*status, "--output=name").strip() else ""
    except ClusterFailure:
        return ""


def _by_api(rendered: Rendered) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for api, kind in sorted(rendered.kinds):
        found.setdefault(api, []).append(f"{kind}s")
    return found


def _metrics(rendered: Rendered) -> list[tuple[str, str]]:
    """Return kind and name of the metrics that autoscalers ask for."""
    found = []
    for scaler in rendered.named("HorizontalPodAutoscaler"):
        for metric in scaler["spec"].get("metrics") or ():
            kind = metric["type"]
            source = metric.get(kind[:1].lower() + kind[1:]) or {}
            found.append((kind, source.get("name") or (source.get("metric") or {}).get("name", "")))
    return found
