"""What a deployment says, does and plans, and when there is nothing to change."""

from typing import Any

import pytest

from scripts.cluster.release.chart import Chart, Installation
from scripts.cluster.release.deploy import Deployer
from scripts.cluster.target import Target
from tests.doubles.kubernetes import (
    DIGEST,
    GPU,
    WHERE,
    Answer,
    Time,
    container,
    deployment,
    holder,
    pod,
    secret,
    text,
)
from tests.unit.cluster.release.scene import NO_RELEASE, World, autoscaler, crowded, history


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


@pytest.mark.parametrize("keda", [False, True])
@pytest.mark.parametrize("histories", [[history("deployed")], [NO_RELEASE, history("deployed")]], ids=["same", "first"])
def test_more_pods_than_there_is_room_for_fail_nothing_if_an_autoscaler_asks_for_them(
    histories: list[Answer], keda: bool
) -> None:
    """Three are ready, more than there must be at least: that is told, and what is good stays."""
    found = {"kubectl get deployments,replicasets,pods": crowded(ready=3, proven=True), "helm history": histories}
    world = World(deployment(), autoscaler(least=2, most=4, keda=keda), answers=found)
    assert dict(world.deployer.deploy(timeout_s=100).rows)["pods ready"] == "3 of 4"
    assert "helm rollback" not in " ".join(world.cluster.changes)


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
