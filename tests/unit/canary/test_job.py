"""A canary that a Job judges: started or found, followed to its end, left alone on Ctrl-C."""

import json
from typing import Any

import attrs
import pytest

from scripts.canary import manifests
from scripts.canary.job import Ended, Job
from scripts.cluster.kubectl import Kubectl
from scripts.host.errors import TaskFailure
from tests.doubles.kubernetes import WHERE, Cluster, Time, failed
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER

NAME = ORDER.job
AGAIN = "invoke canary --job --model cars --version 3"
GET, PODS, LOGS, EVENTS = f"kubectl get job {NAME}", "kubectl get pods", "kubectl logs", "kubectl get events"


def job(*conditions: str, version: int = 3) -> dict[str, Any]:
    """Return the Job as the API gives it."""
    meta = {"name": NAME, "annotations": {manifests.VERSION: str(version)}}
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
        kubectl = Kubectl(self.cluster, where=WHERE, namespace="triton")
        return Job(kubectl=kubectl, name=NAME, line=self.said.append, clock=self.time.clock)


def scene(**answers: Any) -> Scene:
    """Return a cluster with the answers to these questions."""
    names = {"get": GET, "pods": PODS, "logs": LOGS, "events": EVENTS}
    names |= {"apply": "kubectl apply", "make": "kubectl create", "delete": "kubectl delete"}
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


def test_one_that_runs_is_followed_and_one_that_has_ended_is_removed() -> None:
    """So the same command starts a canary, and follows it from another machine."""
    assert scene(get=job()).job.find(3)
    assert not scene(get="").job.find(3)
    one = scene(get=job("Failed"), delete="")
    assert not one.job.find(3)
    assert any(line.startswith(f"kubectl delete job {NAME}") for line in one.cluster.ran)
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
    assert one.job.follow(AGAIN) == Ended(status=status, said="So it is.")
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


def test_one_that_failed_without_a_verdict_is_a_failure() -> None:
    """Its pods were killed again and again, and are gone."""
    with pytest.raises(TaskFailure, match=r"has failed: It says so\. Its traffic plan ends by itself"):
        scene(get=job("Failed"), pods={"items": []}).job.follow(AGAIN)


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
