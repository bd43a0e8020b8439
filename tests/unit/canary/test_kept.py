"""How far a canary is, is kept in a file, and for a release in the ConfigMap that its pods read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.agent.traffic import Traffic
from scripts.canary.kept import InFile, InRelease, Record
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.plan_map import PlanMap
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed
from scripts.versions.target import OvertakenError
from tests.doubles.kubernetes import WHERE, Cluster, failed

TIME = "2030-01-31T12:00:00Z"
PLAN = Traffic(model="cars", routes={2: 0.9, 3: 0.1}, candidate=3, expires=datetime(2030, 1, 31, tzinfo=UTC))


def record(**changes: Any) -> Record:
    """Return a record."""
    made = Record(model="cars", version=3, stable=2, server="here", begun=TIME, looked=TIME)
    return attrs.evolve(made, **changes)


def with_generation(number: int) -> Traffic:
    """Return a plan."""
    return Traffic.parse(json.dumps({**PLAN.to_dict(), "generation": number}), model="cars")


def test_a_file_keeps_the_record(tmp_path: Path) -> None:
    """As it was; without a file there is none."""
    said: list[str] = []
    kept = InFile(path=tmp_path / "state" / "cars.json", line=said.append)
    assert kept.read() == (None, None)
    one = record(step=1, calls=7, judge={"a": 1})
    one.decide("begin", "It begins.", at=TIME, share=0.1, figures={"x": 1})
    kept.write(one, PLAN)
    assert kept.read() == (one, None)
    assert said == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "model": "cars"}', "\xff"])
def test_a_file_that_cannot_be_read_is_no_beginning(tmp_path: Path, text: str) -> None:
    """That is said, and the canary begins anew."""
    said: list[str] = []
    kept = InFile(path=tmp_path / "cars.json", line=said.append)
    kept.path.write_text(text, encoding="latin-1")
    assert kept.read() == (None, None)
    assert "nothing is known of an earlier canary" in said[0]


def test_where_no_log_can_be_kept_there_is_no_canary(tmp_path: Path) -> None:
    """Nobody could go on with it."""
    (tmp_path / "state").write_text("")
    with pytest.raises(TaskFailure, match="The log of the canary cannot be kept in"):
        InFile(path=tmp_path / "state" / "cars.json", line=print).note(record())


def test_the_last_decisions_are_kept() -> None:
    """A ConfigMap has a limit."""
    one = record()
    for number in range(100):
        one.decide("pass", str(number), at=TIME, share=0.1, figures={})
    assert [one.decisions[0]["why"], one.decisions[-1]["why"], len(one.decisions)] == ["40", "99", 60]


@attrs.define
class Api:
    """A cluster with the ConfigMap of a release."""

    data: dict[str, str] = attrs.field(factory=lambda: {"plan.json": "{}"})
    version: int = 1
    meanwhile: list[Any] = attrs.field(factory=list)
    patches: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def kubectl(self) -> Kubectl:
        """The kubectl that asks it."""
        return Kubectl(self, where=WHERE, namespace="triton")

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        assert timeout_s > 0
        if "patch" not in command.argv:
            meta = {"name": "triton-infer-plan", "resourceVersion": str(self.version)}
            items = [{"metadata": {"name": "other"}}, {"metadata": meta, "data": dict(self.data)}]
            return Completed(status=0, output=json.dumps({"items": items}))
        assert command.stdin is not None
        assert "--field-manager=deploy-triton" in command.argv
        patch = json.loads(command.stdin.reveal())
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if patch["metadata"]["resourceVersion"] != str(self.version):
            return failed("Error from server (Conflict): Operation cannot be fulfilled: the object has been modified")
        self.patches.append(patch)
        self.set(**patch["data"])
        return Completed(status=0, output="")

    def stream(self, command: Command, **_: Any) -> Completed:
        """Answer."""
        return self.capture(command)

    def set(self, **data: str) -> None:
        """Change it."""
        self.data.update(data)
        self.version += 1

    def keeper(self, folder: Path) -> InRelease:
        """Return what keeps record and plan in it."""
        file = InFile(path=folder / "cars.json", line=lambda _: None)
        return InRelease(file=file, held=lambda: PlanMap.read(self.kubectl, Target()), model="cars")


def test_a_release_keeps_record_and_plan_in_one_step(tmp_path: Path) -> None:
    """Whoever reads the one reads the other that belongs to it; the chart's own key stays."""
    api = Api()
    kept = api.keeper(tmp_path)
    assert kept.read() == (None, None)
    kept.write(record(step=1), PLAN)
    assert len(api.patches) == 1
    assert api.data["plan.json"] == "{}"
    assert api.keeper(tmp_path).read() == (record(step=1), PLAN)
    assert InFile(path=tmp_path / "cars.json", line=print).read() == (record(step=1), None)


