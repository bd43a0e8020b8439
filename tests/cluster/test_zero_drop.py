"""Calls that are under way, or begin, while pods come and go: not one may fail. Shown with -rP: what became of them."""

import sys
from collections.abc import Iterator

import pytest

from scripts.server.endpoint import Counters
from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.node import Node
from tests.cluster.pool import wait_for
from tests.cluster.traffic import Totals, Traffic, traffic
from tests.cluster.user import RELEASE

# Of the deployment that a test watches, its pods included; what builds the cluster does not count.
pytestmark = pytest.mark.timeout(240, func_only=True)
LEAST = 2000
# The chart's own pauses: what shortens other tests is what is tested here.
DEFAULTS = ("preStopSeconds=10", "exitTimeoutSeconds=30", "rollout.minReadySeconds=5", "replicas=2")
OPTIONS = [f"--set={each}" for each in DEFAULTS]


@pytest.fixture(scope="module")
def deployed(node: Node, offer: Offer) -> Iterator[Deployment]:
    """Deploy two pods."""
    with deployment(node.plane, offer, restricted=True) as made:
        made.deployed(*OPTIONS)
        yield made


@pytest.fixture
def calls(deployed: Deployment, node: Node) -> Iterator[Traffic]:
    """Call two pods by the name of their Service, from where the cluster's DNS knows it."""
    deployed.user.kubectl("scale", f"deployment/{RELEASE}", "--replicas=2")
    deployed.user.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=60s")
    url = f"dns:///{RELEASE}-headless.{deployed.user.namespace}.svc.cluster.local:8001"
    log = node.plane.folder / "logs" / "traffic.log"
    with log.open("ab") as stream, traffic(node.inside, url, model=deployed.offer.model, log=stream) as running:
        yield running


@pytest.mark.parametrize("surge", ["true", "false"])
def test_an_upgrade_drops_nothing(deployed: Deployment, calls: Traffic, surge: str) -> None:
    """Another image takes over, pod by pod, with a pod more meanwhile or with one less, and no caller notices."""
    (old,) = calls.until(100).versions
    image, new = (deployed.offer.successor, 3) if old == 2 else (deployed.offer.image, 2)
    deployed.deployed(*OPTIONS, f"--set=rollout.surge={surge}", image=image)
    during = calls.until(LEAST)
    none_failed(during)
    assert during.versions.keys() == {old, new}
    assert calls.until(100).versions.keys() == {new}


def test_the_end_of_a_pod_drops_nothing(deployed: Deployment, calls: Traffic) -> None:
    """A pod is deleted: its calls go to the other one, and then to its successor as well."""
    before = deployed.pods()
    wait_for("calls at both pods", lambda: all(answered(deployed, name) for name in before), True)
    deployed.user.kubectl("delete", "pod", min(before))
    during = calls.until(LEAST)
    wait_for("a new pod", lambda: len(deployed.pods().keys() - before.keys()), 1)
    (successor,) = deployed.pods().keys() - before.keys()
    wait_for("calls at the new pod", lambda: answered(deployed, successor) > 100, True)
    none_failed(during, calls.taken())


def test_scaling_down_drops_nothing(deployed: Deployment, calls: Traffic) -> None:
    """Of two pods one is taken away: the other one gets all calls."""
    before = deployed.pods()
    wait_for("calls at both pods", lambda: all(answered(deployed, name) for name in before), True)
    deployed.user.kubectl("scale", f"deployment/{RELEASE}", "--replicas=1")
    wait_for("the end of a pod", lambda: len(deployed.user.kubectl("get", "pods", "--output=name").split()), 1)
    none_failed(calls.until(LEAST))
    (left,) = deployed.pods()
    assert left in before
    assert answered(deployed, left) > 0


def none_failed(*totals: Totals) -> None:
    """Check that no caller saw a failure or died, and that both clients made enough calls to see one."""
    for each in totals:
        sys.stdout.write(f"{each}\n")
        assert each.failed == 0, each.errors
    assert sum(each.calls for each in totals) >= LEAST
    assert min(sum(each.threads for each in totals), sum(each.coroutines for each in totals)) >= LEAST // 4


def answered(of: Deployment, pod: str) -> int:
    """Return how many inference requests a pod's server has answered."""
    path = f"/api/v1/namespaces/{of.user.namespace}/pods/{pod}:8002/proxy/metrics"
    page = of.user.kubectl("get", f"--raw={path}")
    return int(Counters(text=page).total("nv_inference_request_success", model=of.offer.model))
