"""What a removal names, waits for, and leaves alone."""

import json
from collections.abc import Iterator

import attrs
import pytest

from scripts.cluster.release import destroy
from scripts.cluster.release.destroy import Removal
from scripts.cluster.release.left import leftovers
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
        "helm get hooks triton-infer": (0, ""),
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
    assert asked[3] == "helm uninstall triton-infer --namespace=triton"
    assert asked[4].startswith(
        f"{LEFT},pod.v1.,replicaset.v1.apps,secret.v1.,servicemonitor.v1.monitoring.coreos.com "
        "--selector=app.kubernetes.io/instance=triton-infer --output=name"
    )


def test_what_helm_has_forgotten_to_remove_goes_too() -> None:
    """Helm forgets a release even if the API was away for one of its orders; pods go with their owners."""
    delete = f"{KUBECTL} delete deployment.apps/triton-infer --ignore-not-found --wait=false"
    left = ["secret/triton-infer-admin\ndeployment.apps/triton-infer\npod/a\n", "pod/a\n"]
    cluster = Changing(answers(**{delete: NOTHING}), left=iter(left))
    destroy.remove(
        planned(cluster),
        kubectl=cluster.kubectl,
        helm=cluster.helm,
        progress=list[str]().append,
        clock=FakeTime().clock(),
    )
    assert sum(command.startswith(delete) for command in cluster.asked()) == 1


ORDERED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
HELD = {"finalizers": ["example.com/cleanup"]}
FIELDS = [
    {"manager": "helm", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
    {"manager": "cleaner", "fieldsV1": {"f:metadata": {"f:finalizers": {}}}},
]


@pytest.mark.parametrize(
    ("metadata", "saying"),
    [
        (ORDERED, ["is its node lost?", "  kubectl --namespace=triton delete pod/a --force --grace-period=0"]),
        (
            {**ORDERED, **HELD, "managedFields": FIELDS},
            [
                "finalizer example.com/cleanup, which cleaner has put there",
                '  kubectl --namespace=triton patch pod/a --type=merge \'--patch={"metadata":{"finalizers":null}}\'',
            ],
        ),
        (HELD, ["finalizer example.com/cleanup:", "  kubectl --namespace=triton delete pod/a --wait=false\n  kubectl"]),
        ({}, ["no order to go", "  kubectl --namespace=triton delete pod/a"]),
    ],
)
def test_what_does_not_go_is_named_with_what_holds_it(metadata: dict[str, object], saying: list[str]) -> None:
    """After the grace period and a minute: the finalizer and its owner, or the node, and the command that helps."""
    time = FakeTime()
    looked = {f"{KUBECTL} get pod/a --show-managed-fields": (0, json.dumps({"metadata": metadata}))}
    cluster = Changing(answers(**looked), left=iter(["pod/a\n"] * 1000))
    with pytest.raises(TaskFailure, match=r"(?s)still there: pod/a\.") as raised:
        destroy.remove(
            planned(cluster),
            kubectl=cluster.kubectl,
            helm=cluster.helm,
            progress=list[str]().append,
            clock=time.clock(),
        )
    assert 120 < time.now < 125
    for words in saying:
        assert words in str(raised.value)


def test_what_a_failed_test_left_goes_too() -> None:
    """Helm forgets it, and it would be waited for until there is no more patience."""
    hook = "apiVersion: v1\nkind: Pod\nmetadata: {name: triton-infer-test-ready, annotations: {helm.sh/hook: test}}\n"
    delete = f"{KUBECTL} delete pod/triton-infer-test-ready --ignore-not-found --wait=false"
    cluster = Changing(answers(**{"helm get hooks triton-infer": (0, hook), delete: NOTHING}))
    removal = planned(cluster)
    destroy.remove(removal, kubectl=cluster.kubectl, helm=cluster.helm, progress=list[str]().append)
    assert delete in cluster.asked()
    assert delete in map(str, removal.commands(cluster.kubectl, cluster.helm))


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
    assert leftovers(cluster.kubectl, planned(cluster).resources, TARGET.owned) == ["pod/a"]


def test_a_cluster_that_is_gone_is_no_proof_of_absence() -> None:
    """Where it cannot be asked, nothing is said to be gone."""
    cluster = Cluster({**answers(), KUBECTL: (1, "Unable to connect to the server: dial tcp: i/o timeout")})
    with pytest.raises(TaskFailure, match="gives no answer"):
        leftovers(cluster.kubectl, planned(cluster).resources, TARGET.owned)


def test_helms_refusal_is_one_message() -> None:
    """And nothing is waited for."""
    refused = (1, 'Error: secrets "x" is forbidden: User "u" cannot delete resource "secrets"')
    cluster = Cluster({**answers(), "helm uninstall triton-infer": refused})
    with pytest.raises(TaskFailure, match="Cannot uninstall triton-infer: this login may not do that"):
        destroy.remove(planned(cluster), kubectl=cluster.kubectl, helm=cluster.helm, progress=list[str]().append)
