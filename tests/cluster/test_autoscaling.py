"""The chart's autoscaler on a pool of GPUs: Kubernetes' own controller, and a queue that is as long as a test says."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.metrics_api import Metrics, custom_metrics
from tests.cluster.plane import ControlPlane
from tests.cluster.pool import Owner, create, gpu_pod, owning, row, wait_for
from tests.cluster.simulated import simulated_nodes
from tests.cluster.user import RELEASE

# What builds the cluster does not count.
pytestmark = pytest.mark.timeout(180, func_only=True)
METRIC = "nv_inference_pending_request_count"
LEAST, MOST, PAUSE_S = 2, 4, 10
SCALING = (
    "autoscaling.enabled=true",
    f"autoscaling.minReplicas={LEAST}",
    f"autoscaling.maxReplicas={MOST}",
    "autoscaling.target=8",
    f"autoscaling.scaleDownSeconds={PAUSE_S}",
)


@pytest.fixture
def owner(plane: ControlPlane, tmp_path: Path) -> Iterator[Owner]:
    """Give an owner, and as many GPUs as the autoscaler may use."""
    with simulated_nodes(plane, MOST, name="scaled"), owning(plane, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def served(plane: ControlPlane) -> Iterator[Metrics]:
    """Give an API of custom metrics."""
    with custom_metrics(plane) as metrics:
        yield metrics


@pytest.fixture
def metrics(served: Metrics) -> Metrics:
    """Give the API of custom metrics, without any."""
    served.values.clear()
    return served


def test_without_metrics_it_is_refused(owner: Owner) -> None:
    """Where nothing could tell the autoscaler how long the queue is, the deployment says what to install."""
    said = owner.refused(*SCALING)
    assert f"The cluster has no custom.metrics.k8s.io, where autoscaling looks for {METRIC}" in said
    assert "prometheus-adapter" in said


def test_pods_follow_the_queue(owner: Owner, metrics: Metrics) -> None:
    """A queue that grows brings pods up to the most, a deployment leaves their number alone, an empty one ends them."""
    assert f"The metric {METRIC} is not there in custom.metrics.k8s.io" in owner.deploy(*SCALING)
    metrics.values[METRIC] = 8.0
    wait_for("the least", lambda: replicas(owner), LEAST)

    metrics.values[METRIC] = 80.0
    wait_for("the most", lambda: (replicas(owner), ready(owner)), (MOST, MOST))
    assert len(set(owner.nodes())) == MOST

    scaled = autoscaler(owner)["status"]["lastScaleTime"]
    said = owner.deploy(*SCALING, "podAnnotations.next=one")
    assert "is not there" not in said
    assert row(said, "pods ready") == f"{MOST} of {MOST}"
    assert {pod["metadata"]["annotations"]["next"] for pod in owner.pods()} == {"one"}
    assert autoscaler(owner)["status"]["lastScaleTime"] == scaled, "nothing had to be put right"
    assert replicas(owner) == MOST

    metrics.values[METRIC] = 0.0
    began = time.monotonic()
    wait_for("fewer pods", lambda: replicas(owner) < MOST, True)
    # The controller looks every 2 s.
    assert time.monotonic() - began > PAUSE_S - 2, "the queue must stay empty for a while"


def test_turning_it_on_ends_no_pod(owner: Owner, metrics: Metrics) -> None:
    """Three pods stay three until the autoscaler decides, and after the next deployment too."""
    metrics.values[METRIC] = 8.0
    owner.deploy("replicas=3")
    before = {pod["metadata"]["uid"] for pod in owner.pods()}
    for arguments in (SCALING, (*SCALING, "autoscaling.target=9")):
        owner.deploy(*arguments)
        assert (replicas(owner), {pod["metadata"]["uid"] for pod in owner.pods()}) == (3, before)


def test_what_has_no_gpu_is_named(plane: ControlPlane, owner: Owner, metrics: Metrics) -> None:
    """Where others have a GPU, the last pod waits for it, and `status` says so."""
    create(plane, "default", gpu_pod("hog"))
    try:
        plane.kubectl("--namespace=default", "wait", "pod/hog", "--for=condition=Ready", "--timeout=30s")
        metrics.values[METRIC] = 80.0
        owner.deploy(*SCALING)
        wait_for("the most", lambda: (replicas(owner), ready(owner)), (MOST, MOST - 1))
        said = owner.user.succeed("status")
        assert row(said, "pods") == f"{MOST - 1} of {MOST} ready"
        assert f"{MOST} wanted, {LEAST} to {MOST}" in row(said, "autoscaler")
        assert "Insufficient nvidia.com/gpu" in said

        refused = owner.refused(*SCALING, "podAnnotations.next=one")
        assert f"Too few nvidia.com/gpu: {MOST} pods with 1 each" in refused
        assert "Held by others: default/hog (1 on scaled-" in refused
        assert f"--set autoscaling.maxReplicas={MOST - 1}" in refused
        said = owner.deploy(*SCALING, "podAnnotations.next=one", f"autoscaling.maxReplicas={MOST - 1}")
        assert row(said, "pods ready") == f"{MOST - 1} of {MOST - 1}"
        # The autoscaler asks for the last pod while the first of these waits, or after it; the second finds it waiting.
        owner.deploy(*SCALING, "podAnnotations.next=one")
        wait_for("the most", lambda: (replicas(owner), ready(owner)), (MOST, MOST - 1))
        said = owner.deploy(*SCALING, "podAnnotations.next=one", "autoscaling.target=9")
        assert row(said, "pods ready") == f"{MOST - 1} of {MOST}"
    finally:
        plane.kubectl("--namespace=default", "delete", "pod", "hog")
    wait_for("the last pod", lambda: ready(owner), MOST)


def replicas(owner: Owner) -> int:
    """Return how many pods the Deployment shall have."""
    return int(owner.user.kubectl("get", "deployment", RELEASE, "--output=jsonpath={.spec.replicas}"))


def ready(owner: Owner) -> int:
    """Return how many of its pods are ready."""
    return int(owner.user.kubectl("get", "deployment", RELEASE, "--output=jsonpath={.status.readyReplicas}") or 0)


def autoscaler(owner: Owner) -> dict[str, Any]:
    """Return the autoscaler."""
    found: dict[str, Any] = json.loads(owner.user.kubectl("get", "hpa", RELEASE, "--output=json"))
    return found
