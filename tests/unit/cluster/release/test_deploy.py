"""A deployment from its first word to its last: what is refused before, what is done, how it goes back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.cluster.patience import Patience
from scripts.cluster.release.chart import Chart, Installation
from scripts.cluster.release.deploy import Deployer
from scripts.cluster.release.record import ATTEMPTED, READY
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, load
from scripts.host.shell import Command, Completed
from scripts.registry.reference import Reference
from tests.doubles.kubernetes import (
    DIGEST,
    GPU,
    NAME,
    WHERE,
    Answer,
    Cluster,
    Lines,
    Time,
    container,
    deployment,
    failed,
    holder,
    node,
    pod,
    rollout,
    secret,
    text,
)

DONE = rollout(pod("new", ready=True), whole=True)
MISSING = rollout(
    pod("new", containerStatuses=[container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})])
)
GROUPS = {"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]}
NO_RELEASE = failed("Error: release: not found")


def history(*statuses: str) -> str:
    """Return what `helm history` prints."""
    return json.dumps([{"revision": n, "status": s, "updated": "today"} for n, s in enumerate(statuses, 1)])


class World:
    """A cluster with a deployer; by default all is well, nothing is deployed yet, and the pods come up."""

    def __init__(self, *wanted: dict[str, Any], answers: Mapping[str, Any] | None = None) -> None:
        self.wanted = text(*(wanted or (deployment(),)))
        self.said = Lines()
        script: dict[str, Answer | list[Answer]] = {
            "kubectl version --client": {"clientVersion": {"gitVersion": "v1.34.0"}},
            "kubectl get --raw=/version": {"gitVersion": "v1.33.1"},
            "kubectl get --raw=/apis": GROUPS,
            "kubectl get namespace": "namespace/triton",
            "kubectl create": "{}",
            "kubectl get nodes": {"items": [node()]},
            "kubectl get pods": {"items": []},
            "kubectl get deployments,replicasets,pods": DONE,
            "kubectl get deployments/": {"kind": "List", "items": list(wanted or (deployment(),))},
            "kubectl get events": {"items": []},
            "kubectl get configmap": "",
            "kubectl annotate": "",
            "kubectl get deployments --selector": {"items": []},
            "helm version": "v4.3.1",
            "helm template": self.wanted,
            "helm history": [NO_RELEASE, history("deployed")],
            "helm upgrade": "",
            "helm rollback": "",
            "helm uninstall": "",
            "helm get manifest": self.wanted,
            "helm get values": "{}",
            "helm get hooks": "",
        }
        script.update(answers or {})
        self.cluster = _Helmsman(answers=script, rendered=self.wanted)
        self.deployer = Deployer(
            target=Target(),
            where=WHERE,
            installation=Installation(chart=Chart(name="chart"), image=Reference.parse(f"127.0.0.1:5000/x@{DIGEST}")),
            settings=load(ROOT / "no-such-folder", environ={}),
            runner=self.cluster,
            show=self.said.show,
            patience=Patience(clock=(time := Time()).clock, tell=self.said.lines.append),
            clock=time.clock,
        )

    def refused(self) -> str:
        """Deploy, which must be refused before anything is changed, and return the message."""
        with pytest.raises(TaskFailure) as raised:
            self.deployer.deploy(timeout_s=100)
        assert self.cluster.changes == []
        return str(raised.value)

    def fails(self) -> str:
        """Deploy, which must fail, and return the message."""
        with pytest.raises(TaskFailure) as raised:
            self.deployer.deploy(timeout_s=100)
        return str(raised.value)


class _Helmsman(Cluster):
    """Answers the simulated upgrade with what is rendered, and what asks for permissions with yes.

    Of several histories the next one holds as soon as Helm has changed something.
    """

    def __init__(self, *, answers: dict[str, Answer | list[Answer]], rendered: str) -> None:
        super().__init__(answers=answers)
        self.rendered = rendered
        self.denied: frozenset[str] = frozenset()

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        histories = self.answers["helm history"]
        if isinstance(histories, list) and command.argv[1] in ("upgrade", "rollback", "uninstall"):
            if len(histories) > 1 and "--dry-run=server" not in command.argv:
                histories.pop(0)
        elif isinstance(histories, list) and command.argv[:2] == ("helm", "history"):
            histories.insert(0, histories[0])  # it is read as often as one likes
        if "--dry-run=server" in command.argv:
            return Completed(status=0, output=json.dumps({"manifest": self.rendered, "config": {}}))
        if command.argv[0] == "kubectl" and command.stdin and "items" in json.loads(command.stdin.reveal()):
            asked = json.loads(command.stdin.reveal())["items"]
            verdicts = [
                {"kind": "X", "status": {"allowed": a["spec"]["resourceAttributes"]["resource"] not in self.denied}}
                for a in asked
            ]
            self.answers["kubectl create"] = "\n".join(map(json.dumps, verdicts))
        return super().capture(command, timeout_s=timeout_s)


def test_a_first_deployment_says_where_and_what_then_does_it_and_tells_what_runs() -> None:
    """Context, server, namespace, release, chart and image come before the command, and a table at the end."""
    ports = [{"port": 8000}, {"port": 8001}]
    services = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}
        for name, spec in (("classifier-headless", {"clusterIP": "None"}), ("classifier", {}))
    ]
    world = World(deployment(gpus=1), *services)
    outcome = world.deployer.deploy(timeout_s=100)
    said = world.said.lines
    command = next(n for n, line in enumerate(said) if line.startswith("helm upgrade --install"))
    before = "\n".join(said[:command])
    for part in ("here (https://api.example)", "namespace  triton, release triton-infer", "chart", DIGEST):
        assert part in before
    assert world.cluster.changes == ["helm upgrade"]
    rows = dict(outcome.rows)
    assert (rows["revision"], rows["pods ready"], rows["GPUs"]) == ("1", "1 of 1", f"1 {GPU}")
    assert rows["on nodes"] == "gpu-1"
    _, ports_too = outcome.next_steps
    assert ports_too.endswith("port-forward service/classifier 8000 8001")


def test_a_namespace_that_is_new_is_made_and_marked() -> None:
    """So that whoever removes the release knows that it came with it; one that was there is left alone."""
    world = World(answers={"kubectl get namespace": ""})
    world.deployer.deploy(timeout_s=100)
    assert world.cluster.changes == ["helm upgrade", "kubectl annotate namespace triton"]
    assert any("--create-namespace" in line for line in world.cluster.ran)
    assert any("triton-serving/created-by=triton-infer" in line for line in world.cluster.ran)
    old = World()
    old.deployer.deploy(timeout_s=100)
    assert not any("--create-namespace" in line for line in old.cluster.ran)


def test_a_second_deployment_changes_nothing_but_still_waits() -> None:
    """Same objects, same values, all there."""
    world = World(answers={"helm history": history("superseded", "deployed")})
    outcome = world.deployer.deploy(timeout_s=100)
    assert world.cluster.changes == []
    assert dict(outcome.rows)["revision"] == "2, unchanged"
    assert "Nothing to change: revision 2 is this already" in world.said.lines


@pytest.mark.parametrize(
    "difference",
    [
        {"helm get values": '{"replicas": 1}'},
        {"helm get manifest": text(deployment(image="other"))},
        {"kubectl get deployments/": ""},
        {"kubectl get deployments/": deployment(replicas=2)},
        {"helm history": [history("deployed", "failed"), history("deployed", "failed", "deployed")]},
    ],
    ids=["values", "objects", "removed by hand", "scaled by hand", "failed"],
)
def test_what_differs_is_deployed(difference: dict[str, Answer | list[Answer]]) -> None:
    """Other values, other objects, objects that are gone, a revision that failed."""
    histories: list[Answer] = [history("deployed"), history("superseded", "deployed")]
    world = World(answers={"helm history": histories, **difference})
    assert world.deployer.deploy(timeout_s=100).changed
    assert world.cluster.changes == ["helm upgrade"]
    by_hand = "kubectl get deployments/" in difference
    assert any("by hand" in line for line in world.said.lines) is by_hand


def test_all_that_is_in_the_way_is_told_at_once() -> None:
    """Permissions, an API that is not there, a helm that is too old... and nothing is changed."""
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "m"}}
    world = World(
        deployment(), monitor, answers={"kubectl version --client": {"clientVersion": {"gitVersion": "v1.20.0"}}}
    )
    world.cluster.denied = frozenset({"deployments"})
    said = world.refused()
    assert said.startswith("3 things are in the way; nothing was changed:")
    for part in (
        "kubectl 1.20.0 is too old",
        "monitoring.coreos.com/v1",
        "create, delete, get, list, patch deployments.apps",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("answers", "saying"),
    [
        ({"helm version": "v3.9.0"}, "helm 3.9.0 is too old: 3.13.0"),
        ({"helm version": failed("no")}, "Cannot ask helm for its version"),
        ({"kubectl get --raw=/version": failed("The connection to the server h was refused")}, "gives no answer"),
        ({"kubectl get --raw=/version": failed('error: context "x" does not exist')}, "no such context"),
        ({"helm history": history("pending-install")}, "helm uninstall triton-infer --namespace=triton"),
        ({"helm history": history("deployed", "pending-upgrade")}, "helm rollback triton-infer 1 --namespace=triton"),
        ({"helm history": history("deployed", "uninstalling")}, "helm uninstall triton-infer --namespace=triton"),
        (
            {
                "helm template": failed(
                    "Error: values don't meet the specifications of the schema(s):\n- at '/replicas': no"
                )
            },
            "- at '/replicas': no",
        ),
        (
            {
                "helm template": failed(
                    "Error: execution error at (c/x.yaml:1:2): \n\nThe values cannot be used:\n  - image"
                )
            },
            "The chart chart cannot be used: The values cannot be used:\n  - image",
        ),
    ],
)
def test_what_keeps_it_from_working_is_told_before_anything_is_changed(
    answers: dict[str, Answer | list[Answer]], saying: str
) -> None:
    """Tools, cluster, release, values: each with what to do."""
    assert saying in World(answers=answers).refused()


def test_too_few_gpus_are_told_with_who_has_them() -> None:
    """An upgrade that would wait for ever is refused before."""
    world = World(deployment(gpus=1), answers={"kubectl get pods": {"items": [holder("train", on="gpu-1")]}})
    assert "other/train (1 on gpu-1)" in world.refused()


def test_an_autoscaler_may_bring_the_gpus() -> None:
    """Then too few are a note, not a reason to stop."""
    taken: Answer = {"items": [holder("train", on="gpu-1")]}
    karpenter: Answer = {"groups": [*GROUPS["groups"], {"name": "karpenter.sh", "versions": [{"version": "v1"}]}]}
    for signs in ({"kubectl get --raw=/apis": karpenter}, {"kubectl get configmap": "configmap/x"}):
        world = World(deployment(gpus=1), answers={"kubectl get pods": taken, **signs})
        world.deployer.deploy(timeout_s=100)
        assert any("may add nodes" in line for line in world.said.lines)


def test_who_may_not_see_the_nodes_may_deploy() -> None:
    """That GPUs are not checked is said."""
    denied = failed('Error from server (Forbidden): nodes is forbidden: User "x" cannot list resource "nodes"')
    world = World(deployment(gpus=1), answers={"kubectl get nodes": denied})
    world.deployer.deploy(timeout_s=100)
    assert any("GPUs is not checked" in line for line in world.said.lines)


def test_autoscaling_needs_its_metrics() -> None:
    """Without the API it is refused; without the metric, which only comes with the pods, it is a note."""
    metric = {"type": "Pods", "pods": {"metric": {"name": "queue"}}}
    spec = {"scaleTargetRef": {"name": NAME}, "minReplicas": 1, "metrics": [metric]}
    scaler = {"apiVersion": "apps/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "s"}, "spec": spec}
    said = World(deployment(), scaler).refused()
    assert "custom.metrics.k8s.io, where autoscaling looks for queue" in said
    served: Answer = {
        "groups": [*GROUPS["groups"], {"name": "custom.metrics.k8s.io", "versions": [{"version": "v1beta1"}]}]
    }
    for resources, noted in (([], True), ([{"name": "pods/queue"}], False)):
        known: Answer = {"resources": resources}
        world = World(
            deployment(),
            scaler,
            answers={"kubectl get --raw=/apis": served, "kubectl get --raw=/apis/custom.metrics.k8s.io/v1beta1": known},
        )
        world.deployer.deploy(timeout_s=100)
        assert any("The metric queue is not there" in line for line in world.said.lines) is noted


def test_pods_that_do_not_come_up_bring_the_former_revision_back() -> None:
    """One message: the cause, and what stands now."""
    before, after = history("superseded", "deployed"), history("superseded", "superseded", "deployed")
    world = World(
        deployment(image="two"),
        answers={
            "helm history": [before, after],
            "helm get manifest": text(deployment()),
            "kubectl get deployments,replicasets,pods": [DONE, MISSING, DONE],
        },
    )
    said = world.fails()
    assert world.cluster.changes == ["helm upgrade", "helm rollback triton-infer 2"]
    assert said.startswith("The deployment failed: pod new: the image cannot be pulled: not found")
    assert said.endswith("Revision 2 is deployed again and serves: 1 of 1 pods ready.")


def test_a_first_deployment_that_fails_is_removed_again() -> None:
    """There is nothing to go back to; what is said to be gone is gone."""
    left: list[Answer] = ["pod/triton-infer-1", "pod/triton-infer-1", ""]
    world = World(
        answers={"kubectl get deployments,replicasets,pods": MISSING, "kubectl get deployment.v1.apps,pod.v1.,": left}
    )
    said = world.fails()
    assert world.cluster.changes == ["helm upgrade", "helm uninstall triton-infer"]
    assert "nothing of it is left" in said
    assert left == [""]


def test_a_helm_that_changed_nothing_is_not_undone() -> None:
    """The cluster refused the command as such: no revision was made."""
    world = World(
        answers={"helm history": history("deployed"), "helm get values": '{"a": 1}', "helm upgrade": failed("no")}
    )
    assert world.fails().endswith("Nothing was changed.")
    assert world.cluster.changes == ["helm upgrade"]


@pytest.mark.parametrize(
    "said",
    [
        "Error: UPGRADE FAILED: release: already exists",
        "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
        'Error: create: failed to create: secrets "sh.helm.release.v1.triton-infer.v2" already exists',
    ],
)
def test_somebody_else_s_deployment_is_not_undone(said: str) -> None:
    """Helm refuses because another one was faster: its revision, which is not ours, stays."""
    world = World(
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get values": '{"a": 1}',
            "helm upgrade": failed(said),
        }
    )
    assert "somebody else deploys this release" in world.fails()
    assert world.cluster.changes == ["helm upgrade"]


def test_a_later_revision_of_somebody_else_stays_and_is_no_success_of_ours() -> None:
    """Whether ours came up or not: what runs now is another's."""
    for pods, saying in ((DONE, "somebody else then deployed revision 3"), (MISSING, "revision 3 since: it stays.")):
        world = World(
            answers={
                "helm history": [history("deployed"), history("superseded", "deployed")],
                "helm get values": '{"a": 1}',
            }
        )

        def meanwhile(world: World = world, pods: dict[str, Any] = pods) -> dict[str, Any]:
            world.cluster.answers["helm history"] = history(*["superseded"] * 2, "deployed")
            return pods

        world.cluster.answers["kubectl get deployments,replicasets,pods"] = [DONE, meanwhile]
        assert saying in world.fails()
        assert world.cluster.changes == ["helm upgrade"]


