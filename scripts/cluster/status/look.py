"""How a deployment is: its release, its pods, and what the servers in them say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import attrs

from scripts.cluster import serving
from scripts.cluster.admin import admin_headers
from scripts.cluster.agents import AGENT, PodAgent
from scripts.cluster.follows import Follows
from scripts.cluster.forward import HTTP, METRICS, Forwarding, forward
from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import Pod, last_warning, server_of, server_pods
from scripts.cluster.progress import is_proven
from scripts.cluster.release.record import Record
from scripts.cluster.says import ClusterFailure
from scripts.cluster.serving import Plans
from scripts.cluster.status.autoscaler import Autoscaler, autoscaler_of
from scripts.cluster.status.warmup import WarmUp
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.endpoint import Counters, Endpoint

# A server that has not answered by then is shown as one that does not, in seconds.
PATIENCE_S = 8.0
AT_ONCE = 8
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
class Served:
    """A version of a model in one server, with what it has done since that started.

    Attributes:
        model: The model.
        version: The version.
        state: As Triton calls it: ``READY``, ``LOADING``, ``UNAVAILABLE``, ...
        reason: Why it is not ready; empty where that is not known.
        requests: How many requests were answered.
        failures: How many failed; those that a full queue turned away are not among them.
        queue_ms: The mean time that a request waited; None before the first.
        pending: How many wait now.
        images: How many images were inferred.
        runs: In how many runs of the model.
    """

    model: str
    version: str
    state: str
    reason: str
    requests: int
    failures: int
    queue_ms: float | None
    pending: int
    images: int
    runs: int


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
        servers = tuple(pool.map(ask, pods))
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
        servers=servers,
        plan=serving.all_told(plans),
        # Where nothing is written down, Kubernetes may have forgotten.
        was_ready=not record.known or record.is_good(revisions[-1]) or _are_proven(kubectl, target, deployments),
        last_good=good.number if good else None,
    )


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


def _ask(kubectl: Kubectl, pod: Pod, *, plans: Plans, headers: Mapping[str, Secret], forward: Forward) -> Server:
    if not pod.running or pod.leaving:
        return Server(pod=pod.name, trouble="leaving" if pod.leaving else "its container does not run")
    plan = plans.get(pod.plan) if pod.agent else None
    ports = (HTTP, METRICS, *([AGENT] if plan else []))
    follows = None
    try:
        with forward(kubectl, f"pod/{pod.name}", ports, progress=lambda _: None, patience_s=PATIENCE_S) as forwarding:
            if plan:
                follows = Follows.of(PodAgent.behind(forwarding, pod.name, headers).state(), plan)
            return Server(pod=pod.name, follows=follows, versions=tuple(_versions(forwarding.endpoint(headers))))
    except TaskFailure as error:
        return Server(pod=pod.name, follows=follows, trouble=" ".join(str(error).split()))


def _versions(endpoint: Endpoint) -> list[Served]:
    counters = endpoint.counters()
    index = endpoint.post("/v2/repository/index", b"{}")
    if index.status == 200:
        found = [
            (i["name"], i["version"], i.get("state", ""), i.get("reason", ""))
            for i in index.body["items"]
            if i.get("version")
        ]
    else:  # restricted, and we have no key: then what has figures is asked one by one
        found = [(*key, _state(endpoint, *key), "") for key in counters.versions("nv_inference_request_success")]
    return [
        served(counters, model, version, state, reason, warm=_warm_up(endpoint, model, version))
        for model, version, state, reason in sorted(found, key=lambda item: (item[0], int(item[1])))
    ]


def _state(endpoint: Endpoint, model: str, version: str) -> str:
    ready = endpoint.get(f"/v2/models/{model}/versions/{version}/ready").status == 200
    return "READY" if ready else "UNAVAILABLE"


def _warm_up(endpoint: Endpoint, model: str, version: str) -> WarmUp:
    answer = endpoint.get(f"/v2/models/{model}/versions/{version}/config")
    return WarmUp.of(answer.body) if answer.status == 200 else WarmUp()


def served(
    counters: Counters, model: str, version: str, state: str, reason: str, *, warm: WarmUp | None = None
) -> Served:
    """Return a version with its figures from *counters*, without those of its warm-up."""
    warm = warm or WarmUp()
    total = partial(counters.total, model=model, version=version)
    requests = max(0.0, total("nv_inference_request_success") - warm.requests)
    return Served(
        model=model,
        version=version,
        state=state,
        reason=reason,
        requests=int(requests),
        failures=int(total("nv_inference_request_failure")),
        queue_ms=total("nv_inference_queue_duration_us") / requests / 1e3 if requests else None,
        pending=int(total("nv_inference_pending_request_count")),
        images=max(0, int(total("nv_inference_count")) - warm.requests),
        runs=max(0, int(total("nv_inference_exec_count")) - warm.runs),
    )
