"""What kubectl and helm say, and what becomes of it: causes and releases."""

import json

import pytest

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.access import Right, client_version, namespace_exists, needed, plural, refused, say_refused
from scripts.cluster.says import ClusterFailure, explain
from scripts.cluster.target import Where
from scripts.host.program import Version
from scripts.host.secret import Secret
from scripts.host.shell import Completed
from tests.doubles.kubernetes import Cluster, failed
from tests.doubles.runners import NoProgram

WHERE = Where(context="c", server="https://s")

REFUSED = (
    'E1122 20:25:05.116 1143 memcache.go:265] "Unhandled Error" err="couldn\'t get current server API group list"\n'
    "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?"
)
FORBIDDEN = 'Error from server (Forbidden): pods is forbidden: User "x" cannot list resource "pods" in API group ""'


@pytest.mark.parametrize(
    ("said", "cause", "advice"),
    [
        ('error: context "nope" does not exist', "context", "KUBE_CONTEXT"),
        ('Error: Kubernetes cluster unreachable: context "nope" does not exist', "context", "KUBE_CONTEXT"),
        ("error: cannot locate context nope", "context", "get-contexts"),
        ("error: current-context must exist in order to minify", "context", "use-context"),
        ("The connection to the server localhost:8080 was refused", "context", "KUBECONFIG"),
        (REFUSED, "unreachable", "VPN"),
        ("Unable to connect to the server: dial tcp: lookup h: no such host", "unreachable", "VPN"),
        ('Error: Kubernetes cluster unreachable: Get "https://h": context deadline exceeded', "unreachable", "VPN"),
        ("kubectl get pods gave no answer within 60 s.", "unreachable", "VPN"),
        ("error: You must be logged in to the server (Unauthorized)", "login", "log in again"),
        ("Unable to connect: getting credentials: exec: executable aws not found", "login", "aws sso login"),
        ("Unable to connect to the server: x509: certificate signed by unknown authority", "trust", "kubeconfig"),
        (FORBIDDEN, "forbidden", "RoleBinding"),
        ('secrets "a" is forbidden: unable to create because it is being terminated', "other", "choose another one"),
        ('Error from server (NotFound): deployments.apps "x" not found', "not found", ""),
        ("something else", "other", ""),
    ],
)
def test_each_failure_has_its_cause_and_its_advice(said: str, cause: str, advice: str) -> None:
    """The first thing that is wrong is told, and what is only noise around it is not."""
    failure = explain(said, doing="look")
    assert failure.cause == cause
    assert advice in str(failure)
    assert str(failure).startswith("Cannot look: ")
    assert "memcache" not in str(failure)


def test_a_missing_program_is_told_with_where_to_get_it() -> None:
    """Kubectl and helm have pages that say how to install them."""
    runner = NoProgram(answers={})
    with pytest.raises(ClusterFailure, match=r"kubectl is needed .*https://kubernetes\.io") as raised:
        Kubectl(runner).text("get", "pods")
    assert raised.value.cause == "missing program"
    with pytest.raises(ClusterFailure, match=r"helm is needed .*https://helm\.sh"):
        Helm(runner, namespace="n").version()


def test_kubectl_is_told_where_and_how_long() -> None:
    """Context and namespace on every command; a limit on what asks the cluster, and none on what does not."""
    cluster = Cluster(answers={"kubectl": "{}"})
    kubectl = Kubectl(cluster, where=WHERE, namespace="n")
    assert kubectl.json("get", "pods") == {}
    assert list(cluster.commands[0].argv) == [
        *("kubectl", "--context=c", "--server=https://s", "--namespace=n", "get", "pods", "--output=json"),
        "--request-timeout=10s",
    ]
    Kubectl(cluster).json("version", "--client")
    assert "--request-timeout=10s" not in cluster.commands[1].argv


def test_an_answer_that_is_no_json_is_told() -> None:
    """A warning on standard output, say."""
    with pytest.raises(ClusterFailure, match="answered no JSON"):
        Kubectl(Cluster(answers={"kubectl": "hello"})).json("get", "pods")


def test_a_helm_without_a_version_is_told() -> None:
    """Something else of that name."""
    with pytest.raises(ClusterFailure, match="does not say its version"):
        Helm(Cluster(answers={"helm version": "hello"}), namespace="n").version()


def test_the_history_of_a_release() -> None:
    """In order; nothing where there is no release; and a failure where the cluster does not answer."""
    entries = [{"revision": n, "status": "superseded" if n < 3 else "pending-upgrade"} for n in (3, 1, 2)]
    history = Helm(Cluster(answers={"helm history": json.dumps(entries)}), namespace="n").history("r")
    assert [(r.number, r.is_pending) for r in history] == [(1, False), (2, False), (3, True)]
    assert (
        Helm(Cluster(answers={"helm history": failed("Error: release: not found")}), namespace="n").history("r") == ()
    )
    with pytest.raises(ClusterFailure) as raised:
        Helm(Cluster(answers={"helm history": failed(REFUSED)}), namespace="n").history("r")
    assert raised.value.cause == "unreachable"


