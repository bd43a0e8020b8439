"""A canary that a Job judges: started or found, followed to its end, left alone on Ctrl-C."""

import json
from typing import Any

import attrs
import pytest

from scripts.canary import manifests
from scripts.canary.job import Ended, Job
from scripts.canary.kept import Record
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import Patience
from scripts.cluster.says import ClusterFailure
from scripts.host.errors import TaskFailure
from tests.doubles.kubernetes import WHERE, Cluster, Time, failed
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER

NAME = ORDER.job
AGAIN = "invoke canary --job --model cars --version 3"
BEGUN = "2030-01-31T12:00:00Z"
GET, PODS, LOGS, EVENTS = f"kubectl get job {NAME}", "kubectl get pods", "kubectl logs", "kubectl get events"


def job(*conditions: str, version: int = 3, told: bool = False) -> dict[str, Any]:
    """Return the Job as the API gives it."""
    notes = {manifests.VERSION: str(version)} | ({manifests.TOLD: "true"} if told else {})
    meta = {"name": NAME, "annotations": notes, "creationTimestamp": BEGUN}
    found = [{"type": kind, "status": "True", "message": "It says so"} for kind in conditions]
    return {"metadata": meta, "status": {"conditions": found}}


def pods(*states: dict[str, Any]) -> dict[str, Any]:
    """Return the judge's pods, the oldest last."""
    items = [
        {
            "metadata": {"name": f"judge-{number}", "creationTimestamp": f"2030-01-31T12:0{number}:00Z"},
            "status": {"containerStatuses": [{"name": "judge", "state": state}]},
        }
        for number, state in enumerate(states)
    ]
    return {"items": items[::-1]}


def ended(status: int, message: str = "So it is.\n") -> dict[str, Any]:
    """Return the state of a judge that has ended."""
    return {"terminated": {"exitCode": status, "message": message}}


@attrs.define
class Scene:
    """A Job on a cluster that answers by a script."""

    cluster: Cluster
    said: list[str] = attrs.field(factory=list)
    time: Time = attrs.field(factory=Time)

    @property
    def job(self) -> Job:
        """The Job as a task sees it."""
        patience = Patience(clock=self.time.clock)
        kubectl = Kubectl(self.cluster, where=WHERE, namespace="triton", patience=patience)
        return Job(kubectl=kubectl, name=NAME, line=self.said.append, clock=self.time.clock)


def scene(**answers: Any) -> Scene:
    """Return a cluster with the answers to these questions."""
    names = {"get": GET, "pods": PODS, "logs": LOGS, "events": EVENTS}
    names |= {
        "apply": "kubectl apply",
        "make": "kubectl create",
        "delete": "kubectl delete",
        "note": "kubectl annotate",
    }
    return Scene(Cluster(answers={names[key]: answer for key, answer in answers.items()}))


def test_its_rights_are_made_before_it() -> None:
    """What belongs to them goes with the Role, which the judge gives back at its end."""
    made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": NAME, "uid": "u-2"}}
    one = scene(apply=made, make="")
    one.job.start(DEPLOYMENT, ORDER)
    sent = [json.loads(command.stdin.reveal()) for command in one.cluster.commands if command.stdin]
    assert [each["kind"] for each in sent] == ["Role", "ServiceAccount", "RoleBinding", "Job"]
    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in sent] == ["u-1", "u-2", "u-2", "u-1"]
    assert one.said == [f"The Job {NAME} judges from now on, and needs nobody here"]


def test_a_login_that_may_give_no_rights_is_told_what_else_there_is() -> None:
    """Nothing is made."""
    one = scene(apply=failed('roles.rbac.authorization.k8s.io is forbidden: User "u" cannot patch resource "roles"'))
    with pytest.raises(TaskFailure, match=r"(?s)cannot patch resource.*`admin` may and `edit` may not.*Without --job"):
        one.job.start(DEPLOYMENT, ORDER)
    assert not any("create" in line for line in one.cluster.ran)


