"""What a removal names, waits for, and leaves alone."""

import json
from collections.abc import Iterator

import attrs
import pytest

from scripts.cluster.release import destroy
from scripts.cluster.release.destroy import Removal
from scripts.cluster.target import CREATED_BY
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed
from tests.doubles.cluster import DEPLOYED, TARGET, Cluster

MANIFEST = """\
apiVersion: v1
kind: Secret
metadata:
  name: triton-infer-admin
  annotations: {helm.sh/resource-policy: keep}
data: {key: c2VzYW1l}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: triton-infer}
spec:
  selector: {}
  template: {spec: {terminationGracePeriodSeconds: 60, containers: []}}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: triton-infer}
"""
KUBECTL = "kubectl --namespace=triton"
LEFT = f"{KUBECTL} get deployment.v1.apps"
NOTHING = (0, "")


@attrs.frozen
class Changing(Cluster):
    """A cluster whose answer to one question changes: what is left goes bit by bit."""

    left: Iterator[str] = attrs.field(factory=lambda: iter(()))

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        if str(command).startswith(LEFT):
            self.ran.append(command)
            return Completed(status=0, output=next(self.left, ""))
        return super().capture(command, timeout_s=timeout_s)


@attrs.define
class FakeTime:
    """Time that passes by waiting only."""

    now: float = 0.0

    def clock(self) -> Clock:
        """Return it as the clock that waiting needs."""
        return Clock(now=lambda: self.now, sleep=self.wait)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def answers(**more: tuple[int, str]) -> dict[str, tuple[int, str]]:
    """Return the answers of a cluster with the release."""
    return {
        "helm history triton-infer": (0, json.dumps(DEPLOYED)),
        "helm get manifest triton-infer": (0, MANIFEST),
        "helm uninstall triton-infer": (0, 'release "triton-infer" uninstalled'),
        **more,
    }


def planned(cluster: Cluster) -> Removal:
    """Return what there is to remove."""
    found = destroy.plan(cluster.helm, TARGET)
    assert found is not None
    return found


def test_everything_is_named_before() -> None:
    """Release, revision and namespace, and each object; what Helm will keep is said, and no secret is there."""
    found = planned(Cluster(answers()))
    assert found.title == "To be removed: release triton-infer, revision 3, in the namespace triton."
    assert found.rows == [
        ("Deployment", "triton-infer", ""),
        ("Secret", "triton-infer-admin", "kept: it asks for that"),
        ("ServiceMonitor", "triton-infer", ""),
    ]
    assert "c2VzYW1l" not in f"{found.rows}"
    assert found.grace_s == 60


@pytest.mark.parametrize("state", ["failed", "pending-upgrade", "uninstalling"])
def test_a_release_in_any_state_can_go(state: str) -> None:
    """Its state is said."""
    history = {"helm history triton-infer": (0, json.dumps([{**DEPLOYED[0], "status": state}]))}
    assert f"revision 3, {state}, in" in planned(Cluster({**answers(), **history})).title


@pytest.mark.parametrize(
    "history",
    [(1, "Error: release: not found"), (0, json.dumps([{**DEPLOYED[0], "status": "uninstalled"}]))],
    ids=["never there", "uninstalled"],
)
def test_nothing_there_is_nothing_to_do(history: tuple[int, str]) -> None:
    """So that removing twice is removing once."""
    assert destroy.plan(Cluster({"helm history": history}).helm, TARGET) is None


