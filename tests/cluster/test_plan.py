"""The agent in a pod: a plan that comes with the release alone is followed, over restarts of either container."""

import json
from datetime import UTC, datetime

import pytest

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.plane import Access
from tests.cluster.user import RELEASE
from tests.waiting import wait_until

# Of what a test does itself: what it stands on may have to be built first.
pytestmark = pytest.mark.timeout(300, func_only=True)
# kubelet brings a changed ConfigMap with its next look at the pod: 10 s on the tests' node, a minute elsewhere.
WITHIN_S = 120.0
# An agent that ends sooner ends its container, too: it cannot run, most likely.
RAN_S = 12.0


def test_a_plan_of_the_release_is_followed_without_a_restart(access: Access, offer: Offer) -> None:
    """By default a pod of the strictest level serves the image's highest version; another plan needs no other pod."""
    if len(offer.versions) < 2:
        pytest.skip("the image has one version only")
    first, last = str(offer.versions[0]), str(offer.versions[-1])
    with deployment(access, offer, restricted=True) as made:
        made.deployed()
        before = made.pods()
        (pod,) = before
        assert made.ask() == last

        plan = {"serve": [offer.versions[0]]}
        made.helm(
            *("upgrade", RELEASE, "helm/triton", "--reuse-values", "--set=plan.generation=1"),
            f"--set-json=models.{offer.model}={json.dumps(plan)}",
        )
        wait_until(lambda: made.ask() == first, "version 1 for all", within_s=WITHIN_S, every_s=0.5)
        assert made.pods() == before

        wait_until(lambda: _age_s(made, pod) > RAN_S, "an agent that ran for a while", within_s=WITHIN_S, every_s=0.5)
        made.user.kubectl("exec", pod, "--container=agent", "--", "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
        assert made.ask() == first, "a server does not need an agent to serve"
        wait_until(lambda: _settled(made), "the agent's next life", within_s=WITHIN_S, every_s=0.2)
        assert _restarts(made, pod) == {"agent": 0, "triton": 0}
        assert made.pods() == before, "nor to get traffic"

        made.user.kubectl("exec", pod, "--container=triton", "--", "sh", "-c", "kill 1")
        wait_until(lambda: _restarts(made, pod)["triton"] == 1, "the server's end", within_s=WITHIN_S, every_s=0.2)
        wait_until(lambda: made.pods() == before, "the server's next life", within_s=WITHIN_S, every_s=0.2)
        assert made.ask() == first, "it comes back with the plan's version, not with the image's highest"


def _settled(made: Deployment) -> bool:
    """Return whether the agent answers, and just the plan is served."""
    service = f"/api/v1/namespaces/{made.user.namespace}/services/{RELEASE}:agent/proxy"
    try:
        return bool(json.loads(made.user.kubectl("get", f"--raw={service}/v1/state"))["settled"])
    except AssertionError:
        return False


def _age_s(made: Deployment, pod: str) -> float:
    """Return for how long the agent's container has run."""
    status = json.loads(made.user.kubectl("get", "pod", pod, "--output=json"))["status"]
    (agent,) = (each for each in status["initContainerStatuses"] if each["name"] == "agent")
    return (datetime.now(UTC) - datetime.fromisoformat(agent["state"]["running"]["startedAt"])).total_seconds()


def _restarts(made: Deployment, pod: str) -> dict[str, int]:
    """Return how often each container of the pod was started anew."""
    status = json.loads(made.user.kubectl("get", "pod", pod, "--output=json"))["status"]
    each = (*status["initContainerStatuses"], *status["containerStatuses"])
    return {one["name"]: one["restartCount"] for one in each}