def test_helm_is_told_where() -> None:
    """Namespace and context on every command; a namespace is only made where it is new."""
    helm = Helm(Cluster(answers={}), where=WHERE, namespace="n")
    assert list(helm.upgrade("r", ("chart", "--set=a=b"), new_namespace=True, version=Version(3, 13)).argv) == [
        *("helm", "upgrade", "--install", "r", "chart", "--set=a=b", "--create-namespace"),
        *("--namespace=n", "--kube-context=c", "--kube-apiserver=https://s"),
    ]
    assert "--create-namespace" not in helm.upgrade("r", ("chart",), new_namespace=False, version=Version(3, 13)).argv


def test_helm_4_is_told_that_the_chart_counts_for_more_than_changes_by_hand() -> None:
    """As Helm 3 does without a word; its upgrade and its way back would fail after a `kubectl scale`."""
    helm = Helm(Cluster(answers={}), namespace="n")
    assert str(helm.rollback("r", 2, version=Version(3, 22))) == "helm rollback r 2 --namespace=n"
    for command in (
        helm.rollback("r", 2, version=Version(4, 0)),
        helm.upgrade("r", ("chart",), new_namespace=False, version=Version(4, 3)),
    ):
        assert {"--server-side=true", "--force-conflicts"} <= set(command.argv)


def test_a_revision_that_failed_is_not_one_to_go_back_to() -> None:
    """Helm 4 calls a failed one superseded as soon as another follows."""
    failed_one = {"revision": 1, "status": "superseded", "description": 'Upgrade "r" failed: conflict'}
    entries = [failed_one, {"revision": 2, "status": "superseded", "description": "Upgrade complete"}]
    history = Helm(Cluster(answers={"helm history": json.dumps(entries)}), namespace="n").history("r")
    assert [revision.was_good for revision in history] == [False, True]


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("Deployment", "deployments"),
        ("NetworkPolicy", "networkpolicies"),
        ("Ingress", "ingresses"),
        ("Gateway", "gateways"),
        ("HTTPRoute", "httproutes"),
    ],
)
def test_kinds_have_resources(kind: str, resource: str) -> None:
    """As the API names them."""
    assert plural(kind) == resource


def test_permissions_are_asked_for_in_one_go() -> None:
    """One command asks all; what is refused is told by verb and resource, and nothing else."""
    rights = needed([("apps/v1", "Deployment"), ("v1", "Service")], new_namespace=True)
    assert Right("apps", "deployments", "patch") in rights
    assert Right("", "namespaces", "create", everywhere=True) in rights
    answers = [{"kind": "X", "status": {"allowed": right.verb != "create"}} for right in rights]
    cluster = Cluster(answers={"kubectl create": "\n".join(json.dumps(each, indent=2) for each in answers) + "\n"})
    missing = refused(Kubectl(cluster), rights, namespace="n")
    assert {(right.resource, right.verb) for right in missing} == {
        (resource, "create") for resource in ("deployments", "services", "secrets", "namespaces")
    }
    assert len(cluster.ran) == 1
    assert "create deployments.apps" in say_refused(missing, namespace="n")
    question = cluster.commands[0].stdin
    assert isinstance(question, Secret)
    asked = {
        each["spec"]["resourceAttributes"]["resource"]: each["spec"]["resourceAttributes"].get("namespace")
        for each in json.loads(question.reveal())["items"]
    }
    assert (asked["namespaces"], asked["deployments"]) == (None, "n")


def test_a_namespace_that_may_not_be_looked_at_is_believed_to_be_there() -> None:
    """Who may deploy to one namespace need not be allowed to look at namespaces."""
    for answer, there in (("namespace/n\n", True), ("", False), (failed(FORBIDDEN), True)):
        assert namespace_exists(Kubectl(Cluster(answers={"kubectl": answer})), "n") is there
    with pytest.raises(ClusterFailure):
        namespace_exists(Kubectl(Cluster(answers={"kubectl": failed(REFUSED)})), "n")


def test_the_version_of_kubectl_does_not_ask_the_cluster() -> None:
    """It is known without one."""
    cluster = Cluster(
        answers={"kubectl version --client": Completed(status=0, output='{"clientVersion": {"gitVersion": "v1.34.4"}}')}
    )
    assert client_version(Kubectl(cluster)) == Version(1, 34, 4)