def test_it_waits_until_all_is_gone() -> None:
    """What is left is told whenever it changes; what Helm keeps is not waited for."""
    kept = "secret/triton-infer-admin\n"
    left = [f"{kept}pod/a\npod/b\n", f"{kept}pod/a\npod/b\n", f"{kept}pod/b\n", kept]
    cluster, told = Changing(answers(), left=iter(left)), list[str]()
    destroy.remove(
        planned(cluster), kubectl=cluster.kubectl, helm=cluster.helm, progress=told.append, clock=FakeTime().clock()
    )
    assert [line for line in told if line.startswith("Waiting")] == [
        "Waiting for pod/a, pod/b (a pod may take its grace period of 60 s)",
        "Waiting for pod/b (a pod may take its grace period of 60 s)",
    ]
    asked = cluster.asked()
    assert asked[2] == "helm uninstall triton-infer --namespace=triton"
    assert asked[3].startswith(
        f"{LEFT},pod.v1.,replicaset.v1.apps,secret.v1.,servicemonitor.v1.monitoring.coreos.com "
        "--selector=app.kubernetes.io/instance=triton-infer --output=name"
    )


def test_what_does_not_go_is_named() -> None:
    """After the grace period and a minute, with how to remove it by force."""
    time = FakeTime()
    cluster = Changing(answers(), left=iter(["pod/a\n"] * 1000))
    with pytest.raises(TaskFailure, match=r"(?s)still there: pod/a\..*delete pod/a --force --grace-period=0"):
        destroy.remove(
            planned(cluster),
            kubectl=cluster.kubectl,
            helm=cluster.helm,
            progress=list[str]().append,
            clock=time.clock(),
        )
    assert 120 < time.now < 125


def test_a_kind_that_the_cluster_does_not_know_hides_no_other() -> None:
    """Its definition may be gone by now; the other kinds are looked for one by one."""
    unknown = (1, 'error: the server doesn\'t have a resource type "servicemonitor"')
    closed = (1, "Error from server (Forbidden): secrets is forbidden")
    cluster = Cluster({
        f"{KUBECTL} get deployment.v1.apps,": unknown,
        f"{KUBECTL} get servicemonitor": unknown,
        f"{KUBECTL} get secret": closed,
        f"{KUBECTL} get pod": (0, "pod/a\n"),
        f"{KUBECTL} get": NOTHING,
        **answers(),
    })  # fmt: skip
    assert destroy.leftovers(cluster.kubectl, planned(cluster)) == ["pod/a"]


def test_a_cluster_that_is_gone_is_no_proof_of_absence() -> None:
    """Where it cannot be asked, nothing is said to be gone."""
    cluster = Cluster({**answers(), KUBECTL: (1, "Unable to connect to the server: dial tcp: i/o timeout")})
    with pytest.raises(TaskFailure, match="gives no answer"):
        destroy.leftovers(cluster.kubectl, planned(cluster))


def test_helms_refusal_is_one_message() -> None:
    """And nothing is waited for."""
    refused = (1, 'Error: secrets "x" is forbidden: User "u" cannot delete resource "secrets"')
    cluster = Cluster({**answers(), "helm uninstall triton-infer": refused})
    with pytest.raises(TaskFailure, match="Cannot uninstall triton-infer: this login may not do that"):
        destroy.remove(planned(cluster), kubectl=cluster.kubectl, helm=cluster.helm, progress=list[str]().append)


def namespace(**metadata: object) -> Cluster:
    """Return a cluster with the namespace."""
    return Cluster({f"{KUBECTL} get namespace triton": (0, json.dumps({"metadata": metadata}))})


def test_only_a_namespace_that_deploy_triton_made_is_ours() -> None:
    """By its annotation; one that is on its way out needs nothing."""
    ours = {CREATED_BY: "deploy-triton"}
    assert destroy.is_ours(namespace(annotations=ours).kubectl, "triton")
    assert not destroy.is_ours(namespace().kubectl, "triton")
    assert not destroy.is_ours(namespace(annotations=ours, deletionTimestamp="now").kubectl, "triton")
    gone = Cluster({KUBECTL: (1, 'Error from server (NotFound): namespaces "triton" not found')})
    assert not destroy.is_ours(gone.kubectl, "triton")


