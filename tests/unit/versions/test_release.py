"""A plan in a release: written by Helm, followed by the pods, put back on all."""

from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.agents import Agents
from scripts.cluster.release.chart import Chart
from scripts.cluster.release.record import ATTEMPTED, READY
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Answer, Endpoint
from scripts.server.seen import State
from scripts.versions import change
from scripts.versions.release import Release
from scripts.versions.roll import Outcome, Roll
from tests.doubles.disk_agent import World
from tests.doubles.disk_triton import GOOD, WRONG
from tests.doubles.helm_release import TARGET, HelmRelease, plan_of
from tests.doubles.kubernetes import NAME, deployment
from tests.unit.versions.test_roll import InProcess, sibling

VALUES: dict[str, Any] = {"image": {"tag": "one"}, "models": {"cars": {"instances": 1}, "bikes": {}}}


class Pods:
    """The agents of pods, in this process.

    Attributes:
        inside: The agents.
        closed: What they answer to whoever posts a plan; 0: they take it.
        reads: The ConfigMaps that they read their plans from, where it is not the usual one.
    """

    def __init__(self, **worlds: World) -> None:
        self.inside = InProcess(**worlds)
        self.closed = 0
        self.reads: dict[str, str] = {}

    def look(self) -> list[Any]:
        """Return them."""
        return [InPod(pod=name, pods=self, plan=self.reads.get(name, f"{NAME}-plan")) for name in self.inside.apis]


@attrs.frozen(kw_only=True)
class InPod:
    """The agent of one pod."""

    pod: str
    pods: Pods
    plan: str
    triton: Endpoint = attrs.field(factory=lambda: Endpoint(http="", grpc="", metrics=""))

    def state(self) -> State:
        """Return what it says."""
        return self.pods.inside.state_of(self.pod)

    def post(self, plan: Plan) -> Answer:
        """Take a plan."""
        if self.pod in self.pods.inside.away:
            raise TaskFailure("gone")
        if self.pods.closed:
            return Answer(status=self.pods.closed, body={"error": "no key"})
        status, body = self.pods.inside.apis[self.pod].take(plan.to_json().encode())
        return Answer(status=int(status), body=body)


@attrs.define(kw_only=True)
class Scene:
    """A release with pods."""

    pods: Pods
    release: HelmRelease = attrs.field(factory=lambda: HelmRelease(revisions=[VALUES]))
    said: list[str] = attrs.field(factory=list)

    @property
    def target(self) -> Release:
        """The release as a target, as a task sees it."""
        return Release(
            target=TARGET, kubectl=self.release.kubectl, helm=self.release.helm, chart=Chart(name="chart"),
            agents=cast(Agents, self.pods), progress=self.said.append,
        )  # fmt: skip

    def roll(self, make: Callable[[Release, State], Plan], *, timeout_s: float = 60.0) -> Outcome:
        """Change the plan as a task does."""
        target = self.target
        was = target.state()
        clock = Clock(now=lambda: self.pods.inside.now, sleep=self.pods.inside.sleep)
        plan = make(target, was)
        return Roll(
            target=target, model="cars", was=was, timeout_s=timeout_s, progress=self.said.append, clock=clock
        ).to(plan)  # fmt: skip

    def promote(self, version: int, **options: Any) -> Outcome:
        """Promote a version."""
        return self.roll(lambda _, was: change.promoted(was, "cars", version, keep=1, digest=None), **options)

    def roll_back(self, to: int | None = None) -> Outcome:
        """Roll back."""
        return self.roll(lambda target, was: change.rolled_back(target.recall(was, "cars"), "cars", to=to))