def test_what_somebody_else_changed_meanwhile_stays(tmp_path: Path) -> None:
    """Something else, as a deployment: both are there. The traffic plan: then it is theirs."""
    api = Api()
    kept = api.keeper(tmp_path)
    kept.read()
    api.meanwhile = [lambda: api.set(other="theirs")]
    kept.write(record(), PLAN)
    assert (api.data["other"], Traffic.parse(api.data["traffic.cars.json"], model="cars")) == ("theirs", PLAN)
    theirs = with_generation(7).to_json()
    api.meanwhile = [lambda: api.set(**{"traffic.cars.json": theirs})]
    with pytest.raises(OvertakenError, match="Somebody else has changed the traffic plan of cars in the cluster"):
        kept.write(record(), with_generation(1))
    assert api.data["traffic.cars.json"] == theirs


def test_a_patch_that_was_taken_without_an_answer_is_no_other_ones(tmp_path: Path) -> None:
    """kubectl asks again while the API is away."""
    api = Api()
    kept = api.keeper(tmp_path)
    kept.read()
    api.meanwhile = [lambda: api.set(**{"traffic.cars.json": PLAN.to_json()})]
    kept.write(record(), PLAN)
    assert kept.read() == (record(), PLAN)


def test_a_config_map_that_never_stays_as_it_is_is_given_up(tmp_path: Path) -> None:
    """With one message."""
    api = Api()
    kept = api.keeper(tmp_path)
    kept.read()
    api.meanwhile = [lambda: api.set(other="x")] * 10
    with pytest.raises(TaskFailure, match="triton-infer-plan is being changed all the time"):
        kept.write(record(), PLAN)


def test_what_does_not_fit_into_a_config_map_is_left_out(tmp_path: Path) -> None:
    """The counts of very many pods: another run counts from where they stand then."""
    api = Api()
    kept = api.keeper(tmp_path)
    kept.read()
    kept.write(record(watch={"known": "x" * 2**19}), PLAN)
    assert len(api.data["canary.cars.json"]) < 2**16
    assert kept.read()[0] == record()


def test_what_the_config_map_holds_may_be_nonsense(tmp_path: Path) -> None:
    """A record is left aside; a plan that pods would read is said to be none."""
    api = Api()
    api.data["canary.cars.json"] = "no"
    assert api.keeper(tmp_path).read() == (None, None)
    api.data["traffic.cars.json"] = "no"
    with pytest.raises(TaskFailure, match="The ConfigMap triton-infer-plan holds no traffic plan of cars"):
        api.keeper(tmp_path).read()


def test_a_release_without_a_plan_is_told() -> None:
    """It was deployed without an agent."""
    cluster = Cluster(answers={"kubectl get configmaps": {"items": []}})
    with pytest.raises(TaskFailure, match="Release triton-infer has no serving plan in the namespace triton"):
        PlanMap.read(Kubectl(cluster, where=WHERE, namespace="triton"), Target())


def test_why_the_cluster_does_not_take_it_is_told() -> None:
    """In the words for a cluster's refusals."""
    forbidden = failed('Error from server (Forbidden): configmaps "p" is forbidden: User "u" cannot patch resource')
    cluster = Cluster(answers={"kubectl patch": forbidden})
    found = PlanMap(kubectl=Kubectl(cluster, where=WHERE, namespace="triton"), name="p", version="1", data={})
    with pytest.raises(TaskFailure, match="Cannot write the traffic plan"):
        found.write({"a": "b"})