@pytest.mark.parametrize("there", [job(), job("Complete")])
def test_one_whose_making_was_not_answered_is_made(there: dict[str, Any]) -> None:
    """The API was away after it took the first attempt; the second one finds the Job."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": NAME, "uid": "u-2"}}
    exists = failed(f'Error from server (AlreadyExists): jobs.batch "{NAME}" already exists')
    one = scene(apply=role, make=[failed("Error from server (ServiceUnavailable): later"), exists], get=there)
    one.job.start(DEPLOYMENT, ORDER)
    assert sum(line.startswith("kubectl create") for line in one.cluster.ran) == 2
    assert one.said == [f"The Job {NAME} judges from now on, and needs nobody here"]


@pytest.mark.parametrize("there", [job(version=2), ""])
def test_one_that_somebody_else_has_made_is_not_taken_for_it(there: dict[str, Any] | str) -> None:
    """It tries another version, or is gone again."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": NAME, "uid": "u-2"}}
    exists = failed(f'Error from server (AlreadyExists): jobs.batch "{NAME}" already exists')
    with pytest.raises(ClusterFailure, match=r"Cannot make the Job: .*already exists"):
        scene(apply=role, make=exists, get=there).job.start(DEPLOYMENT, ORDER)


def test_one_that_ended_while_nobody_followed_is_told_first() -> None:
    """The command that was printed for that must not remove its result; the run after that begins another canary."""
    log = "2030-01-31T12:00:01Z it ends\n"
    one = scene(get=job("Complete"), pods=pods(ended(0)), logs=log, note="")
    assert one.job.find(3)
    assert one.job.follow(AGAIN) == Ended(status=0, said="So it is.", begun=BEGUN)
    assert one.said[1:] == ["it ends"]
    one.job.told()
    assert one.cluster.ran[-1] == f"kubectl annotate job {NAME} --overwrite {manifests.TOLD}=true"
    assert not any(line.startswith("kubectl delete") for line in one.cluster.ran)


@pytest.mark.parametrize(("answer", "said"), [("forbidden: no", 1), (f'jobs.batch "{NAME}" not found', 0)])
def test_that_an_end_was_told_may_not_be_written_down(answer: str, said: int) -> None:
    """Then how to begin another canary is said, if a Job is left that is in the way."""
    one = scene(note=failed(answer))
    one.job.told()
    assert len(one.said) == said
    assert all(f"delete job {NAME}" in line for line in one.said)


def test_one_that_runs_is_followed_and_one_whose_end_was_told_is_removed() -> None:
    """So the same command starts a canary, and follows it from another machine."""
    assert scene(get=job()).job.find(3)
    assert not scene(get="").job.find(3)
    for old in (job("Failed", told=True), job("Complete", version=2)):
        one = scene(get=old, delete="")
        assert not one.job.find(3)
        (gone,) = [line for line in one.cluster.ran if line.startswith(f"kubectl delete job {NAME}")]
        assert "--cascade=foreground" in gone  # its pods would be taken for those of the next
    with pytest.raises(TaskFailure, match=rf"tries version 2 right now.*kubectl .*delete job {NAME}"):
        scene(get=job(version=2)).job.find(3)


@pytest.mark.parametrize(("status", "condition"), [(0, "Complete"), (1, "Failed"), (3, "Failed")])
def test_it_is_followed_to_its_end(status: int, condition: str) -> None:
    """Each line is shown once, though the log is asked for by whole seconds; status and last words are the judge's."""
    first = "2030-01-31T12:00:01.1Z Step 1\n2030-01-31T12:00:01.2Z begin: it\n"
    one = scene(
        get=[job(), job(), job(condition)],
        pods=[
            {"items": []},
            pods({"waiting": {"reason": "ContainerCreating"}}),
            pods({"running": {}}),
            pods(ended(status)),
        ],
        events={"items": []},
        logs=[first, first + "2030-01-31T12:00:02.0Z it ends\n"],
    )
    assert one.job.follow(AGAIN) == Ended(status=status, said="So it is.", begun=BEGUN)
    assert one.said == [
        "Waiting for the judge's pod", "judge-0: ContainerCreating", "Step 1", "begin: it", "it ends",
    ]  # fmt: skip
    assert "--since-time=2030-01-31T12:00:01.2Z" in one.cluster.ran[-1]


