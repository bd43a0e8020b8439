"""What keeps pods from running: Kubernetes' words, and whether waiting can help."""

from typing import Any

import pytest

from scripts.cluster.progress import State
from scripts.cluster.trouble import CRASHES, UNREADY_S, Event
from tests.doubles.kubernetes import NAME, container, event, pod, rollout

IMAGE = f"h/a@sha256:{'c' * 64}"


def state(*pods: dict[str, Any], events: tuple[dict[str, Any], ...] = (), **more: Any) -> State:
    """Return what is read of a rollout."""
    found = State.parse(NAME, rollout(*pods, **more), [Event.parse(each) for each in events])
    assert found is not None
    return found


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """Return a pod whose container waits."""
    states = container(state={"waiting": {"reason": reason, "message": message}}, **more)
    return pod("p", containerStatuses=[states])


def test_a_rollout_is_done_when_all_pods_are_new_and_ready_and_the_old_ones_gone() -> None:
    """Each of these alone is not enough."""
    ready = pod("new", ready=True)
    assert state(ready, whole=True).whole
    assert not state(ready).whole
    assert not state(ready, pod("old", of="1", leaving=True), whole=True).whole
    unseen = rollout(ready, whole=True)
    unseen["items"][0]["status"]["observedGeneration"] = 1
    found = State.parse(NAME, unseen)
    assert found is not None
    assert not found.whole


def test_new_and_old_pods_are_told_apart() -> None:
    """By their ReplicaSet, and that by what it says: as long as the new one is not made, all are old."""
    early = rollout(pod("old", of="1"))
    del early["items"][2]
    found = State.parse(NAME, early)
    assert found is not None
    assert [p.new for p in found.pods] == [False]
    found = state(pod("old", of="1", ready=True), pod("new"))
    assert [(p.name, p.new) for p in found.pods] == [("new", True), ("old", False)]
    assert (found.ready, found.serving) == (0, 1)
    assert found.summary == f"{NAME}: 0 of 1 new pods ready, 1 old"


@pytest.mark.parametrize(("named", "proven"), [("2", True), ("1", False)])
def test_what_kubernetes_says_of_pods_before_proves_nothing(named: str, proven: bool) -> None:
    """If a change goes back to a ReplicaSet that is there, the condition may stay as the one before left it."""
    message = f'ReplicaSet "{NAME}-{named}" has successfully progressed.'
    said = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": message}
    assert state(pod("new"), conditions=[said]).proven is proven
    changed = rollout(conditions=[said])
    changed["items"][0]["metadata"]["generation"] += 1
    found = State.parse(NAME, changed)
    assert found is not None
    assert not found.proven


def test_a_deployment_that_is_not_there_is_none() -> None:
    """Of another name."""
    assert State.parse("other", rollout()) is None


@pytest.mark.parametrize(
    ("message", "hopeless", "advice"),
    [
        (
            f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found',
            True,
            "push-triton",
        ),
        (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{IMAGE}": manifest unknown',
            True,
            "push-triton",
        ),
        ("no match for platform in manifest", True, "push-triton"),
        ("unexpected status: 401 Unauthorized", True, "imagePullSecrets"),
        ("pull access denied, repository does not exist or may require authorization", True, "imagePullSecrets"),
        ("unexpected status from HEAD request: 403 Forbidden", True, "imagePullSecrets"),
        ("dial tcp: lookup registry.example: no such host", False, "reach the registry"),
        ("dial tcp 10.0.0.1:443: i/o timeout", False, "reach the registry"),
    ],
)
def test_a_pull_that_fails(message: str, hopeless: bool, advice: str) -> None:
    """An image that is not there, or not for us, stays so; a registry that is away may come back."""
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        ((_, trouble),) = state(waiting(reason, message)).trouble
        assert (trouble.hopeless, trouble.patience_s is None) == (hopeless, hopeless)
        assert advice in trouble.advice
        assert trouble.text.startswith("the image cannot be pulled: ")
        assert "unpack" not in trouble.text


def test_an_older_kubelet_says_in_an_event_why_it_waits() -> None:
    """The pod itself only says that it backs off."""
    told = event("p", "Failed", f'Failed to pull image "{IMAGE}": manifest unknown')
    pulled = waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')
    assert not state(pulled).trouble[0][1].hopeless
    assert state(pulled, events=(told,)).trouble[0][1].hopeless


