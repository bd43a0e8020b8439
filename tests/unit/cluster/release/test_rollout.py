"""Waiting for a rollout: what a person reads, and when it ends; the cluster answers by a script, the time by itself."""

import re
from typing import Any

import pytest

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.rollout import RolloutFailure, Watch
from scripts.cluster.says import ClusterFailure
from scripts.cluster.trouble import PULL_S, UNSCHEDULED_S
from scripts.host.secret import Secret
from tests.doubles.kubernetes import NAME, Cluster, Lines, Time, container, event, failed, pod, rollout
from tests.unit.cluster.release.scene import UNSCHEDULED, crowded

DONE = rollout(pod("new", ready=True), whole=True)
STARTING = rollout(pod("new", containerStatuses=[container(state={"running": {}}, started=False)]))
CRASHED = rollout(
    pod(
        "new",
        containerStatuses=[
            container(
                restarts=2,
                state={"waiting": {"reason": "CrashLoopBackOff"}},
                lastState={"terminated": {"exitCode": 1, "reason": "Error"}},
            )
        ],
    )
)
GONE = failed("The connection to the server h was refused")


class Rollout:
    """A watch, the cluster that it looks at, its time, and what it says."""

    def __init__(
        self,
        *polls: Any,
        events: list[Any] | None = None,
        logs: Any = "",
        hide: tuple[Secret, ...] = (),
        least: int | None = None,
    ) -> None:
        self.time, self.said = Time(), Lines()
        answers = {
            "kubectl get deployments": list(polls),
            "kubectl get events": [{"items": each} for each in events or [[]]],
            "kubectl logs": logs,
        }
        self.cluster = Cluster(answers=answers)
        self.watch = Watch(
            kubectl=Kubectl(self.cluster),
            names=[NAME],
            least={} if least is None else {NAME: least},
            show=self.said.show,
            clock=self.time.clock,
            hide=hide,
        )

    def fails(self, saying: str, *, timeout_s: float = 900) -> str:
        """Wait, which must fail, and return the message."""
        with pytest.raises(RolloutFailure, match=saying) as raised:
            self.watch.wait(timeout_s=timeout_s)
        return str(raised.value)


def test_it_ends_as_soon_as_all_is_done() -> None:
    """Each state of a pod is told once, however often it is seen."""
    rolling = Rollout(STARTING, STARTING, STARTING, DONE)
    (state,) = rolling.watch.wait(timeout_s=900)
    assert state.whole
    assert rolling.time.seconds < 10
    assert rolling.said.lines == [
        "pod new (new) on gpu-1: starting, the startup probe has not succeeded yet",
        "pod new (new) on gpu-1: ready",
    ]


def test_only_new_events_are_told_and_each_once() -> None:
    """Those of before are no news, those of others nobody's business, and a probe fails every few seconds."""
    before = event("new", "Unhealthy", "of yesterday", uid="a")
    fails = [event("new", "Unhealthy", "Startup probe failed", uid=f"b{n}") for n in range(5)]
    other = event("somebody-else", "Unhealthy", "not ours", uid="c")
    rolling = Rollout(
        STARTING, STARTING, STARTING, DONE, events=[[before], [before, fails[0]], [before, *fails, other]]
    )
    rolling.watch.begin()
    rolling.watch.wait(timeout_s=900)
    assert [line for line in rolling.said.lines if "Unhealthy" in line] == ["new: Unhealthy: Startup probe failed"]


def test_a_crash_loop_ends_it_with_the_log_and_no_secret() -> None:
    """The errors that the server printed are in the message, and the admin key is not."""
    log = "I1122 noise\nE1122 13:00 model_repository_manager.cc] failed to load planted-key\nI1122 bye"
    log += "\nError: Failed to initialize NVML"
    message = Rollout(CRASHED, logs=log, hide=(Secret("planted-key"),)).fails("3 times")
    assert "failed to load ***" in message
    assert "planted-key" not in message
    assert "noise" not in message
    assert "NVML" not in message  # said wherever there is no GPU


def test_without_errors_the_last_lines_of_the_log_are_shown() -> None:
    """And without a log there are none; what the run before printed is better than nothing."""
    assert "line 9" in Rollout(CRASHED, logs="\n".join(f"line {n}" for n in range(10))).fails("3 times")
    assert "from before" in Rollout(CRASHED, logs=[failed("gone"), "from before"]).fails("3 times")
    assert Rollout(CRASHED, logs=failed("gone")).fails("3 times").endswith("3 times")


def test_an_image_that_is_not_there_ends_it_at_once() -> None:
    """Long before the timeout."""
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "h/a: not found"}}
    rolling = Rollout(rollout(pod("new", containerStatuses=[container(state=waiting)])))
    assert "push-triton" in rolling.fails("h/a: not found")
    assert rolling.time.seconds == 0


def test_a_registry_that_is_away_is_waited_for_but_not_for_ever() -> None:
    """A blip passes; a wrong name does not."""
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}
    away = rollout(pod("new", containerStatuses=[container(state=waiting)]))
    rolling = Rollout(away)
    assert "no such host" in rolling.fails("for 120 s")
    assert PULL_S < rolling.time.seconds < PULL_S + 10
    Rollout(*[away] * 20, STARTING, DONE).watch.wait(timeout_s=900)


def test_a_pod_that_no_node_takes_ends_it_after_a_while() -> None:
    """With the scheduler's reason."""
    rolling = Rollout(rollout(UNSCHEDULED))
    assert "0/1 nodes: no GPU" in rolling.fails("for 60 s")
    assert UNSCHEDULED_S < rolling.time.seconds < UNSCHEDULED_S + 10