def test_going_back_that_fails_says_how_to_do_it_by_hand() -> None:
    """With the cause of the whole first."""
    world = World(
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get values": '{"a": 1}',
            "kubectl get deployments,replicasets,pods": [DONE, MISSING],
            "helm rollback": failed("Error: Kubernetes cluster unreachable"),
        }
    )
    said = world.fails()
    assert said.index("not found") < said.index("Going back failed too") < said.index("helm rollback triton-infer 1")


def test_ctrl_c_goes_back_and_says_what_stands() -> None:
    """As a failure does."""
    world = World(
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get values": '{"a": 1}',
            "kubectl get deployments,replicasets,pods": [DONE, KeyboardInterrupt(), DONE],
        }
    )
    with pytest.raises(KeyboardInterrupt, match=r"Stopped\. Revision 1 is deployed again and serves"):
        world.deployer.deploy(timeout_s=100)
    assert world.cluster.changes == ["helm upgrade", "helm rollback triton-infer 1"]


def test_ctrl_c_twice_leaves_with_a_word_about_what_is_left() -> None:
    """The way back by hand."""
    world = World(
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get values": '{"a": 1}',
            "kubectl get deployments,replicasets,pods": [DONE, KeyboardInterrupt()],
            "helm rollback": KeyboardInterrupt(),
        }
    )
    with pytest.raises(KeyboardInterrupt, match=r"half changed\. To go back by hand: helm rollback triton-infer 1"):
        world.deployer.deploy(timeout_s=100)