def test_a_container_that_crashes_is_hopeless_the_third_time() -> None:
    """Once may be chance; between two crashes it runs, and that is no trouble."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    for restarts in range(CRASHES):
        crashed = waiting("CrashLoopBackOff", restarts=restarts, lastState=ended)
        ((what, trouble),) = state(crashed).trouble
        assert trouble.hopeless is (restarts + 1 >= CRASHES)
        assert (what, trouble.container) == ("pod p", "triton")
        assert "ended with status 1 (Error)" in trouble.text
    again = pod("p", containerStatuses=[container(restarts=5, state={"running": {}}, lastState=ended, started=False)])
    assert state(again).trouble == []
    assert "startup probe" in str(state(again).pods[0])


def test_a_server_without_the_model_that_readiness_asks_for() -> None:
    """It answers the probe, but never with yes; while it does not answer at all, it is loading."""
    starting = pod("p", containerStatuses=[container(state={"running": {}}, started=False)])
    loading = event("p", "Unhealthy", "Startup probe failed: dial tcp 10.0.0.1:8000: connect: connection refused")
    refused = event("p", "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 400", uid="f")
    assert state(starting, events=(loading,)).trouble == []
    ((_, trouble),) = state(starting, events=(loading, refused)).trouble
    assert (trouble.hopeless, trouble.patience_s) == (False, UNREADY_S)
    assert "readiness.model" in trouble.advice
    again = pod("p", containerStatuses=[container(restarts=1, state={"running": {}}, started=False)])
    assert state(again, events=(refused,)).trouble == []


def test_memory_that_ran_out_is_told() -> None:
    """With the value to raise."""
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    ((_, trouble),) = state(pod("p", containerStatuses=[container(state=killed)])).trouble
    assert "resources.limits.memory" in trouble.advice


@pytest.mark.parametrize(
    ("reason", "message", "hopeless"),
    [
        ("CreateContainerConfigError", 'secret "x" not found', True),
        ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", False),
        ("InvalidImageName", "", True),
        ("ErrImageNeverPull", "", True),
        ("RunContainerError", "", False),
    ],
)
def test_a_container_that_cannot_be_made(reason: str, message: str, hopeless: bool) -> None:
    """A Secret that is not there will not come by waiting."""
    ((_, trouble),) = state(waiting(reason, message)).trouble
    assert (trouble.hopeless, reason in trouble.text) == (hopeless, True)


def test_an_init_container_that_ended_well_is_no_trouble() -> None:
    """It is done."""
    done = container(state={"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert (
        state(pod("p", initContainerStatuses=[done], containerStatuses=[container(state={"waiting": {}})])).trouble
        == []
    )


def test_a_pod_that_no_node_takes() -> None:
    """The scheduler's reason, without what preempting others would do."""
    said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No victims."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    ((_, trouble),) = state(pod("p", conditions=[condition])).trouble
    assert trouble.text == "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"
    assert (trouble.unscheduled, trouble.hopeless, trouble.patience_s) == (True, False, 60.0)


@pytest.mark.parametrize(
    ("message", "hopeless"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', True),
        ('pods "x" is forbidden: exceeded quota: gpus', True),
        ("Internal error occurred: failed calling webhook", False),
    ],
)
def test_pods_that_are_not_even_made(message: str, hopeless: bool) -> None:
    """The Deployment says what its ReplicaSet was told."""
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    ((what, trouble),) = state(failures={"2": refused}, conditions=[refused]).trouble
    assert (what, trouble.hopeless) == (f"Deployment {NAME}", hopeless)
    assert trouble.text.startswith("FailedCreate: ")
    # What only the old ReplicaSet failed for, this revision may mend.
    assert state(failures={"1": refused}, conditions=[refused]).trouble == []


def test_a_deployment_that_gave_up_is_hopeless() -> None:
    """Kubernetes' own deadline."""
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too long"}
    assert state(conditions=[late]).trouble[0][1].hopeless
    before = rollout(conditions=[late])
    before["items"][0]["status"]["observedGeneration"] = 1
    found = State.parse(NAME, before)
    assert found is not None
    assert found.trouble == []


@pytest.mark.parametrize(("named", "counts"), [("2", True), ("1", False)])
def test_a_deadline_that_pods_before_have_missed_is_nobodys_trouble(named: str, counts: bool) -> None:
    """A deployment that was killed may leave it behind; the next one goes back to pods that are there."""
    message = f'ReplicaSet "{NAME}-{named}" has timed out progressing.'
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
    assert bool(state(pod("new"), conditions=[late]).trouble) is counts


def test_old_and_leaving_pods_are_nobodys_trouble() -> None:
    """Only what is new counts."""
    crashed = container(
        restarts=9, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 1}}
    )
    assert (
        state(
            pod("a", of="1", containerStatuses=[crashed]), pod("b", leaving=True, containerStatuses=[crashed])
        ).trouble
        == []
    )


def test_events_that_the_pods_tell_themselves_are_not_repeated() -> None:
    """Warnings are told, and what an autoscaler says; the rest is noise."""
    told = {
        reason: Event.parse(event("p", reason, "m", warning=warning)).is_told
        for reason, warning in (
            ("Unhealthy", True),
            ("FailedScheduling", True),
            ("BackOff", True),
            ("TriggeredScaleUp", False),
            ("Started", False),
        )
    }
    assert [reason for reason, shown in told.items() if shown] == ["Unhealthy", "TriggeredScaleUp"]
    loading = event("p", "Unhealthy", 'Startup probe failed: Get "http://h": dial tcp: connect: connection refused')
    assert not Event.parse(loading).is_told
    assert Event.parse(event("p", "TriggeredScaleUp", "m", warning=False)).scales
