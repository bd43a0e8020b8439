"""When a port-forward is started again, when it is given up, and what is said about it."""

import json
import queue
from collections.abc import Callable

import pytest

from scripts.cluster import forward as module
from scripts.cluster.forward import Forwarding, choose, forward
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Endpoint
from tests.doubles.cluster import FORWARDS, Cluster, Forwards, items, pod

SOON_S = 10.0
A_POD = "kubectl --namespace=triton get pod a"
SERVICE = '{"spec": {"selector": {"b": "2", "a": "1"}}}'


def one_pod() -> Cluster:
    """Return a cluster with a ready pod."""
    return Cluster({A_POD: (0, json.dumps(pod()))})


def quiet(_: str) -> None:
    """Take a line."""


def alive(_: Endpoint) -> bool:
    """Say that a server lives."""
    return True


def test_ports_are_read_from_kubectl() -> None:
    """kubectl chooses them, on loopback; the endpoint is made of them, and kubectl ends with the block."""
    start = Forwards([["something else", *FORWARDS]])
    with forward(one_pod().kubectl, "pod/a", progress=quiet, start=start, lives=alive) as forwarding:
        assert forwarding.ports == {8000: 41000, 8001: 41001, 8002: 41002}
        endpoint = forwarding.endpoint()
        assert (endpoint.http, endpoint.grpc) == ("http://127.0.0.1:41000", "127.0.0.1:41001")
        assert endpoint.metrics == "http://127.0.0.1:41002/metrics"
        assert [kubectl.stopped for kubectl in start.started] == [False]
    assert [kubectl.stopped for kubectl in start.started] == [True]
    wanted = "kubectl --namespace=triton port-forward pod/a :8000 :8001 :8002 --address=127.0.0.1"
    assert [str(command) for command in start.commands] == [wanted]


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (["error: lost connection to pod"], "lost connection to pod"),
        (["something went wrong", None], "something went wrong"),
        ([None], "ended with status 1"),
    ],
    ids=["lost", "ended with a word", "ended"],
)
def test_it_is_started_again_on_the_same_ports(printed: list[str | None], reason: str) -> None:
    """Whatever ends it, clients find the server where it was."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    again: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def lives(_: Endpoint) -> bool:
        if len(start.started) == 2:
            again.put(True)
        return True

    start = Forwards([[*FORWARDS, *printed], FORWARDS])
    with forward(one_pod().kubectl, "pod/a", progress=told.put, start=start, lives=lives) as forwarding:
        assert reason in told.get(timeout=SOON_S)
        assert again.get(timeout=SOON_S)
        assert forwarding.restarts == 1
        assert start.started[0].stopped
    assert "port-forward pod/a 41000:8000 41001:8001 41002:8002" in str(start.commands[1])
    assert start.started[1].stopped
    assert forwarding.trouble == ""


def test_a_server_that_does_not_answer_has_it_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A miss alone is no reason; several in a row are."""
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    # Once for the start, then while it is watched.
    answers = iter([True, False, False, True, False, False, False])
    asked: list[bool] = []

    def lives(_: Endpoint) -> bool:
        asked.append(next(answers, True))
        return asked[-1]

    start = Forwards([FORWARDS, FORWARDS])
    with forward(one_pod().kubectl, "pod/a", progress=told.put, start=start, lives=lives):
        assert "does not answer" in told.get(timeout=SOON_S)
    assert asked[:7] == [True, False, False, True, False, False, False]


