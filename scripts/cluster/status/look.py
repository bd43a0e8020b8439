"""How a deployment is: its release, its pods, and what the servers in them say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import attrs

from scripts.cluster import serving
from scripts.cluster.admin import admin_headers
from scripts.cluster.agents import behind
from scripts.cluster.follows import Follows
from scripts.cluster.forward import HTTP, METRICS, Forwarding, forward
from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pod_agent import AGENT, AT_ONCE
from scripts.cluster.pods import Pod, last_warning, server_of, server_pods
from scripts.cluster.progress import is_proven
from scripts.cluster.release.record import Record
from scripts.cluster.says import ClusterFailure
from scripts.cluster.serving import Plans
from scripts.cluster.status.autoscaler import Autoscaler, autoscaler_of
from scripts.cluster.status.callers import Callers, callers
from scripts.cluster.status.served import Served, versions_of
from scripts.cluster.status.slow import Slow, slow_pods
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.seen import State

# A server that has not answered by then is shown as one that does not, in seconds.
PATIENCE_S = 8.0
# Who says which GPUs a node has: NVIDIA's feature discovery, Karpenter, GKE; failing those, the type of the machine.
GPU_LABELS = (
    "nvidia.com/gpu.product",
    "karpenter.k8s.aws/instance-gpu-name",
    "cloud.google.com/gke-accelerator",
    "node.kubernetes.io/instance-type",
)

Forward = Callable[..., AbstractContextManager[Forwarding]]
Object = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Server:
    """What the server in a pod says.

    Attributes:
        pod: The pod.
        versions: What it serves.
        follows: How far it follows the release's plan; None where there is none, or no agent answers.
        trouble: Why it could not be asked; empty where it could.
    """

    pod: str
    versions: tuple[Served, ...] = ()
    follows: Follows | None = None
    trouble: str = ""


@attrs.frozen(kw_only=True)
class Status:
    """How a deployment is.

    Attributes:
        target: Which.
        revisions: The revisions of the release, the oldest first; none where Helm did not install it.
        chart: Name and version of the chart.
        image: The image that the pods shall run.
        probes: What kubelet asks the server, by the kind of probe.
        replicas: How many pods there shall be.
        pods: Those there are.
        troubles: The last warning about each pod that is not ready, by its name.
        gpus: Which GPUs the node of each pod has, by the pod's name.
        autoscaler: What decides how many there are, where something does.
        servers: What the server in each pod says.
        callers: What clients that follow a traffic plan saw, of all pods together.
        slow: The pods that are slower than the others by more than chance.
        plan: Which versions the release plans to serve, in words; empty where all of the image are served.
        was_ready: Whether the pods of the last revision were ever ready.
        last_good: The last revision before it whose pods were; None where none is known.
    """

    target: Target
    revisions: tuple[Revision, ...]
    chart: str
    image: str
    probes: Mapping[str, str]
    replicas: int
    pods: tuple[Pod, ...]
    troubles: Mapping[str, str]
    gpus: Mapping[str, str]
    autoscaler: Autoscaler | None
    servers: tuple[Server, ...]
    callers: tuple[Callers, ...] = ()
    slow: tuple[Slow, ...] = ()
    plan: str = ""
    was_ready: bool = True
    last_good: int | None = None


def look(
    kubectl: Kubectl, helm: Helm, target: Target, *, progress: Callable[[str], None], forward: Forward = forward
) -> Status:
    """Ask the cluster and the servers.

    Raises:
        TaskFailure: If it is not deployed, or the cluster cannot be asked.
    """
    revisions = helm.history(target.release)
    if revisions and revisions[-1].status == "uninstalled":  # with a history that was kept
        revisions = ()
    deployments = _deployments(kubectl, target)
    if not revisions and not deployments:
        raise TaskFailure(
            f"There is no release {target.release} in the namespace {target.namespace}. "
            "`helm list --all-namespaces` shows those there are; `invoke deploy-triton` deploys it."
        )
    containers = [server_of(_pod(each)) for each in deployments]
    pods = server_pods(kubectl, target)
    events = [] if all(pod.ready for pod in pods) else _items(kubectl, "events", "--field-selector=type=Warning")
    plans = serving.planned(kubectl, target) if any(pod.agent for pod in pods) else {}
    ask = partial(_ask, kubectl, plans=plans, headers=admin_headers(kubectl, pods, progress=progress), forward=forward)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = list(pool.map(ask, pods))
    states = {server.pod: state for server, state in asked if state}
    record = Record.parse(deployments if revisions else ())
    good = record.last_good(revisions[:-1]) if record.known else None
    return Status(
        target=target,
        revisions=revisions,
        chart=revisions[-1].chart if revisions else deployments[0]["metadata"]["labels"].get("helm.sh/chart", ""),
        image=", ".join(dict.fromkeys(str(each["image"]) for each in containers)),
        probes=_probes(containers[0]) if containers else {},
        replicas=sum(int(each["spec"].get("replicas", 1)) for each in deployments),
        pods=tuple(pods),
        troubles={pod.name: last_warning(events, pod.name) for pod in pods if not pod.ready and not pod.leaving},
        gpus=_gpus(kubectl, pods),
        autoscaler=autoscaler_of(
            {each["metadata"]["name"] for each in deployments}, _items(kubectl, "horizontalpodautoscalers")
        ),
        servers=tuple(server for server, _ in asked),
        callers=callers(states.values()),
        slow=_slow(pods, states),
        plan=serving.all_told(plans),
        # Where nothing is written down, Kubernetes may have forgotten.
        was_ready=not record.known or record.is_good(revisions[-1]) or _are_proven(kubectl, target, deployments),
        last_good=good.number if good else None,
    )


def _slow(pods: Sequence[Pod], states: Mapping[str, State]) -> tuple[Slow, ...]:
    """Return the slow pods of each chart in a release: those of another one may run on other machines."""
    nodes = {pod.name: pod.node for pod in pods}
    found: list[Slow] = []
    for plan in dict.fromkeys(pod.plan for pod in pods):
        alike = [pod.name for pod in pods if pod.plan == plan and pod.name in states]
        found += slow_pods({name: states[name].pace for name in alike}, nodes)
    return tuple(found)


def _or_nothing(kubectl: Kubectl, kind: str, name: str) -> Object:
    try:
        found: Object = kubectl.json("get", kind, name, doing=f"read the {kind} {name}")
    except ClusterFailure as error:
        if error.cause != "not found":
            raise
        return {}
    return found


def _items(kubectl: Kubectl, *what: str) -> list[Object]:
    """Return objects that tell more but are not needed: none where this login may not see them."""
    try:
        found: list[Object] = kubectl.json("get", *what)["items"]
    except ClusterFailure as error:
        if error.cause not in ("forbidden", "not found"):
            raise
        return []
    return found


def _deployments(kubectl: Kubectl, target: Target) -> list[Object]:
    """Return the Deployments of a release's servers, by name: one, or in an umbrella several."""
    found = kubectl.json("get", "deployments", f"--selector={target.selector}", doing="look at the Deployments")
    return sorted((each for each in found["items"] if server_of(_pod(each))), key=lambda each: each["metadata"]["name"])


