"""A deployment that fails or is stopped brings back what was there before, and leaves alone what is another's."""

from typing import Any

import pytest

from tests.doubles.kubernetes import Answer, deployment, failed, pod, rollout, text
from tests.unit.cluster.release.scene import DONE, MISSING, World, autoscaler, crowded, history


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


def test_what_an_autoscaler_found_no_room_for_before_need_not_be_there_after() -> None:
    """The former revision has all the time that it needs, and is back when its other pods are."""
    before, after = history("superseded", "deployed"), history("superseded", "superseded", "deployed")
    scaler, crowd = autoscaler(least=2, most=4), crowded(ready=3, proven=True)
    starting = rollout(pod("new"), wanted=4)
    world = World(
        deployment(image="two"),
        scaler,
        answers={
            "helm history": [before, after],
            "helm get manifest": text(deployment(), scaler),
            # Longer than what was not done before would be waited for.
            "kubectl get deployments,replicasets,pods": [crowd, MISSING, *[starting] * 40, crowd],
        },
    )
    assert world.fails().endswith("Revision 2 is deployed again and serves: 3 of 4 pods ready.")


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