def test_a_plan_is_the_commands_and_the_difference_and_touches_nothing() -> None:
    """With no secret in it; and empty where nothing would change."""
    world = World(
        deployment(image="two"),
        secret("bmV3"),
        answers={
            "helm history": history("deployed"),
            "helm get manifest": text(deployment(), secret("b2xk")),
            "kubectl get namespace": "",
        },
    )
    commands, lines = world.deployer.plan()
    helm, kubectl = map(str, commands)
    assert helm.startswith("helm upgrade --install triton-infer")
    assert "--kube-context=here --kube-apiserver=https://api.example" in helm
    assert kubectl.startswith("kubectl --context=here --server=https://api.example annotate namespace triton")
    assert "+      - image: two" in lines
    assert "bmV3" not in "\n".join(lines)
    assert world.cluster.changes == []
    assert World(answers={"helm history": history("deployed")}).deployer.plan() == ([], [])


def serving(*, started: str, ready: str) -> dict[str, Any]:
    """Return a pod of the release that began and was ready at some time of the day."""
    found = holder("old", on="gpu-1", namespace="triton")
    day = "2026-01-01T"
    found["status"] |= {
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": f"{day}{ready}Z"}],
        "containerStatuses": [{"name": "triton", "state": {"running": {"startedAt": f"{day}{started}Z"}}}],
    }
    return found


