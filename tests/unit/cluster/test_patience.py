"""An API that is away for a moment: asked again where that does no harm, for as long as the patience lasts."""

import pytest

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import Patience
from scripts.cluster.says import ClusterFailure
from tests.doubles.kubernetes import WHERE, Answer, Cluster, Lines, Time, failed

AWAY = [
    "Error from server (ServiceUnavailable): the server is currently unable to handle the request",
    "Error from server (InternalError): an error on the server has prevented the request from succeeding",
    "Error from server (Timeout): the server was unable to return a response in the time allotted",
    "Error from server (TooManyRequests): the server has received too many requests",
    "Error from server: etcdserver: leader changed",
    "Error from server: etcdserver: request timed out",
    "Unable to connect to the server: http2: client connection lost",
    'Get "https://api.example/api": EOF',
    "Error: Kubernetes cluster unreachable: unexpected EOF",
    "error: read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer",
    "Error: query: failed to query with labels: 503 Service Unavailable",
    # Helm has the API's message without its reason.
    "Error: UPGRADE FAILED: query: failed to query with labels: apiserver is shutting down",
    "Error from server: storage is (re)initializing",
    "Error: UPGRADE FAILED: etcdserver: server stopped",
    'Error: create: failed to create: Post "https://api.example": http: ContentLength=89933 with Body length 0',
    "Error from server: rpc error: code = Unavailable desc = error reading from server",
]
REFUSED = "The connection to the server api.example was refused - did you specify the right host or port?"


class Asked:
    """A kubectl with a cluster that gives some answers, and what it took to get the last."""

    def __init__(self, *said: str, seconds: float = 60) -> None:
        self.time, self.lines = Time(), Lines()
        answers: list[Answer] = [failed(text) if text else {"items": []} for text in said]
        self.cluster = Cluster(answers={"kubectl": list(answers)})
        patience = Patience(seconds=seconds, tell=self.lines.lines.append, clock=self.time.clock)
        self.kubectl = Kubectl(self.cluster, where=WHERE, patience=patience)

    def ask(self) -> object:
        """Ask once."""
        return self.kubectl.json("get", "pods")


@pytest.mark.parametrize("said", AWAY)
def test_an_api_that_is_away_is_asked_again(said: str) -> None:
    """It is told once, with what the API said."""
    asked = Asked(said, said, said, "")
    assert asked.ask() == {"items": []}
    assert len(asked.cluster.ran) == 4
    assert len(asked.lines.lines) == 1


def test_patience_ends() -> None:
    """With the last answer, and what to do."""
    asked = Asked(AWAY[0])
    with pytest.raises(ClusterFailure, match="kubectl get --raw=/readyz") as raised:
        asked.ask()
    assert raised.value.cause == "passing"
    assert 60 <= asked.time.seconds < 70
    with pytest.raises(ClusterFailure):
        Asked(AWAY[0], "", seconds=0).ask()


def test_an_api_that_never_answered_is_not_waited_for() -> None:
    """The address is wrong, or the cluster is down; one that has answered comes back."""
    asked = Asked(REFUSED, "")
    with pytest.raises(ClusterFailure, match="gives no answer"):
        asked.ask()
    assert asked.time.seconds == 0
    asked = Asked("", REFUSED, "")
    asked.kubectl.json("version", "--client")
    with pytest.raises(ClusterFailure, match="gives no answer"):
        asked.ask()
    assert asked.time.seconds == 0
    asked = Asked("", REFUSED, REFUSED, "")
    assert asked.ask() == asked.ask() == {"items": []}
    assert asked.time.seconds > 0


@pytest.mark.parametrize("said", ["Error from server (NotFound): x not found", "Error from server (Forbidden): no"])
def test_an_answer_is_an_answer(said: str) -> None:
    """What is not there or not allowed does not come by asking again."""
    asked = Asked(said)
    with pytest.raises(ClusterFailure):
        asked.ask()
    assert len(asked.cluster.ran) == 1
