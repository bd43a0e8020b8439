"""What `invoke status` shows of calls: agents over real sockets, in a cluster that answers by a script."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from invoke import Context

from scripts.agent.pace import EVERY_S
from scripts.agent.plan import Plan
from scripts.cluster.pod_agent import AGENT, PodAgent
from scripts.cluster.status import look
from scripts.cluster.status.served import Served
from scripts.server.endpoint import Endpoint
from scripts.server.seen import State
from scripts.tasks import cluster
from tests.doubles.cluster import DEPLOYED, SELECTED, TARGET, Cluster, items, pod
from tests.wire.agents import Served as Agent

pytestmark = pytest.mark.timeout(60)

GET = "kubectl --namespace=triton get"
SERVED = Served(
    model="cars", version="2", state="READY", reason="", requests=800, failures=1, reasons={"backend": 1},
    queue_ms=0.5, pending=0, images=800, runs=400, latency_ms={"p50": 3.5, "p95": 4.25, "p99": 123.4},
)  # fmt: skip


@attrs.frozen
class Release:
    """A release whose pods' agents are *agents*; a pod without one has an agent that does not answer."""

    agents: Mapping[str, Agent]

    @contextlib.contextmanager
    def forward(self, _: object, subject: str, *__: object, **___: object) -> Iterator[Any]:
        """Give the ports of a pod."""
        agent = self.agents.get(subject.removeprefix("pod/"))
        ports = {AGENT: agent.port if agent else 1}
        yield SimpleNamespace(ports=ports, endpoint=lambda _: Endpoint(http="", grpc="", metrics=""))

    def cluster(self, *names: str) -> Cluster:
        """Return the cluster."""
        pods = [pod(name) for name in names]
        for found in pods:
            found["spec"]["nodeName"] = f"node-of-{found['metadata']['name']}"
            found["spec"]["initContainers"] = [{"name": "agent"}]
            found["spec"]["volumes"] = [{"name": "plan", "configMap": {"name": "triton-infer-plan"}}]
        plan = {"kind": "ConfigMap", "metadata": {"name": "triton-infer-plan"}, "data": {"plan.json": Plan().to_json()}}
        deployment = {
            "metadata": {"name": "classifier"},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "triton", "image": "r/x:1"}]}}},
        }
        return Cluster({
            "helm history triton-infer": (0, json.dumps(DEPLOYED)),
            f"{GET} deployments --selector={TARGET.selector}": items(deployment),
            SELECTED: items(*pods),
            f"{GET} configmaps": items(plan),
            f"{GET} horizontalpodautoscalers": items(),
            f"{GET} replicasets": items(),
        })  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    """Start the agents of the pods ``a`` and ``b``."""
    made = Release({name: Agent(tmp_path / name) for name in ("a", "b")})
    for agent in made.agents.values():
        agent.world.plan(1, 2)
    yield made
    for agent in made.agents.values():
        agent.close()