@pytest.mark.parametrize("gpus", [0, 1])
def test_what_nobody_serves_meanwhile_is_told_before_and_the_image_is_there_first(gpus: int) -> None:
    """One replica that is replaced in place: for how long, and of the new image nothing is waited for then."""
    pods = {"items": [serving(started="10:00:00", ready="10:00:42")]}
    world = World(
        deployment(gpus=gpus, image="two"),
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get manifest": text(deployment(gpus=gpus)),
            "kubectl get pods": pods,
            "kubectl get pod triton-infer-pull-1": pod("x", containerStatuses=[container(imageID="x")]),
            "kubectl delete pod": "",
        },
    )
    world.deployer.deploy(timeout_s=100)
    (note,) = [line for line in world.said.lines if "Nothing serves while" in line]
    assert "for about 42 s if the new ones start as the last one did" in note
    assert ("up to 30 s more until the old one has left its GPU" in note) is bool(gpus)
    pulled, upgraded = (
        next(n for n, line in enumerate(world.cluster.ran) if line.startswith(words) and "--dry-run=server" not in line)
        for words in ("kubectl get pod triton-infer-pull-1", "helm upgrade")
    )
    assert pulled < upgraded


def test_an_image_that_nobody_can_pull_changes_nothing_without_surge() -> None:
    """The old pod serves on, and no revision is made."""
    gone = pod(
        "x", containerStatuses=[container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})]
    )
    world = World(
        deployment(image="two"),
        answers={
            "helm history": history("deployed"),
            "helm get manifest": text(deployment()),
            "kubectl get pods": {"items": [serving(started="10:00:00", ready="10:00:42")]},
            "kubectl get pod triton-infer-pull-1": gone,
            "kubectl delete pod": "",
        },
    )
    said = world.fails()
    assert "the image cannot be pulled: not found" in said
    assert said.endswith("Nothing was changed.")
    assert world.cluster.changes == []


