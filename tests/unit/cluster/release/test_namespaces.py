"""What becomes of a namespace whose release is removed."""

import json

import pytest

from scripts.cluster.release import namespaces
from scripts.cluster.target import CREATED_BY
from scripts.host.errors import TaskFailure
from tests.doubles.cluster import TARGET, Cluster

KUBECTL = "kubectl --namespace=triton"


def namespace(**metadata: object) -> Cluster:
    """Return a cluster with the namespace."""
    return Cluster({f"{KUBECTL} get namespace triton": (0, json.dumps({"metadata": metadata}))})


def test_only_a_namespace_that_deploy_triton_made_is_ours() -> None:
    """By its annotation; one that is on its way out needs nothing."""
    ours = {CREATED_BY: "deploy-triton"}
    assert namespaces.is_ours(namespace(annotations=ours).kubectl, "triton")
    assert not namespaces.is_ours(namespace().kubectl, "triton")
    assert not namespaces.is_ours(namespace(annotations=ours, deletionTimestamp="now").kubectl, "triton")
    gone = Cluster({KUBECTL: (1, 'Error from server (NotFound): namespaces "triton" not found')})
    assert not namespaces.is_ours(gone.kubectl, "triton")


def test_what_every_namespace_has_is_nobody() -> None:
    """Anything else is named: also another release's history."""
    listed = "configmaps\npods\nsecrets\nserviceaccounts\nevents\nevents.events.k8s.io\npods.metrics.k8s.io\n"
    there = "configmap/kube-root-ca.crt\nserviceaccount/default\nsecret/sh.helm.release.v1.other.v1\n"
    cluster = Cluster({
        f"{KUBECTL} api-resources": (0, listed),
        f"{KUBECTL} get configmaps,pods,secrets,serviceaccounts --output=name": (0, there),
    })  # fmt: skip
    assert namespaces.inhabitants(cluster.kubectl) == ["secret/sh.helm.release.v1.other.v1"]


def test_a_namespace_of_which_not_all_can_be_seen_is_not_called_empty() -> None:
    """A kind that we may not list may be there."""
    cluster = Cluster({
        f"{KUBECTL} api-resources": (0, "secrets\n"),
        f"{KUBECTL} get secrets": (1, "Error from server (Forbidden): secrets is forbidden"),
    })  # fmt: skip
    with pytest.raises(TaskFailure, match="look for what else is in the namespace"):
        namespaces.inhabitants(cluster.kubectl)


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

    said = namespaces.settle_namespace(cluster.kubectl, TARGET, wanted=wanted, agree=agree, progress=list[str]().append)
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
    assert said == "The namespace triton stays, because this is in it: secret/mine."
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


def test_a_login_that_may_not_see_all_leaves_the_namespace_with_a_word() -> None:
    """The role `edit` sees not every kind; that the release is gone is a success all the same."""
    cluster = Cluster({
        f"{KUBECTL} get namespace triton": (0, json.dumps({"metadata": OURS})),
        f"{KUBECTL} api-resources": (0, "secrets\n"),
        f"{KUBECTL} get secrets": (1, "Error from server (Forbidden): roles is forbidden"),
    })  # fmt: skip
    said = namespaces.settle_namespace(
        cluster.kubectl, TARGET, wanted=True, agree=lambda _: True, progress=list[str]().append
    )
    assert "this login may not see all that may be in it" in said
    assert said.endswith(f"\n  {REMOVE}")


RELEASED = "deployment.apps/triton-infer\nsecret/sh.helm.release.v1.triton-infer.v1\npod/triton-infer-test\npod/x\n"


@pytest.mark.parametrize(
    ("there", "metadata", "said"),
    [
        (RELEASED, True, REMOVE),
        (f"{RELEASED}secret/mine\n", True, "The namespace triton stays, because this is in it: secret/mine."),
        (RELEASED, False, "The namespace triton was not made by deploy-triton, or is gone: it is left as it is."),
    ],
)
def test_a_plan_says_what_the_removal_would_do(there: str, metadata: bool, said: str) -> None:
    """No command that it would refuse to run: what goes with the release does not count, anything else does."""
    cluster = Cluster({
        f"{KUBECTL} get namespace triton": (0, json.dumps({"metadata": OURS if metadata else {}})),
        f"{KUBECTL} api-resources": (0, "deployments\npods\nsecrets\n"),
        f"{KUBECTL} get deployments,pods,secrets --selector": (0, "pod/x\n"),
        f"{KUBECTL} get deployments,pods,secrets": (0, there),
    })  # fmt: skip
    gone = ["deployment.apps/triton-infer", "pod/triton-infer-test"]
    assert namespaces.intended(cluster.kubectl, TARGET, gone=gone) == said