def _are_proven(kubectl: Kubectl, target: Target, deployments: Sequence[Object]) -> bool:
    replica_sets = _items(kubectl, "replicasets", f"--selector={target.selector}")
    return all(is_proven(each, replica_sets) for each in deployments)


def _pod(deployment: Object) -> Object:
    return deployment["spec"]["template"].get("spec") or {}


def _probes(container: Object) -> dict[str, str]:
    found = {kind: container.get(f"{kind}Probe") or {} for kind in ("startup", "readiness", "liveness")}
    return {kind: str(probe["httpGet"]["path"]) for kind, probe in found.items() if "httpGet" in probe}


def _gpus(kubectl: Kubectl, pods: Iterable[Pod]) -> dict[str, str]:
    asking = [pod for pod in pods if pod.gpus and pod.node]
    if not asking:
        return {}
    names = sorted({pod.node for pod in asking})
    found = _items(kubectl, "nodes") if len(names) > 1 else [_node(kubectl, names[0])]
    labels = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in found if node}
    return {pod.name: gpu_model(labels.get(pod.node, {})) for pod in asking}


def _node(kubectl: Kubectl, name: str) -> Object:
    try:
        return _or_nothing(kubectl, "node", name)
    except ClusterFailure as error:
        if error.cause != "forbidden":
            raise
        return {}


def gpu_model(labels: Mapping[str, str]) -> str:
    """Return which GPU a node with *labels* has, as far as they tell."""
    return next((labels[name] for name in GPU_LABELS if labels.get(name)), "")


def _ask(
    kubectl: Kubectl, pod: Pod, *, plans: Plans, headers: Mapping[str, Secret], forward: Forward
) -> tuple[Server, State | None]:
    """Return what the server in a pod says, and the agent beside it; None: there is none, or it does not answer."""
    if not pod.running or pod.leaving:
        return Server(pod=pod.name, trouble="leaving" if pod.leaving else "its container does not run"), None
    plan = plans.get(pod.plan) if pod.agent else None
    ports = (HTTP, METRICS, *([AGENT] if plan else []))
    follows, state = None, None
    try:
        with forward(kubectl, f"pod/{pod.name}", ports, progress=lambda _: None, patience_s=PATIENCE_S) as forwarding:
            if plan:
                state = behind(forwarding, pod.name, headers).state()
                follows = Follows.of(state, plan)
            versions = tuple(versions_of(forwarding.endpoint(headers)))
            return Server(pod=pod.name, follows=follows, versions=versions), state
    except TaskFailure as error:
        return Server(pod=pod.name, follows=follows, trouble=" ".join(str(error).split())), state
