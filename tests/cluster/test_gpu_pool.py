"""Where pods with GPUs go, and what happens when there are too few: a hundred simulated nodes, the real scheduler."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.cluster.objects import Workload
from scripts.cluster.release.capacity import Holder, Node, shortages
from tests.cluster.plane import ControlPlane
from tests.cluster.pool import Owner, create, deployment, found, gpu_pod, names, owning, row, space, wait_for
from tests.cluster.simulated import GPU, GPU_LABELS, simulated_nodes
from tests.cluster.user import RELEASE

# What builds the cluster does not count.
pytestmark = pytest.mark.timeout(180, func_only=True)
POOL = 6
PRODUCT = "nvidia.com/gpu.product"
# As `--set` takes it.
CHOSEN = r"nodeSelector.nvidia\.com/gpu\.product"
ZONE = "topology.kubernetes.io/zone"


@pytest.fixture(scope="module")
def full(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """Give an owner whose servers have every GPU of a few nodes."""
    with simulated_nodes(plane, POOL, name="pool"), owning(plane, tmp_path_factory.mktemp("pool")) as owner:
        owner.deploy(f"replicas={POOL}")
        yield owner


def test_servers_go_to_gpu_nodes_and_nothing_else_does(plane: ControlPlane, tmp_path: Path) -> None:
    """Of a hundred tainted nodes and five others each kind of pod gets its own; servers spread over nodes and zones."""
    special = dict(GPU_LABELS) | {PRODUCT: "NVIDIA-A100-SXM4-40GB"}
    with (
        simulated_nodes(plane, 5, name="cpu", gpus=0, taints=(), labels={}) as cpu,
        simulated_nodes(plane, 90, name="gpu", gpus=4) as common,
        simulated_nodes(plane, 10, name="large", gpus=4, labels=special) as large,
        owning(plane, tmp_path) as owner,
    ):
        web = {"app": "web"}
        spec = {"containers": [{"name": "main", "image": "triton-test/none:1"}]}
        owner.deploy("replicas=9")
        create(plane, owner.user.namespace, deployment("web", web, 40, spec))
        wait_for("the other pods", lambda: len(found(plane, "pods", f"-n{owner.user.namespace}", "-lapp=web")), 40)
        owner.user.kubectl("wait", "pod", "--selector=app=web", "--for=condition=PodScheduled", "--timeout=60s")

        servers = owner.nodes()
        others = [pod["spec"]["nodeName"] for pod in found(plane, "pods", f"-n{owner.user.namespace}", "-lapp=web")]
        assert len(set(servers)) == 9, "no two on one node"
        assert set(servers) <= {*common, *large}
        zones = Counter(node["metadata"]["labels"][ZONE] for node in found(plane, "nodes", *servers))
        assert zones == {"zone-a": 3, "zone-b": 3, "zone-c": 3}
        assert len(others) == 40
        assert not set(others) & {*common, *large}
        assert set(others) & {*cpu}

        owner.deploy("replicas=9", f"{CHOSEN}={special[PRODUCT]}")
        assert set(owner.nodes()) <= set(large)
        assert len(set(owner.nodes())) == 9

        unknown = owner.refused("replicas=9", f"{CHOSEN}=NVIDIA-H200")
        assert f"no label {PRODUCT}=NVIDIA-H200" in unknown


def test_a_full_pool_is_upgraded_one_by_one(full: Owner) -> None:
    """With every GPU in use a pod ends before the next one starts, as the chart has it, and the upgrade ends well."""
    before, nodes = names(full.pods()), sorted(full.nodes())
    said = full.deploy(f"replicas={POOL}", "podAnnotations.next=one")
    assert row(said, "pods ready") == f"{POOL} of {POOL}"
    assert row(said, "GPUs") == f"{POOL} {GPU}"
    assert not before & names(full.pods())
    assert sorted(full.nodes()) == nodes
    assert len(set(nodes)) == POOL


def test_more_than_there_are_is_refused(full: Owner) -> None:
    """More replicas than GPUs never start: it is said how many would."""
    said = full.refused(f"replicas={POOL + 1}")
    assert f"Too few {GPU}: {POOL + 1} pods with 1 each" in said
    assert f"--set replicas={POOL}" in said


def test_a_surge_needs_a_spare_gpu(plane: ControlPlane, full: Owner) -> None:
    """On a full pool it is refused and told who has the GPUs; with one to spare it goes through."""
    surge = ("rollout.surge=true", "podAnnotations.next=two")
    said = full.refused(f"replicas={POOL}", *surge)
    assert f"{POOL} in all, 0 free, {POOL} held by this release" in said
    assert "rollout.surge=false" in said

    fewer = POOL - 1
    full.user.kubectl("scale", f"deployment/{RELEASE}", f"--replicas={fewer}")
    create(plane, full.user.namespace, gpu_pod("hog"))
    full.user.kubectl("wait", "pod/hog", "--for=condition=Ready", "--timeout=30s")
    said = full.refused(f"replicas={fewer}", *surge)
    assert f"{POOL} in all, 0 free, {fewer} held by this release" in said
    assert f"Held by others: {full.user.namespace}/hog (1 on pool-" in said

    full.user.kubectl("delete", "pod", "hog")
    assert row(full.deploy(f"replicas={fewer}", *surge), "pods ready") == f"{fewer} of {fewer}"
    assert {pod["metadata"]["annotations"]["next"] for pod in full.pods()} == {"two"}


def test_all_pods_are_replaced_at_once_where_that_is_wanted(full: Owner) -> None:
    """With `recreate` the pool is emptied first; that nothing serves meanwhile is said before."""
    before = names(full.pods())
    said = full.deploy(f"replicas={POOL}", "rollout.recreate=true", "podAnnotations.next=three")
    assert f"Nothing serves while the pods of {RELEASE} are replaced: {POOL} of {POOL} may be away" in said
    assert row(said, "pods ready") == f"{POOL} of {POOL}"
    assert not before & names(full.pods())


@attrs.frozen
class Filling:
    """Nodes that others use already, and what shall run there beside them.

    Attributes:
        name: Its name.
        nodes: Its nodes, with four GPUs each.
        held: How many GPUs of each node others hold.
        cordoned: Those of the nodes that take no new pods.
        replicas: How many pods there shall be.
        each: How many GPUs each of them takes.
    """

    name: str
    nodes: Sequence[str]
    held: Sequence[int]
    cordoned: Sequence[str]
    replicas: int
    each: int

    @classmethod
    def draw(cls, name: str, nodes: Sequence[str], draw: random.Random) -> "Filling":
        """Draw one."""
        held = [draw.randint(0, 4) for _ in nodes]
        cordoned = nodes[: draw.choice([0, 0, 1])]
        return cls(name, nodes, held, cordoned, replicas=draw.randint(1, 6), each=draw.choice([1, 1, 2, 3]))

    @property
    def deployment(self) -> dict[str, Any]:
        """What shall run: a pod more while it changes, and none less."""
        chosen = {"key": "kubernetes.io/hostname", "operator": "In", "values": self.nodes}
        required = {"nodeSelectorTerms": [{"matchExpressions": [chosen]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        spec = gpu_pod(self.name, gpus=self.each)["spec"] | {"affinity": affinity}
        made = deployment(self.name, {"app": self.name}, self.replicas, spec)
        made["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        return made

    @property
    def others(self) -> list[dict[str, Any]]:
        """The pods of others."""
        return [
            gpu_pod(f"{self.name}-{place}", node=node, gpus=count)
            for place, (node, count) in enumerate(zip(self.nodes, self.held, strict=True))
            if count
        ]


def test_the_arithmetic_is_the_schedulers(plane: ControlPlane) -> None:
    """For fillings of all kinds: what is said to fit runs, also through an upgrade, and what is not waits."""
    # Among what this seed draws, GPUs that are free in sum but on no one node decide several times.
    draw, count, size = random.Random(148), 16, 3
    with simulated_nodes(plane, count * size, name="filled", gpus=4) as pool, space(plane) as namespace:
        plane.kubectl("create", "namespace", namespace)
        plane.kubectl("--namespace", namespace, "wait", "serviceaccount/default", "--for=create", "--timeout=30s")
        fillings = [Filling.draw(f"f{n}", pool[size * n : size * (n + 1)], draw) for n in range(count)]
        create(plane, namespace, *(pod for each in fillings for pod in each.others))
        plane.kubectl("--namespace", namespace, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        plane.kubectl("cordon", *(name for each in fillings for name in each.cordoned))

        fits = said_to_fit(plane, namespace, fillings, replaced=False)
        create(plane, namespace, *(each.deployment for each in fillings))
        wait_for("what the scheduler does", lambda: run(plane, namespace, fits), fits)
        assert set(fits.values()) == {True, False}, "fillings of both kinds"

        running = [each for each in fillings if fits[each.name]]
        fits = said_to_fit(plane, namespace, running, replaced=True)
        patch = json.dumps({"spec": {"template": {"metadata": {"annotations": {"next": "one"}}}}})
        plane.kubectl("--namespace", namespace, "patch", *(f"deployment/{name}" for name in fits), f"--patch={patch}")
        wait_for("what an upgrade does", lambda: run(plane, namespace, fits), fits)
        assert set(fits.values()) == {True, False}, "upgrades of both kinds"


def said_to_fit(
    plane: ControlPlane, namespace: str, fillings: Sequence[Filling], *, replaced: bool
) -> dict[str, bool | None]:
    """Return of each filling, by its name, whether the check before a deployment finds GPUs enough."""
    nodes = [Node.parse(item) for item in found(plane, "nodes")]
    holders = Holder.parse_all(found(plane, "pods", "--all-namespaces"))
    return {
        each.name: not shortages(
            Workload.parse(each.deployment), namespace=namespace, replaced=replaced, nodes=nodes, holders=holders
        )
        for each in fillings
    }


def run(plane: ControlPlane, namespace: str, names: Iterable[str]) -> dict[str, bool | None]:
    """Return of each filling whether all its pods run; False where one waits for a node, None where that is open."""
    items = found(plane, "deployments,pods", f"--namespace={namespace}")
    waiting = {
        item["metadata"]["labels"]["app"]
        for item in items
        if any(each.get("reason") == "Unschedulable" for each in item["status"].get("conditions", ()))
    }
    made = {item["metadata"]["name"]: item for item in items if item["kind"] == "Deployment"}
    return {name: is_complete(made[name]) or (False if name in waiting else None) for name in names}


def is_complete(made: Mapping[str, Any]) -> bool:
    """Say whether all pods of a Deployment are as it now says, and run."""
    status, wanted = made["status"], made["spec"]["replicas"]
    seen: bool = status.get("observedGeneration") == made["metadata"]["generation"]
    return seen and all(status.get(key) == wanted for key in ("replicas", "updatedReplicas", "availableReplicas"))