def test_old_pods_that_leave_give_time() -> None:
    """On the only GPU the new pod waits until the old one has ended, which may take a minute."""
    leaving = rollout(UNSCHEDULED, pod("old", of="1", leaving=True))
    rolling = Rollout(*[leaving] * 60, DONE)
    rolling.watch.wait(timeout_s=900)
    assert rolling.time.seconds > UNSCHEDULED_S


def test_an_autoscaler_that_makes_a_node_gives_time() -> None:
    """Until the timeout."""
    scaled = event("new", "TriggeredScaleUp", "pod triggered scale-up", warning=False)
    rolling = Rollout(rollout(UNSCHEDULED), events=[[scaled]])
    assert "not ready after 300 s" in rolling.fails("--timeout", timeout_s=300)
    assert "new: TriggeredScaleUp: pod triggered scale-up" in rolling.said.lines


def test_what_an_autoscaler_asks_for_later_need_not_fit() -> None:
    """All pods were ready once; how many more the autoscaler would like is no matter of the rollout."""
    rolling = Rollout(crowded(ready=3, proven=True), least=2)
    (state,) = rolling.watch.wait(timeout_s=900)
    assert (state.ready, state.wanted) == (3, 4)
    assert rolling.time.seconds == 0
    assert any("Unschedulable" in line for line in rolling.said.lines)


def test_what_an_autoscaler_asks_for_meanwhile_is_waited_for_but_need_not_fit() -> None:
    """The room that an old pod leaves is seen by the scheduler a while later; what never fits fails nothing."""
    Rollout(*[crowded(ready=3, proven=False)] * 10, DONE, least=2).watch.wait(timeout_s=900)
    rolling = Rollout(crowded(ready=3, proven=False), least=2)
    (state,) = rolling.watch.wait(timeout_s=900)
    assert (state.ready, state.wanted) == (3, 4)
    assert UNSCHEDULED_S < rolling.time.seconds < UNSCHEDULED_S + 10


@pytest.mark.parametrize("least", [None, 4])
def test_the_pods_that_were_promised_must_fit(least: int | None) -> None:
    """Without an autoscaler that is all of them, with one as many as it keeps at least."""
    Rollout(crowded(ready=3, proven=True), least=least).fails("for 60 s")


def test_an_autoscaler_that_may_end_all_pods_needs_one_that_serves() -> None:
    """If the least is none, a release of which no pod fits anywhere has failed all the same."""
    Rollout(crowded(ready=0, proven=False), least=0).fails("for 60 s")


def test_an_old_pod_is_no_pod_of_an_autoscaled_rollout() -> None:
    """As long as one is about to go the rollout is not done, whatever fits."""
    leaving = crowded(ready=3, proven=True, old=(pod("old", of="1", leaving=True),))
    rolling = Rollout(*[leaving] * 5, crowded(ready=3, proven=True), least=2)
    rolling.watch.wait(timeout_s=900)
    assert rolling.time.seconds == 10


def test_the_timeout_tells_what_is_waited_for() -> None:
    """The pods that are not ready, and the log of the first of them."""
    message = Rollout(STARTING, logs="loading").fails("not ready after 20 s", timeout_s=20)
    assert "0 of 1 new pods ready" in message
    assert "startup probe" in message
    assert "loading" in message


def test_an_api_that_is_away_for_a_moment_is_no_failure() -> None:
    """It is told once, and looked for until the timeout."""
    rolling = Rollout(STARTING, GONE, GONE, DONE)
    rolling.watch.wait(timeout_s=900)
    assert sum("Trying again" in line for line in rolling.said.lines) == 1
    with pytest.raises(ClusterFailure, match="gives no answer"):
        Rollout(GONE).watch.wait(timeout_s=30)


def test_a_login_that_is_refused_ends_it() -> None:
    """Nothing is won by asking again."""
    rolling = Rollout(failed("error: You must be logged in to the server (Unauthorized)"))
    with pytest.raises(ClusterFailure, match="does not take this login"):
        rolling.watch.wait(timeout_s=900)
    assert rolling.time.seconds == 0


def test_a_deployment_that_is_gone_is_told() -> None:
    """Somebody removes it meanwhile."""
    assert re.search(NAME, Rollout({"items": []}).fails("There is no Deployment"))


LOST = [[event("new", "NodeNotReady", "Node is not ready", uid="l")]]


def node(ready: bool) -> dict[str, Any]:
    """Return the node of the pods."""
    return {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def test_a_node_that_is_lost_is_named_after_a_minute() -> None:
    """Not only after all the time that pods have."""
    rolling = Rollout(STARTING, events=LOST)
    rolling.cluster.answers["kubectl get node gpu-1"] = node(False)
    said = rolling.fails("pod new: its node is not ready")
    assert "kubectl describe node" in said
    assert 60 < rolling.time.seconds < 70


def test_a_node_that_came_back_is_no_reason_to_give_up() -> None:
    """The event stays for an hour."""
    rolling = Rollout(*[STARTING] * 60, DONE, events=LOST)
    rolling.cluster.answers["kubectl get node gpu-1"] = node(True)
    assert rolling.watch.wait(timeout_s=900)[0].whole


def test_an_old_pod_on_a_lost_node_is_not_waited_for() -> None:
    """It stays in the list until the node is back or removed, and serves nobody."""
    done = rollout(pod("new", ready=True), pod("old", of="1", leaving=True), whole=True)
    lost = [[event("old", "NodeNotReady", "Node is not ready", uid="l")]]
    rolling = Rollout(done, events=lost)
    rolling.watch.wait(timeout_s=900)
    assert rolling.time.seconds == 0
