"""A release as one of its own pods changes it: the next revision of Helm's, the pods' ConfigMap, the agents."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.canary.manifests import access
from scripts.cluster.pod_agent import PodAgent
from scripts.cluster.release.record import READY
from scripts.cluster.release.stored import Stored
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.versions import change
from scripts.versions.inside import FURTHER, Inside
from scripts.versions.roll import Roll
from scripts.versions.target import OvertakenError
from tests.doubles.disk_agent import World
from tests.doubles.helm_release import TARGET
from tests.doubles.kubernetes_api import ApiServer
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER
from tests.unit.cluster.release.test_stored import BEFORE, written
from tests.unit.versions.test_release import Pods
from tests.unit.versions.test_roll import sibling

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
NEXT = Plan(models={"cars": ModelPlan(serve=(1, 2), candidate=3)}, generation=4)
LABELS = {"app.kubernetes.io/instance": TARGET.release, "app.kubernetes.io/component": "server"}
HELM_4 = [
    {
        "manager": "helm",
        "operation": "Apply",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:data": {"f:plan.json": {}, "f:more": {}}},
    }
]


def pod(name: str, *, running: bool = True, address: str = "10.0.0.7") -> dict[str, Any]:
    """Return a pod as the API gives it."""
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {}}
    return {
        "metadata": {"name": name, "labels": LABELS, "creationTimestamp": "2030-01-31T12:00:00Z"},
        "spec": {"containers": [{"name": "triton"}], "initContainers": [{"name": "agent"}]},
        "status": {"podIP": address, "containerStatuses": [{"name": "triton", "state": state}]},
    }


@pytest.fixture
def server() -> ApiServer:
    """Return a cluster with the seventh revision of a release, in which the judge has just the rights of its Role."""
    made = ApiServer(rules=access(DEPLOYMENT, ORDER)[0]["rules"])
    made.put("secrets", written())
    made.put("configmaps", {"metadata": {"name": "triton-infer-plan"}, "data": {"plan.json": BEFORE, "own": "x"}})
    notes = {"annotations": {READY: "6,7"}}
    made.put("deployments", {"metadata": {"name": "triton-infer", **notes}})
    for name in ("one", "two"):
        made.put("pods", pod(name))
    return made


@pytest.fixture
def pods(world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Pods:
    """Let the agents of two pods answer, whose store has version 3."""
    world.publish(3)
    made = Pods(one=world, two=sibling(world, tmp_path_factory))

    def at(address: str, name: str, headers: object) -> PodAgent:
        assert (address, headers) == ("10.0.0.7", {})
        return next(each for each in made.look() if each.pod == name)  # type: ignore[no-any-return]

    monkeypatch.setattr(PodAgent, "at", at)
    return made


def inside(server: ApiServer, say: Callable[[str], None] = print) -> Inside:
    """Return the release as its pod sees it."""
    return Inside(
        api=server.api(), target=TARGET, first=ORDER.revision, plan_map="triton-infer-plan", deployment="triton-infer",
        headers={}, progress=say, wall=lambda: NOW,
    )  # fmt: skip


def stored(server: ApiServer, number: int) -> Stored:
    """Return a revision."""
    return Stored.parse(server.objects[f"secrets/sh.helm.release.v1.triton-infer.v{number}"])


@pytest.mark.usefixtures("pods")
def test_a_plan_becomes_the_next_revision_of_helm(server: ApiServer) -> None:
    """The pods read it, what was before is superseded, and the revision is as good as that was."""
    target = inside(server)
    assert target.state().plan.generation == 3
    assert target.follow(NEXT, after=3) == NEXT
    assert Plan.parse(stored(server, 8).plan_text) == NEXT
    assert [stored(server, number).revision.status for number in (7, 8)] == ["superseded", "deployed"]
    data = server.objects["configmaps/triton-infer-plan"]["data"]
    assert (Plan.parse(data["plan.json"]), data["own"]) == (NEXT, "x")
    assert server.objects["deployments/triton-infer"]["metadata"]["annotations"] == {READY: "6,7,8"}
    assert {"fieldManager": "helm"} in server.fields
    assert target.state().plan == NEXT


@pytest.mark.usefixtures("pods")
def test_what_helm_4_has_applied_stays_applied(server: ApiServer) -> None:
    """Else the API would take it for given up, and what others wrote into the ConfigMap is not taken over."""
    meta = {"name": "triton-infer-plan", "labels": {"app": "a", "theirs": "b"}, "managedFields": HELM_4}
    server.put("configmaps", {"metadata": meta, "data": {"plan.json": BEFORE, "more": "m", "own": "x"}})
    target = inside(server)
    target.state()
    target.follow(NEXT, after=3)
    found = server.objects["configmaps/triton-infer-plan"]
    assert Plan.parse(found["data"].pop("plan.json")) == NEXT
    assert found["data"] == {"more": "m", "own": "x"}
    assert found["metadata"]["labels"] == {"app": "a", "theirs": "b"}
    assert {"fieldManager": "helm", "force": "true"} in server.fields


def test_every_pod_follows_and_is_put_back_together(server: ApiServer, pods: Pods) -> None:
    """A roll goes the way that it goes from a laptop."""
    target = inside(server)
    clock = Clock(now=lambda: pods.inside.now, sleep=pods.inside.sleep)

    def promote(version: int) -> None:
        was = target.state()
        plan = change.promoted(was, "cars", version, keep=1, digest=None)
        Roll(target=target, model="cars", was=was, timeout_s=60, progress=print, clock=clock).to(plan)

    promote(3)
    assert pods.inside.served() == [{2, 3}, {2, 3}]
    with pytest.raises(TaskFailure, match=r"cannot serve version 9 of cars.*Everything is put back"):
        promote(9)
    assert pods.inside.served() == [{2, 3}, {2, 3}]
    assert cast(dict[str, Any], stored(server, 10).values)["models"]["cars"]["serve"] == [2, 3]


@pytest.mark.usefixtures("pods")
def test_who_is_second_changes_nothing(server: ApiServer) -> None:
    """Somebody deploys before the change is begun, or at the same time."""
    target = inside(server)
    target.state()
    server.meanwhile = lambda: server.put("secrets", written(version=8) | _named(8))
    with pytest.raises(OvertakenError, match="Somebody else has made revision 8"):
        target.follow(NEXT, after=3)
    with pytest.raises(OvertakenError, match="Somebody else has made revision 8"):
        target.follow(NEXT, after=3)
    assert server.objects["configmaps/triton-infer-plan"]["data"]["plan.json"] == BEFORE


@pytest.mark.usefixtures("pods")
def test_a_change_without_an_answer_is_its_own(server: ApiServer) -> None:
    """It is asked for again, and found to be there."""
    target = inside(server)
    target.state()
    server.lost = 1
    assert target.follow(NEXT, after=3) == NEXT
    assert Plan.parse(server.objects["configmaps/triton-infer-plan"]["data"]["plan.json"]) == NEXT


@pytest.mark.usefixtures("pods")
def test_what_a_killed_judge_has_begun_is_ended(server: ApiServer) -> None:
    """The revision was made, and the pods do not read it yet."""
    new = stored(server, 7).with_plan(NEXT, now=NOW, description="")
    server.put("secrets", new.secret())
    assert inside(server).state().plan == NEXT
    assert Plan.parse(server.objects["configmaps/triton-infer-plan"]["data"]["plan.json"]) == NEXT


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize(
    ("info", "why"),
    [
        ({"info": {"status": "pending-upgrade"}}, "Revision 7 .* is in the state pending-upgrade"),
        ({"manifest": ""}, "holds no serving plan"),
    ],
)
def test_a_release_that_cannot_be_changed_now_is_told(server: ApiServer, info: dict[str, Any], why: str) -> None:
    """Before anything is done."""
    server.put("secrets", written(**info))
    with pytest.raises(TaskFailure, match=why):
        inside(server).state()


@pytest.mark.usefixtures("pods")
def test_helm_may_have_forgotten_the_revision_that_it_began_with(server: ApiServer) -> None:
    """The last one counts, as far as the Role goes; beyond it, and without any, that is said."""
    del server.objects["secrets/sh.helm.release.v1.triton-infer.v7"]
    with pytest.raises(TaskFailure, match="is gone, or has had 30 revisions more"):
        inside(server).state()
    for number in (9, 10):
        server.put("secrets", written(version=number) | _named(number))
    target = inside(server)
    target.state()
    assert target.revision == 10
    server.put("secrets", written() | _named(ORDER.revision + FURTHER - 1))
    for number in range(11, ORDER.revision + FURTHER - 1):
        server.put("secrets", written(version=number) | _named(number))
    with pytest.raises(TaskFailure, match="is gone, or has had 30 revisions more"):
        target.state()


@pytest.mark.usefixtures("pods")
def test_pods_that_cannot_be_asked_are_left_out(server: ApiServer) -> None:
    """They have no address, or their server has never run; one whose server has died still has its agent."""
    server.put("pods", pod("three", running=False))
    server.put("pods", pod("four", address=""))
    target = inside(server)
    assert [name for name, _ in target.servers()] == ["one", "two"]
    server.put("pods", pod("two", running=False))
    assert [name for name, _ in target.servers()] == ["one", "two"]
    server.objects = {key: each for key, each in server.objects.items() if not key.startswith("pods/")}
    with pytest.raises(TaskFailure, match="No pod of the release triton-infer runs"):
        target.state()


@pytest.mark.usefixtures("pods")
def test_a_note_that_cannot_be_written_is_only_told(server: ApiServer) -> None:
    """The plan matters more."""
    del server.objects["deployments/triton-infer"]
    said: list[str] = []
    target = inside(server, said.append)
    target.state()
    target.follow(NEXT, after=3)
    assert any("that this revision is good is not written down" in line for line in said)


def _named(number: int) -> dict[str, Any]:
    labels = {"name": "triton-infer", "owner": "helm", "status": "deployed", "version": str(number)}
    return {"metadata": {"name": f"sh.helm.release.v1.triton-infer.v{number}", "labels": labels}}
