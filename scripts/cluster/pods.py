"""What Kubernetes tells about pods, read from its JSON."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import devices
from scripts.cluster.progress import parse_pod
from scripts.cluster.target import Target
from scripts.cluster.trouble import containers, shortened
from scripts.host.errors import TaskFailure

CONTAINER, AGENT_CONTAINER, PLAN_VOLUME = "triton", "agent", "plan"
# By which the server gets the key of its restricted APIs.
_KEY = "TRITON_ADMIN_KEY"
# The resources of NVIDIA's device plugin: nvidia.com/gpu, and nvidia.com/mig-... for parts of one.
GPUS = "nvidia.com/"


@attrs.frozen(kw_only=True)
class Pod:
    """One pod of the server.

    Attributes:
        name: Its name.
        phase: ``Pending``, ``Running``, ...
        leaving: Whether it is about to go.
        ready: Whether it gets requests.
        restarts: How often its containers were started anew.
        created: When it was made.
        node: The node that it runs on; empty while it has none.
        address: Its IP address; empty while it has none.
        image: The image that runs, by digest where that is known; empty while none does.
        gpus: How many GPUs it asks for.
        key: The Secret that the server has the key of its restricted APIs from; empty for none.
        running: Whether the server's container runs.
        agent: Whether an agent runs beside it, which makes it serve the plan.
        plan: The ConfigMap that the agent reads the plan from; empty for none.
        reason: Why it is not ready, as far as the pod itself knows; empty where it is.
    """

    name: str
    phase: str
    leaving: bool
    ready: bool
    restarts: int
    created: datetime
    node: str
    address: str
    image: str
    gpus: int
    key: str
    running: bool
    agent: bool
    plan: str
    reason: str

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Self:
        """Read a pod as the API gives it."""
        metadata, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
        states = status.get("containerStatuses", [])
        server: Mapping[str, Any] = next((c for c in states if c["name"] == CONTAINER), {})
        state = parse_pod(item)
        return cls(
            name=metadata["name"],
            phase=status.get("phase", "Unknown"),
            leaving=state.leaving,
            ready=state.ready,
            restarts=sum(c.get("restartCount", 0) for c in containers(status)),
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
            node=state.node,
            address=status.get("podIP", ""),
            image=server.get("imageID", ""),
            gpus=sum(count for name, count in devices(spec).items() if name.startswith(GPUS)),
            key=_key(spec),
            running="running" in server.get("state", {}),
            agent=any(c["name"] == AGENT_CONTAINER for c in spec.get("initContainers") or ()),
            plan=_plan(spec),
            reason="" if state.ready else state.doing,
        )

    def age(self, *, now: datetime) -> str:
        """Return how long it has been there: ``45s``, ``12m``, ``5h``, ``3d``."""
        seconds = max(0, int((now - self.created).total_seconds()))
        for size, unit, most in ((1, "s", 120), (60, "m", 120), (3600, "h", 48)):
            if seconds < size * most:
                return f"{seconds // size}{unit}"
        return f"{seconds // 86400}d"


def _key(spec: Mapping[str, Any]) -> str:
    found = (*spec.get("containers", []), *(spec.get("initContainers") or ()))
    variables = (each for container in found for each in container.get("env") or ())
    sources = (each.get("valueFrom") or {} for each in variables if each["name"] == _KEY)
    return next((each["secretKeyRef"]["name"] for each in sources if "secretKeyRef" in each), "")


def _plan(spec: Mapping[str, Any]) -> str:
    found = (each.get("configMap") or {} for each in spec.get("volumes") or () if each["name"] == PLAN_VOLUME)
    return next((str(each["name"]) for each in found if "name" in each), "")


def parse_pods(answer: Mapping[str, Any]) -> list[Pod]:
    """Return the pods of a ``kubectl get pods -o json``, by name."""
    return sorted(map(Pod.parse, answer["items"]), key=lambda pod: pod.name)


def server_pods(kubectl: Kubectl, target: Target) -> list[Pod]:
    """Return the pods of a release's servers, by name.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    return of_servers(kubectl.json("get", "pods", f"--selector={target.selector}", doing="look for the pods")["items"])


def pods_of(kubectl: Kubectl, target: Target) -> list[Pod]:
    """Return the pods of a release's servers, by name, of which there has to be one.

    Raises:
        TaskFailure: If there are none; the message says what to do.
    """
    pods = server_pods(kubectl, target)
    if not pods:
        raise TaskFailure(
            f"The release {target.release} has no pods in the namespace {target.namespace}. "
            "Is it deployed there? `invoke status` says what is; `invoke deploy-triton` deploys it. "
            "For a server elsewhere: --url HOST, or --local for one on this machine."
        )
    return pods


def of_servers(items: Iterable[Mapping[str, Any]]) -> list[Pod]:
    """Return those of some pods that are servers, by name; other charts of an umbrella have such labels too."""
    return parse_pods({"items": [each for each in items if server_of(each.get("spec") or {})]})


def ready_pod(pods: Sequence[Pod], *, of: str) -> Pod:
    """Return the first of *pods* that is ready.

    Raises:
        TaskFailure: If none is; the message says why for each.
    """
    if ready := [pod for pod in pods if pod.ready]:
        return ready[0]
    if not pods:
        raise TaskFailure(f"{of} has no pods: is it scaled to 0? `invoke status` shows it.")
    reasons = "\n".join(f"  {pod.name}: {pod.reason}" for pod in pods)
    raise TaskFailure(f"No pod of {of} is ready:\n{reasons}\n`invoke status` says more.")


def server_of(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the server's container in what an object says of its pods; empty where there is none."""
    return next((each for each in pod.get("containers") or () if each["name"] == CONTAINER), {})


def last_warning(events: Iterable[Mapping[str, Any]], name: str) -> str:
    """Return the message of the last warning about the pod *name*, or nothing."""
    own = [e for e in events if e.get("type") == "Warning" and e.get("involvedObject", {}).get("name") == name]
    if not own:
        return ""
    last = max(own, key=_when)
    return f"{last.get('reason', '')}: {shortened(last.get('message', ''))}"


def _when(event: Mapping[str, Any]) -> str:
    # Which of them an event has depends on the age of what made it; as ISO 8601 they sort as text.
    times = (event.get("lastTimestamp"), event.get("eventTime"), event.get("firstTimestamp"))
    return next((time for time in times if time), "")