def test_a_chart_of_a_repository_is_fetched_first() -> None:
    """And only when it is clear that the deployment can work."""
    world = World()
    chart = Chart(name="mine/triton", repository="https://h/charts")
    world.cluster.answers["helm repo"] = ""
    installation = Installation(chart=chart, image=world.deployer.installation.image)
    deployer = Deployer(
        target=Target(),
        where=WHERE,
        installation=installation,
        settings=world.deployer.settings,
        runner=world.cluster,
        show=world.said.show,
        clock=Time().clock,
    )
    deployer.deploy(timeout_s=100)
    assert world.cluster.changes == ["helm repo add mine", "helm repo update mine", "helm upgrade"]
    assert any(
        line.startswith("helm template triton-infer triton --repo=https://h/charts") for line in world.cluster.ran
    )


def recorded(good: str = "", *, attempted: str = "") -> dict[str, Any]:
    """Return the Deployments with what is written down on them."""
    notes = {READY: good} | ({ATTEMPTED: attempted} if attempted else {})
    return {"items": [{"metadata": {"name": NAME, "annotations": notes}}]}


def written(world: World) -> list[tuple[str, str]]:
    """Return what was written down: the good revisions, and the one that was being made then."""
    lines = [line.split() for line in world.cluster.ran if line.startswith("kubectl annotate deployments")]
    return [(words[4].partition("=")[2], words[5].partition("/")[2]) for words in lines]