def test_the_judge_after_one_that_was_killed_is_followed() -> None:
    """Only what the last one says counts."""
    killed = ended(137, "")
    one = scene(
        get=[job(), job("Complete")],
        pods=[pods(killed), pods(killed, ended(0))],
        logs=["2030-01-31T12:00:01Z one\n", "2030-01-31T12:01:01Z goes on\n"],
    )
    assert one.job.follow(AGAIN).status == 0
    assert one.said == ["one", "goes on"]


def test_why_there_is_no_judge_is_told() -> None:
    """A quota, for example; and a log that cannot be read."""
    warning = {
        "type": "Warning", "involvedObject": {"name": NAME}, "reason": "FailedCreate", "message": "exceeded quota",
    }  # fmt: skip
    one = scene(
        get=[job(), job("Failed")],
        pods=[{"items": []}, pods({"running": {}}), pods(ended(1))],
        events={"items": [warning]},
        logs=failed("Error: no space"),
    )
    one.job.follow(AGAIN)
    assert one.said == ["FailedCreate: exceeded quota", "Note: the log of judge-0 cannot be read: Error: no space"]


@pytest.mark.parametrize(
    "left", [{"items": []}, *(pods(ended(status)) for status in (130, 137, 143, 70)), pods(ended(1, " "))]
)
def test_one_that_failed_without_a_verdict_is_a_failure(left: dict[str, Any]) -> None:
    """Its pods were killed again and again, and may be gone; that the next run begins anew is written down."""
    one = scene(get=job("Failed"), pods=left, logs="", note="")
    with pytest.raises(TaskFailure, match=r"has failed: It says so\. Its traffic plan ends by itself"):
        one.job.follow(AGAIN)
    assert one.cluster.ran[-1].startswith(f"kubectl annotate job {NAME}")


def test_one_that_somebody_removed_is_told() -> None:
    """The judge takes back what it has begun."""
    with pytest.raises(TaskFailure, match=f"The Job {NAME} was removed"):
        scene(get="", pods={"items": []}).job.follow(AGAIN)


def test_ctrl_c_leaves_it_alone() -> None:
    """How to follow it again, and how to stop it, is said."""
    one = scene(get=job(), pods=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match=rf"(?s)goes on in the Job {NAME}.*{AGAIN}\n.*delete job {NAME}"):
        one.job.follow(AGAIN)
    assert not any("delete" in line for line in one.cluster.ran)


def test_a_cluster_that_is_away_for_long_leaves_it_alone() -> None:
    """The cause comes first, then what goes on and how to follow it."""
    away = failed("Unable to connect to the server: dial tcp: i/o timeout")
    one = scene(get=job(), pods=[pods({"running": {}}), away], logs="")
    said = rf"(?s)^Cannot look for the judge: .*i/o timeout.*\n.*in the Job {NAME}\..*{AGAIN}\n.*delete job {NAME}"
    with pytest.raises(ClusterFailure, match=said) as raised:
        one.job.follow(AGAIN)
    assert raised.value.cause == "unreachable"


@pytest.mark.parametrize(
    ("version", "looked", "kept"),
    [(3, BEGUN, True), (3, "2030-01-31T12:10:00.5Z", True), (3, "2030-01-31T11:59:59Z", False), (2, BEGUN, False)],
)
def test_what_an_earlier_canary_has_left_is_not_its_record(version: int, looked: str, kept: bool) -> None:
    """One that goes on with an earlier canary has begun before its Job."""
    record = Record(
        model="cars", version=version, stable=1, server="there", begun="2030-01-31T11:30:00Z", looked=looked
    )
    assert Ended(status=0, said="", begun=BEGUN).kept(record, 3) is kept