@pytest.fixture
def shown(
    release: Release, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:  # fmt: skip
    """Return what runs `invoke status` on pods, and returns what it prints."""

    def status(*names: str, **flags: bool) -> str:
        made = release.cluster(*names)

        @contextlib.contextmanager
        def reached(*_: str) -> Iterator[Any]:
            yield TARGET, made.kubectl, made.helm

        monkeypatch.setattr(cluster, "reached", reached)
        cluster.status(Context(), **flags)
        return capsys.readouterr().out

    monkeypatch.setattr(look, "look", partial(look.look, forward=release.forward))
    monkeypatch.setattr(look, "versions_of", lambda _: [SERVED])
    return status


def told(agent: Agent, **version: Any) -> None:
    """Let a client tell an agent of calls of version 2."""
    shadow = {"images": 0, "same": 0, "sure": 0, "sure_same": 0, "failures": {}, "latency": {}}
    counts = {"images": 0, "passed_over": 0, "failures": {}, "failed_s_ago": [], "latency": {}, "shadow": shadow}
    report = {"schema": 1, "model": "cars", "dropped": 0, "versions": {"2": {**counts, **version}}}
    assert agent.ask("POST", "/v1/outcomes/cars", report)[0] == 200


def paced(agent: Agent, ms: int) -> None:
    """Let version 2 of a server have answered 20 requests in each of 40 windows, each within *ms*."""
    for window in range(41):
        agent.pace.wall = partial(float, (1000 + window) * EVERY_S)
        agent.world.triton.counted["cars", 2] = (33 + 20 * window, 10**9 + 20 * window * ms * 10**6)
        agent.pace.look()


def test_what_callers_saw_is_shown_by_version_and_what_servers_count_by_pod(
    release: Release, shown: Callable[..., str]
) -> None:
    """Any agent is told of a call, so reports are put together; the slow pod is known by its own server's counters."""
    told(release.agents["a"], calls=90, latency={"-112": 90})
    told(release.agents["b"], calls=12, latency={"-64": 10}, failures={"late": 1, "refused": 1})
    paced(release.agents["a"], 6)
    paced(release.agents["b"], 4)
    said = shown("a", "b")
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert "cars 2 102 1 late, 1 refused 7.98 63.9 63.9" in rows
    for name in ("a", "b"):
        assert f"{name} cars 2 ok 800 1 backend 3.5 4.25 123 0.50 0 2.0" in rows
    assert "Pod a on node node-of-a is slower than the others: with cars version 2, Triton takes 1.5 times" in said
    assert "Pod b" not in said
    found = json.loads(shown("a", "b", json=True))
    assert [(one["pod"], one["node"], one["version"]) for one in found["slow"]] == [("a", "node-of-a", 2)]
    assert found["callers"][0]["failures"] == {"late": 1, "refused": 1}
    assert found["servers"][0]["versions"][0]["latency_ms"] == {"p50": 3.5, "p95": 4.25, "p99": 123.4}


@pytest.mark.usefixtures("shown")
def test_pods_of_another_chart_are_no_others(release: Release) -> None:
    """In an umbrella they may run on other machines: each is measured by those that follow the same plan."""
    paced(release.agents["a"], 6)
    paced(release.agents["b"], 4)
    made = release.cluster("a", "b")
    names = iter(("one-plan", "other-plan"))
    pods = json.loads(made.answers[SELECTED][1])["items"]
    for found in pods:
        found["spec"]["volumes"][0]["configMap"]["name"] = next(names)
    plan = {"kind": "ConfigMap", "data": {"plan.json": Plan().to_json()}}
    plans = [{**plan, "metadata": {"name": name}} for name in ("one-plan", "other-plan")]
    answers = {**made.answers, SELECTED: items(*pods), f"{GET} configmaps": items(*plans)}
    apart = Cluster(answers)
    found = look.look(apart.kubectl, apart.helm, TARGET, progress=lambda _: None)
    assert [server.follows is not None for server in found.servers] == [True, True]
    assert found.slow == ()


def test_where_nobody_tells_nothing_is_added(shown: Callable[..., str]) -> None:
    """Nor is a row made up of an agent that does not answer."""
    for said in (shown("a", "b"), shown("a", "gone")):
        assert "as clients saw" not in said
        assert "slower" not in said
    assert "The agent of pod gone gives no" in said


def test_an_agent_of_an_older_release_says_nothing_of_the_pace(
    release: Release, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of what it says is shown."""
    paced(release.agents["a"], 6)
    paced(release.agents["b"], 4)
    told(release.agents["b"], calls=12, latency={"-64": 12})

    def older(agent: PodAgent) -> State:
        body = agent.get("/v1/state").body
        return State.from_dict({name: body[name] for name in body.keys() - {"pace"}}, where=agent.pod)

    monkeypatch.setattr(PodAgent, "state", older)
    said = shown("a", "b")
    assert "slower" not in said
    assert "as clients saw" in said