def test_it_is_given_up_with_the_reason() -> None:
    """A pod that is gone cannot be reached again: the trouble says so, and the block goes on."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    answers = {A_POD: (0, json.dumps(pod()))}
    start = Forwards([[*FORWARDS, None]])

    def progress(line: str) -> None:
        answers[A_POD] = (1, 'Error from server (NotFound): pods "a" not found')
        told.put(line)

    def given_up(forwarding: Forwarding) -> str:
        forwarding._watcher.join(SOON_S)
        return forwarding.trouble

    cluster = Cluster(answers)
    with forward(cluster.kubectl, "pod/a", progress=progress, start=start, lives=alive, patience_s=0.0) as forwarding:
        told.get(timeout=SOON_S)
        assert 'pods "a" not found' in given_up(forwarding)


@pytest.mark.parametrize(
    ("printed", "saying"),
    [
        (
            ["Unable to listen on port 41000: ...", "error: unable to listen on any of the requested ports"],
            "took a port",
        ),
        (
            ['Error from server (Forbidden): pods "a" is forbidden: cannot create resource "pods/portforwa"'],
            "this login may not do that",
        ),
        (
            ["error: unable to forward port because pod is not running. Current status=Pending"],
            "Current status=Pending",
        ),
        ([], "without a word"),
    ],
    ids=["port taken", "forbidden", "not running", "silent"],
)
def test_a_refusal_is_one_message(printed: list[str], saying: str) -> None:
    """What kubectl says before it ends is the cause, and nothing is left running."""
    start = Forwards([[*printed, None]])
    with (
        pytest.raises(TaskFailure, match=saying),
        forward(one_pod().kubectl, "pod/a", progress=quiet, start=start, lives=alive),
    ):
        pass
    assert start.started[0].stopped


def test_a_server_that_never_answers_is_one_message() -> None:
    """It names the pod and how to see its log, and nothing is left running."""
    start = Forwards([FORWARDS])
    with (
        pytest.raises(TaskFailure, match=r"(?s)Pod a gives no answer.*kubectl --namespace=triton logs a"),
        forward(one_pod().kubectl, "pod/a", progress=quiet, start=start, lives=lambda _: False, patience_s=0.0),
    ):
        pass
    assert start.started[0].stopped


def test_a_kubectl_that_ends_before_the_server_answers_is_not_waited_for() -> None:
    """There is no use in asking on, however much patience there is."""
    start = Forwards([FORWARDS])

    def lives(_: Endpoint) -> bool:
        start.started[0].ended = True
        return False

    with (
        pytest.raises(TaskFailure, match="Pod a gives no answer"),
        forward(one_pod().kubectl, "pod/a", progress=quiet, start=start, lives=lives, patience_s=600),
    ):
        pass
    assert start.started[0].stopped


def services(answer: Callable[[], tuple[int, str]]) -> Cluster:
    """Return a cluster with a Service and the pods that it selects."""
    return Cluster({
        "kubectl --namespace=triton get service s": (0, SERVICE),
        "kubectl --namespace=triton get pods --selector=a=1,b=2": answer(),
    })  # fmt: skip


def test_a_service_stands_for_a_ready_pod() -> None:
    """The first that is ready of those that the Service selects."""
    cluster = services(lambda: items(pod("a", ready=False), pod("c"), pod("b")))
    assert choose(cluster.kubectl, "svc/s") == "b"


def test_no_ready_pod_is_one_message_with_every_reason() -> None:
    """Each pod says why it is not ready."""
    waiting = {"name": "triton", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
    cluster = services(lambda: items(pod("a", ready=False), pod("b", ready=False, containerStatuses=[waiting])))
    with pytest.raises(TaskFailure, match=r"(?s)a: running, the readiness probe.*b: .*: no"):
        choose(cluster.kubectl, "svc/s")


def test_a_service_without_pods_is_one_message() -> None:
    """Scaled to 0, there is nobody to ask."""
    with pytest.raises(TaskFailure, match="Service s has no pods"):
        choose(services(items).kubectl, "svc/s")


def test_a_missing_service_is_one_message() -> None:
    """With its name and the namespace."""
    cluster = Cluster({"kubectl": (1, 'Error from server (NotFound): services "s" not found')})
    with pytest.raises(TaskFailure, match="find the service s in triton"):
        choose(cluster.kubectl, "svc/s")