@pytest.fixture
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Return a release of two pods whose store has version 3."""
    world.publish(3)
    return Scene(pods=Pods(one=world, two=sibling(world, tmp_path_factory)))


def test_a_promotion_is_a_revision_that_every_pod_follows(scene: Scene) -> None:
    """Nothing else of the values changes; the digests of what was served go into the plan, and the revision is good."""
    done = scene.promote(3)
    assert scene.pods.inside.served() == [{2, 3}, {2, 3}]
    assert {row[0] for row in done.rows} == {"one", "two"}
    values = scene.release.revisions[-1]
    assert (len(scene.release.revisions), values["image"], values["plan"]) == (2, {"tag": "one"}, {"generation": 1})
    assert (values["models"]["cars"]["instances"], values["models"]["cars"]["serve"]) == (1, [2, 3])
    assert values["models"]["cars"]["digests"].keys() == {"2"}
    assert values["models"]["bikes"] == {}
    assert scene.release.notes == {READY: "1,2"}
    states = [scene.pods.inside.state_of(name) for name in ("one", "two")]
    assert {state.plan.digest for state in states} == {scene.release.plan.digest}, "as the pods will read it"


def test_a_rollback_finds_the_plan_before_in_former_revisions(scene: Scene) -> None:
    """The revision between changed something else."""
    scene.promote(3)
    other = {**scene.release.revisions[-1], "replicas": 5}
    scene.release.revisions.append(other)
    scene.roll_back()
    assert scene.pods.inside.served() == [{1, 2}, {1, 2}]
    assert scene.release.revisions[-1]["replicas"] == 5
    assert scene.release.plan.models["cars"].serve == (1, 2)
    assert scene.release.plan.generation == 2


@pytest.mark.parametrize("model", [GOOD, WRONG], ids=["good", "bad"])
def test_two_models_are_promoted_at_once(scene: Scene, world: World, model: bytes) -> None:
    """Somebody else makes the next revision before the pods follow; what both wanted is served, or put back for one."""
    world.publish(4, model)
    sleep, other = scene.pods.inside.sleep, scene.target

    def meanwhile(seconds: float) -> None:
        if len(scene.release.revisions) == 2:
            was = other.state()
            models = {**was.plan.models, "bikes": ModelPlan(serve=(1,))}
            other.follow(Plan(models=models, generation=was.plan.generation + 1), after=was.plan.generation)
            for _, ask in other.servers():
                ask()
        sleep(seconds)

    scene.pods.inside.sleep = meanwhile  # type: ignore[method-assign]
    if model is GOOD:
        scene.promote(4)
    else:
        with pytest.raises(TaskFailure, match=r"cannot serve version 4 of cars: .*Everything is put back"):
            scene.promote(4)
    expected = {2, 4} if model is GOOD else {1, 2}
    assert scene.pods.inside.served() == [expected, expected]
    models = scene.release.revisions[-1]["models"]
    assert (models["cars"]["serve"], models["bikes"]["serve"]) == (sorted(expected), [1])


def test_a_bad_version_is_put_back_in_the_release_too(scene: Scene, world: World) -> None:
    """By a revision more, which is good as well."""
    world.publish(4, WRONG)
    with pytest.raises(TaskFailure, match=r"cannot serve version 4 of cars.*Everything is put back"):
        scene.promote(4)
    assert scene.pods.inside.served() == [{1, 2}, {1, 2}]
    assert (scene.release.plan.models["cars"].serve, scene.release.plan.generation) == ((1, 2), 2)
    assert scene.release.notes == {READY: "1,2,3"}


def test_a_pod_that_goes_away_takes_the_promotion_back(scene: Scene) -> None:
    """The other one serves what it served, and the message names whom nobody could ask."""
    scene.release.meanwhile = lambda: scene.pods.inside.away.add("two")
    with pytest.raises(TaskFailure, match=r"two does not answer: .*put back.*Whether two serves it is not known"):
        scene.promote(3)
    assert scene.pods.inside.served()[0] == {1, 2}
    assert scene.release.plan.models["cars"].serve == (1, 2)


def test_a_pod_that_cannot_be_asked_keeps_a_promotion_from_beginning(scene: Scene) -> None:
    """The release is not touched."""
    scene.pods.inside.away.add("two")
    with pytest.raises(TaskFailure, match="No answer from two"):
        scene.promote(3)
    assert scene.release.revisions == [VALUES]


def test_of_two_changes_at_once_the_first_one_counts(scene: Scene) -> None:
    """Whether it comes before Helm begins, or while it works: then it is brought back."""
    target = scene.target
    was = target.state()
    plan = change.promoted(was, "cars", 3, keep=1, digest=None)
    scene.release.revisions.append({**VALUES, "replicas": 4})
    with pytest.raises(TaskFailure, match=r"made revision 2 .* nothing was changed here"):
        target.follow(plan, after=0)
    assert len(scene.release.revisions) == 2

    theirs = {**VALUES, "plan": {"generation": 1}}
    scene.release.meanwhile = lambda: scene.release.revisions.append(theirs)
    with pytest.raises(TaskFailure, match="Somebody else has made revision 3"):
        scene.promote(3)
    assert scene.release.revisions[-1] == theirs
    assert scene.pods.inside.served() == [{1, 2}, {1, 2}]


def test_who_was_first_goes_on(scene: Scene) -> None:
    """A revision after one's own is the other one's, who brings this one back."""
    theirs = {**VALUES, "plan": {"generation": 1}}
    scene.release.afterwards = lambda: scene.release.revisions.append(theirs)
    scene.promote(3)
    assert scene.release.revisions[1]["models"]["cars"]["serve"] == [2, 3]
    assert scene.pods.inside.served() == [{2, 3}, {2, 3}]


def test_a_chart_that_would_change_more_is_refused(scene: Scene) -> None:
    """Pods would be replaced by it."""
    scene.release.image = "two"
    with pytest.raises(TaskFailure, match=r"beside the plan it would change Deployment triton-infer\. Nothing was"):
        scene.promote(3)
    assert scene.release.revisions == [VALUES]


def test_what_was_scaled_by_hand_stays_so(scene: Scene) -> None:
    """A promotion in the middle of a rush must take no pod away."""
    scene.release.live = deployment(replicas=5)
    scene.promote(3)
    assert scene.release.revisions[-1]["replicas"] == 5
    assert any("was scaled by hand to 5" in line for line in scene.said)


def test_what_else_was_changed_by_hand_is_refused(scene: Scene) -> None:
    """Helm would take it back, and replace pods."""
    live = deployment()
    fields: dict[str, Any] = {"f:spec": {"f:strategy": {"f:rollingUpdate": {"f:maxSurge": {}}}}}
    live["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = 3
    live["metadata"]["managedFields"] = [{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": fields}]
    scene.release.live = live
    with pytest.raises(TaskFailure, match=r"spec\.strategy\.rollingUpdate\.maxSurge \(by kubectl-edit\)"):
        scene.promote(3)
    assert scene.release.revisions == [VALUES]


@pytest.mark.parametrize(
    ("release", "saying"),
    [
        (HelmRelease(revisions=[]), "There is no release triton-infer of Helm .*--only-file.*--url HOST"),
        (HelmRelease(revisions=[VALUES], status="pending-upgrade"), "Revision 1 .*pending-upgrade.*deploy-triton"),
        (HelmRelease(revisions=[VALUES], status="failed"), "Revision 1 .*failed.*invoke status"),
    ],
)
def test_a_release_that_cannot_be_changed_is_told(scene: Scene, release: HelmRelease, saying: str) -> None:
    """Before anything is done."""
    with pytest.raises(TaskFailure, match=saying):
        attrs.evolve(scene, release=release).promote(3)


def test_pods_that_take_no_plan_from_here_get_it_from_kubernetes(scene: Scene) -> None:
    """Without a key the ConfigMap brings it; that is said once."""
    scene.pods.closed = 403
    inside, sleep = scene.pods.inside, scene.pods.inside.sleep

    def later(seconds: float) -> None:
        if inside.now > 20:
            for api in inside.apis.values():
                if api.plans.current != scene.release.plan:
                    api.plans.post(scene.release.plan)
        sleep(seconds)

    inside.sleep = later  # type: ignore[method-assign]
    scene.promote(3)
    assert inside.served() == [{2, 3}, {2, 3}]
    assert sum("takes no plan from here (HTTP 403 no key)" in line for line in scene.said) == 1


def test_a_plan_that_was_posted_by_hand_is_overruled(scene: Scene) -> None:
    """The release's next plan has a higher number than any that a pod follows."""
    scene.pods.inside.apis["two"].plans.post(Plan(models={"cars": ModelPlan(serve=(1,))}, generation=9))
    scene.pods.inside.sleep(1)
    scene.promote(3)
    assert scene.release.plan.generation == 10
    assert scene.pods.inside.served() == [{2, 3}, {2, 3}]