def test_what_was_ready_is_written_down_before_and_after() -> None:
    """Before: the revision that serves, and the one that is begun; after: that one too."""
    world = World(
        deployment(image="two"),
        answers={
            "helm history": [history("deployed"), history("superseded", "deployed")],
            "helm get manifest": text(deployment()),
        },
    )
    world.deployer.deploy(timeout_s=100)
    assert written(world) == [("1", "attempted-revision=2"), ("1,2", "attempted-revision-")]


def test_it_goes_back_to_a_revision_that_was_ready_whatever_helm_calls_deployed() -> None:
    """Revision 2 was left by a deployment that was killed while its pods did not come up."""
    world = World(
        deployment(image="three"),
        answers={
            "helm history": [history("superseded", "deployed"), history("superseded", "superseded", "deployed")],
            "helm get manifest": text(deployment(image="two")),
            "kubectl get deployments --selector": recorded("1", attempted="2"),
            "kubectl get deployments,replicasets,pods": [MISSING, MISSING, DONE],
        },
    )
    assert "Revision 1 is deployed again and serves" in world.fails()
    assert world.cluster.changes == ["helm upgrade", "helm rollback triton-infer 1"]


@pytest.mark.parametrize("ends", [MISSING, KeyboardInterrupt()], ids=["fails", "is stopped"])
def test_the_same_deployment_after_a_killed_one_mends_it(ends: Any) -> None:
    """It is said that the revision never became ready; if it does not now either, the good one comes back."""
    world = World(
        answers={
            "helm history": [history("superseded", "deployed"), history("superseded", "superseded", "deployed")],
            "kubectl get deployments --selector": recorded("1", attempted="2"),
            "kubectl get deployments,replicasets,pods": [MISSING, ends, MISSING, DONE],
        },
    )
    with pytest.raises((TaskFailure, KeyboardInterrupt), match="Revision 1 is deployed again and serves"):
        world.deployer.deploy(timeout_s=100)
    assert world.cluster.changes == ["helm rollback triton-infer 1"]
    assert any("revision 2 never became ready" in line for line in world.said.lines)


def test_a_killed_deployment_whose_pods_came_all_the_same_is_good() -> None:
    """Nothing is changed but what is written down."""
    world = World(
        answers={
            "helm history": history("superseded", "deployed"),
            "kubectl get deployments --selector": recorded("1", attempted="2"),
        }
    )
    assert not world.deployer.deploy(timeout_s=100).changed
    assert written(world) == [("1,2", "attempted-revision-")]


def test_a_good_revision_whose_pods_are_away_is_waited_for_and_kept() -> None:
    """A node that is lost makes no revision a bad one."""
    world = World(
        answers={
            "helm history": history("superseded", "deployed"),
            "kubectl get deployments --selector": recorded("1,2"),
            "kubectl get deployments,replicasets,pods": [MISSING, MISSING],
        }
    )
    world.fails()
    assert world.cluster.changes == []


@pytest.mark.parametrize(
    ("statuses", "good", "mended"),
    [
        (("deployed", "pending-upgrade"), "1", "helm rollback triton-infer 1"),
        (("superseded", "superseded", "pending-rollback"), "1", "helm rollback triton-infer 1"),
        (("pending-install",), "", "helm uninstall triton-infer"),
    ],
)
def test_what_a_killed_helm_left_is_mended_and_then_deployed_over(
    statuses: tuple[str, ...], good: str, mended: str
) -> None:
    """Only after nothing has moved for a while, and only what a deploy-triton had begun."""
    after = history(*["superseded"] * len(statuses), "deployed") if good else NO_RELEASE
    world = World(
        deployment(image="two"),
        answers={
            "helm history": [
                history(*statuses),
                after,
                history(*["superseded"] * len(statuses), "superseded", "deployed"),
            ],
            "kubectl get deployments --selector": recorded(good, attempted=str(min(2, len(statuses)))),
            "helm get manifest": text(deployment()),
        },
    )
    assert world.deployer.deploy(timeout_s=100).changed
    assert world.cluster.changes == [mended, "helm upgrade"]
    assert any("was left unfinished" in line for line in world.said.lines)


