"""Which revisions were ready is written down, so that a deployment mends what a killed one left."""

from typing import Any

import pytest

from scripts.cluster.release.record import ATTEMPTED, READY
from scripts.host.errors import TaskFailure
from tests.doubles.kubernetes import NAME, deployment, text
from tests.unit.cluster.release.scene import DONE, MISSING, NO_RELEASE, World, history


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
