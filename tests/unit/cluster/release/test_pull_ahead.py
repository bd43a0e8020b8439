"""A new image is on the nodes before an old pod goes."""

import json
from typing import Any

import pytest

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Workload
from scripts.cluster.patience import Patience
from scripts.cluster.release.pull_ahead import Puller, nodes_of, pod
from scripts.cluster.release.rollout import RolloutFailure
from scripts.cluster.target import Target
from tests.doubles.kubernetes import WHERE, Answer, Cluster, Lines, Time, container, deployment, failed, holder

NAME = "triton-infer-pull-1"
SECURE = {"runAsNonRoot": True}
WORKLOAD = Workload.parse(deployment(image="two", gpus=1, securityContext=SECURE, imagePullSecrets=[{"name": "s"}]))


def state(*statuses: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return the pod as the API has it."""
    return {"metadata": {"name": NAME}, "status": {"containerStatuses": list(statuses), **status}}


WAITS = state(container(state={"waiting": {"reason": "ContainerCreating"}}))
PULLED = state(container(state={"terminated": {"exitCode": 0}}, imageID="x"))
REFUSED = state(container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}))


class Pull:
    """A pull, its cluster and what is told."""

    def __init__(self, *states: Answer, create: Answer = "pod/x") -> None:
        self.time, self.said = Time(), Lines()
        self.cluster = Cluster(
            answers={"kubectl delete": "", "kubectl create": create, "kubectl get pod": list(states)}
        )
        kubectl = Kubectl(self.cluster, where=WHERE, namespace="triton", patience=Patience(clock=self.time.clock))
        self.puller = Puller(target=Target(), kubectl=kubectl, show=self.said.show, clock=self.time.clock)

    def run(self) -> None:
        """Pull."""
        self.puller.pull(WORKLOAD, ["gpu-1"], timeout_s=100)

    @property
    def removed(self) -> bool:
        """Whether the pod was removed at last."""
        return self.cluster.ran[-1].startswith(f"kubectl delete pod {NAME} --ignore-not-found --grace-period=0")


def test_the_pod_asks_for_nothing_and_is_nobody_s() -> None:
    """Neither a GPU nor a scheduler; whatever makes the image's pull and the pod's admission work is copied."""
    made = pod(WORKLOAD, node="gpu-1", name=NAME, target=Target())
    spec, (one,) = made["spec"], made["spec"]["containers"]
    assert (spec["nodeName"], one["image"], one["command"]) == ("gpu-1", "two", ["true"])
    assert (spec["securityContext"], spec["imagePullSecrets"]) == (SECURE, [{"name": "s"}])
    assert "nvidia.com/gpu" not in json.dumps(made)
    assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "pull"
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "triton-infer"


def test_it_is_waited_for_and_goes() -> None:
    """With how long it took."""
    pull = Pull(WAITS, WAITS, PULLED)
    pull.run()
    assert pull.removed
    assert pull.said.lines == [
        "Pulling the image on gpu-1, while the old pods serve",
        "The image is on gpu-1 after 4 s",
    ]


@pytest.mark.parametrize(("states", "saying"), [([REFUSED], "not found"), ([WAITS], "not on gpu-1 in time")])
def test_an_image_that_cannot_be_had_stops_the_upgrade(states: list[Answer], saying: str) -> None:
    """While all old pods serve; and the pod goes all the same."""
    pull = Pull(*states)
    with pytest.raises(RolloutFailure, match=saying):
        pull.run()
    assert pull.removed


def test_where_such_pods_are_not_allowed_the_upgrade_goes_on() -> None:
    """With a note: it works as it did before, only with a longer gap."""
    pull = Pull(create=failed("Error from server (Forbidden): pods is forbidden: exceeded quota"))
    pull.run()
    assert "is not pulled ahead" in pull.said.lines[-1]
    assert pull.removed


def test_where_the_node_does_not_take_it_the_upgrade_goes_on() -> None:
    """A node that is full takes nothing at all, and says so in the pod."""
    pull = Pull({"metadata": {"name": NAME}, "status": {"phase": "Failed", "reason": "OutOfpods"}})
    pull.run()
    assert "gpu-1 did not take the pod triton-infer-pull-1: OutOfpods" in pull.said.lines[-1]


def test_it_is_pulled_where_the_old_pods_are() -> None:
    """Each node once; pods of others do not count."""
    own = [holder(name, on=on, namespace="triton") for name, on in (("a", "n1"), ("b", "n1"), ("c", "n2"), ("d", None))]
    assert nodes_of(WORKLOAD, [*own, holder("x", on="n3")]) == ["n1", "n2"]
