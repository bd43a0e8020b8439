"""What is read from a pod: its state, and why it is not ready."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scripts.cluster.pods import Pod, last_warning
from tests.doubles.cluster import pod


def container(**more: object) -> dict[str, Any]:
    """Return what a pod tells about its server's container."""
    return {"name": "triton", "ready": False, "started": True, "restartCount": 2, **more}


def test_a_ready_pod() -> None:
    """What it runs, on which node, with how many GPUs; nothing is wrong."""
    found = Pod.parse(pod("a", gpus=2))
    assert (found.name, found.phase, found.ready, found.running, found.node, found.gpus) == (
        "a", "Running", True, True, "n", 2,
    )  # fmt: skip
    assert found.image.startswith("r/x@sha256:111")
    assert found.reason == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}],
             "containerStatuses": []},
            "Unschedulable: 0/3",
        ),
        (
            {"containerStatuses": [container(
                state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                lastState={"terminated": {"exitCode": 137}},
            )]},
            "ended with status 137",
        ),
        ({"containerStatuses": [container(state={"terminated": {"exitCode": 1}})]}, "triton ended with status 1"),
        ({"containerStatuses": [container(state={"running": {}}, started=False)]}, "startup probe"),
        ({"containerStatuses": [container(state={"running": {}})]}, "the readiness probe has not succeeded"),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was\nlow."}, "Evicted: The node was low."),
        ({"containerStatuses": [], "conditions": [], "phase": "Pending"}, "Pending"),
    ],
    ids=["unschedulable", "crashing", "ended", "starting", "not ready", "evicted", "just made"],
)  # fmt: skip
def test_a_pod_says_why_it_is_not_ready(status: dict[str, Any], reason: str) -> None:
    """The reason is the one that a person would look for."""
    found = Pod.parse(pod("a", ready=False, **status))
    assert not found.ready
    assert reason in found.reason


def test_a_pod_that_is_going_is_not_ready() -> None:
    """Whatever its condition still says, it is about to get no more requests."""
    item = pod("a")
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = Pod.parse(item)
    assert (found.ready, found.leaving, found.reason) == (False, True, "leaving")


def test_restarts_are_summed() -> None:
    """Of all its containers."""
    both = [container(state={"running": {}}), {**container(), "name": "side", "restartCount": 3}]
    assert Pod.parse(pod("a", containerStatuses=both)).restarts == 5


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-3), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=120), "2m"),
        (timedelta(hours=2), "2h"),
        (timedelta(hours=47, minutes=59), "47h"),
        (timedelta(days=2), "2d"),
    ],
)
def test_an_age_is_short(age: timedelta, text: str) -> None:
    """In the largest unit that still tells something; a clock that is behind gives no negative one."""
    assert Pod.parse(pod("a")).age(now=datetime(2026, 1, 1, tzinfo=UTC) + age) == text


def event(about: str, kind: str, reason: str, message: str = "", **when: str) -> dict[str, Any]:
    """Return an event as the API gives it."""
    return {"type": kind, "involvedObject": {"name": about}, "reason": reason, "message": message, **when}


def test_the_last_warning_about_a_pod() -> None:
    """Of those about this pod alone, by whichever time the event has."""
    events = [
        event("a", "Warning", "New", "b\n c", eventTime="2026-01-03T00:00:00Z"),
        event("a", "Warning", "Old", lastTimestamp="2026-01-02T00:00:00Z"),
        event("a", "Normal", "Fine", lastTimestamp="2026-01-09T00:00:00Z"),
        event("b", "Warning", "Other", lastTimestamp="2026-01-09T00:00:00Z"),
    ]
    assert last_warning(events, "a") == "New: b c"
    assert last_warning(events, "c") == ""