def test_what_pods_serve_is_measured_by_the_releases_plan(scene: Scene) -> None:
    """A pod that follows another one is told, and so is one that cannot be asked."""
    scene.pods.inside.apis["two"].plans.post(Plan(models={"cars": ModelPlan(serve=(1,))}, generation=9))
    scene.pods.inside.sleep(1)
    found, absent = scene.target.look()
    assert ([name for name, _, _ in found], absent) == (["one", "two"], 0)
    assert any(line.startswith("two follows another plan: generation 9: cars 1") for line in scene.said)
    scene.pods.inside.away.add("one")
    found, absent = scene.target.look()
    assert ([name for name, _, _ in found], absent) == (["two"], 1)
    assert ATTEMPTED not in scene.release.notes


def test_in_an_umbrella_each_pod_is_measured_by_its_own_charts_plan(scene: Scene) -> None:
    """And a promotion is refused with the way: the umbrella's values are not those of this chart."""
    values = {"models": {"cars": {"serve": [1]}}, "plan": {"generation": 4}}
    scene.release.beside = [plan_of(values, name="second-plan")]
    scene.pods.reads["two"] = "second-plan"
    found, absent = scene.target.look()
    assert ([state.part("cars").serve for _, state, _ in found], absent) == ([(1, 2), (1,)], 0)
    assert f"{NAME}-plan, generation 0" in scene.said[0]
    assert "second-plan, generation 4: cars 1" in scene.said[0]
    with pytest.raises(TaskFailure, match=f"several serving plans \\(second-plan, {NAME}-plan\\)"):
        scene.promote(3)
    assert len(scene.release.revisions) == 1


def test_a_pod_whose_plan_is_gone_is_told(scene: Scene) -> None:
    """It counts as one that cannot be asked."""
    scene.pods.reads["two"] = "gone"
    found, absent = scene.target.look()
    assert ([name for name, _, _ in found], absent) == (["one"], 1)
    assert "two: Pod two reads its serving plan from the ConfigMap gone, which has none." in scene.said


def test_a_rollback_after_a_canary_finds_what_was_served_before(scene: Scene) -> None:
    """The candidate came and went in revisions of their own."""
    scene.promote(3)
    for version in (2, None):
        scene.roll(lambda _, was, version=version: change.with_candidate(was, "cars", version, digest=None))  # type: ignore[misc]
    assert len(scene.release.revisions) == 4
    scene.roll_back()
    assert scene.release.plan.models["cars"].serve == (1, 2)