def test_a_helm_that_is_at_work_is_left_alone() -> None:
    """What was begun by a deploy-triton and moves meanwhile was not killed; its revision is deployed over as it is."""
    world = World(
        deployment(image="two"),
        answers={
            "helm history": [history("deployed", "pending-upgrade"), history("superseded", "superseded", "deployed")],
            "kubectl get deployments --selector": recorded("1", attempted="2"),
            "helm get manifest": text(deployment()),
        },
    )
    asked = iter([history("deployed", "pending-upgrade")] * 3 + [history("superseded", "deployed")] * 3)
    later = history("superseded", "superseded", "deployed")
    world.cluster.answers["helm history"] = lambda: next(asked, later)
    assert world.deployer.deploy(timeout_s=100).changed
    assert world.cluster.changes == ["helm upgrade"]


def test_what_was_added_by_hand_is_told_and_makes_no_revision() -> None:
    """A deployment could not take it out."""
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:mine": {}}}}
    found = deployment()
    found["metadata"] |= {"managedFields": [{"manager": "kubectl-edit", "fieldsV1": fields}]}
    found["metadata"]["labels"] = found["metadata"]["labels"] | {"mine": "x"}
    world = World(answers={"helm history": history("deployed"), "kubectl get deployments/": found})
    assert not world.deployer.deploy(timeout_s=100).changed
    (note,) = [line for line in world.said.lines if "added by hand" in line]
    assert "metadata.labels.mine (by kubectl-edit)" in note
    assert "patch deployments triton-infer --type=json" in note


def test_a_namespace_that_is_about_to_go_stops_a_plan_too() -> None:
    """Nothing can be made in it."""
    world = World(answers={"kubectl get namespace": "Namespace 2026-01-01T00:00:00Z"})
    with pytest.raises(TaskFailure, match=r"about to go.*wait --for=delete namespace/triton"):
        world.deployer.plan()


PROMOTED = json.dumps({"plan": {"generation": 7}, "models": {"cars": {"serve": [2, 3]}}})


def test_what_was_promoted_stays_through_an_upgrade(tmp_path: Path) -> None:
    """The command says so, and so does a note; nobody is asked where there is nobody."""
    world = World(
        answers={"helm history": [history("deployed"), history("superseded", "deployed")], "helm get values": PROMOTED}
    )
    files = (str(tmp_path / "values.yaml"),)
    Path(files[0]).write_text("models: {cars: {serve: [1, 2]}}")
    world.deployer = attrs.evolve(world.deployer, installation=attrs.evolve(world.deployer.installation, files=files))
    world.deployer.deploy(timeout_s=100)
    (command,) = [line for line in world.cluster.ran if line.startswith("helm upgrade") and "--dry-run" not in line]
    assert "--set-json=plan.generation=7 --set-json=models.cars.serve=[2, 3]" in command
    assert any("It stays; --take-back" in line for line in world.said.lines)


def test_where_somebody_is_there_to_be_asked_nothing_is_done_before() -> None:
    """The failure is the question."""
    world = World(answers={"helm history": history("deployed"), "helm get values": PROMOTED})
    world.deployer = attrs.evolve(world.deployer, take_back=None)
    assert "Deployed is a later plan, generation 7: cars 2, 3" in world.refused()


def test_a_release_that_somebody_changes_meanwhile_is_theirs() -> None:
    """A promotion between the checks and the upgrade would be taken back without a word."""
    theirs = history("superseded", "deployed")
    world = World(
        deployment(image="two"), answers={"helm history": history("deployed"), "helm get manifest": text(deployment())}
    )
    world.cluster.answers["kubectl get deployments,replicasets,pods"] = lambda: (
        world.cluster.answers.update({"helm history": theirs}) or DONE
    )
    said = world.refused()
    assert (
        "Somebody else has changed the release triton-infer meanwhile, by revision 2, and nothing was changed" in said
    )


def test_an_old_kubernetes_gets_no_agent() -> None:
    """The servers load every version then, and a note says so."""
    world = World(answers={"kubectl get --raw=/version": {"gitVersion": "v1.28.3"}})
    world.deployer.deploy(timeout_s=100)
    assert any("--set=modelControl=none" in line for line in world.cluster.ran if line.startswith("helm upgrade"))
    assert any("Kubernetes 1.28.3 runs no native sidecars" in line for line in world.said.lines)