def test_what_every_namespace_has_is_nobody() -> None:
    """Anything else is named: also another release's history."""
    listed = "configmaps\npods\nsecrets\nserviceaccounts\nevents\nevents.events.k8s.io\npods.metrics.k8s.io\n"
    there = "configmap/kube-root-ca.crt\nserviceaccount/default\nsecret/sh.helm.release.v1.other.v1\n"
    cluster = Cluster({
        f"{KUBECTL} api-resources": (0, listed),
        f"{KUBECTL} get configmaps,pods,secrets,serviceaccounts --output=name": (0, there),
    })  # fmt: skip
    assert destroy.inhabitants(cluster.kubectl) == ["secret/sh.helm.release.v1.other.v1"]


def test_a_namespace_of_which_not_all_can_be_seen_is_not_called_empty() -> None:
    """A kind that we may not list may be there."""
    cluster = Cluster({
        f"{KUBECTL} api-resources": (0, "secrets\n"),
        f"{KUBECTL} get secrets": (1, "Error from server (Forbidden): secrets is forbidden"),
    })  # fmt: skip
    with pytest.raises(TaskFailure, match="look for what else is in the namespace"):
        destroy.inhabitants(cluster.kubectl)


OURS = {"annotations": {CREATED_BY: "deploy-triton"}}
EMPTY = "configmap/kube-root-ca.crt\nserviceaccount/default\n"
REMOVE = f"{KUBECTL} delete namespace triton --ignore-not-found --timeout=300s"


def settled(*, there: str, wanted: bool, agrees: bool, **metadata: object) -> tuple[str, Cluster, list[str]]:
    """Return what is said of a namespace with these objects, the cluster, and the questions that were put."""
    cluster = Cluster({
        f"{KUBECTL} get namespace triton": (0, json.dumps({"metadata": metadata})),
        f"{KUBECTL} api-resources": (0, "configmaps\nsecrets\nserviceaccounts\n"),
        f"{KUBECTL} get configmaps": (0, there),
        REMOVE: (0, 'namespace "triton" deleted'),
    })  # fmt: skip
    questions: list[str] = []

    def agree(question: str) -> bool:
        questions.append(question)
        return agrees

    said = destroy.settle_namespace(cluster.kubectl, TARGET, wanted=wanted, agree=agree, progress=list[str]().append)
    return said, cluster, questions


@pytest.mark.parametrize(
    ("wanted", "agrees", "asked"), [(True, False, 0), (False, True, 1)], ids=["by the flag", "by an answer"]
)
def test_an_empty_namespace_goes_where_it_is_wanted(wanted: bool, agrees: bool, asked: int) -> None:
    """A flag spares the question."""
    said, cluster, questions = settled(there=EMPTY, wanted=wanted, agrees=agrees, **OURS)
    assert said == "The namespace triton is removed."
    assert REMOVE in cluster.asked()
    assert len(questions) == asked


def test_an_empty_namespace_stays_where_it_is_not() -> None:
    """And how to remove it is said."""
    said, cluster, questions = settled(there=EMPTY, wanted=False, agrees=False, **OURS)
    assert said == "The empty namespace triton stays; `invoke destroy-triton --with-namespace` removes it."
    assert REMOVE not in cluster.asked()
    assert questions == ["Remove the namespace triton, which deploy-triton made, too?"]


def test_a_namespace_with_something_in_it_stays() -> None:
    """Whatever is wanted: nobody is even asked."""
    said, cluster, questions = settled(there=f"{EMPTY}secret/mine\n", wanted=True, agrees=True, **OURS)
    assert said == "The namespace triton stays, since this is in it: secret/mine."
    assert REMOVE not in cluster.asked()
    assert questions == []


@pytest.mark.parametrize(("wanted", "said"), [(True, "was not made by deploy-triton"), (False, "")])
def test_a_namespace_of_somebody_else_stays(wanted: bool, said: str) -> None:
    """Which is worth a word only where its removal was asked for."""
    found, cluster, questions = settled(there=EMPTY, wanted=wanted, agrees=True)
    assert said in found
    assert bool(found) == wanted
    assert REMOVE not in cluster.asked()
    assert questions == []
