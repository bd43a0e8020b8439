"""The agents of a release's pods, through port-forwards of a script."""

import base64
import json
from functools import partial

import pytest

from scripts.cluster.agents import Agents, agents
from scripts.cluster.forward import HTTP, forward
from scripts.cluster.pod_agent import AGENT
from scripts.host.errors import TaskFailure
from tests.doubles.cluster import SELECTED, TARGET, Cluster, Forwards, items, pod

SECRET = "kubectl --namespace=triton get secret triton-infer-admin"
KEY = {"data": {"key": base64.b64encode(b"planted-admin-key").decode()}}
FORWARDS = [f"Forwarding from 127.0.0.1:{here} -> {there}" for here, there in ((41000, HTTP), (41003, AGENT))]


def with_agent(name: str, **more: object) -> dict[str, object]:
    """Return a pod with an agent."""
    found = pod(name, **more)  # type: ignore[arg-type]
    key = {"name": "TRITON_ADMIN_KEY", "valueFrom": {"secretKeyRef": {"name": "triton-infer-admin", "key": "key"}}}
    found["spec"]["initContainers"] = [{"name": "agent", "restartPolicy": "Always", "env": [key]}]
    return found


class World:
    """A cluster whose pods are *pods*."""

    def __init__(self, *pods: dict[str, object]) -> None:
        self.pods = list(pods)
        self.forwards = Forwards([FORWARDS] * 9)
        self.refused: set[str] = set()

    @property
    def cluster(self) -> Cluster:
        """The cluster as it is now."""
        each = {
            f"kubectl --namespace=triton get pod {found['metadata']['name']}": (  # type: ignore[index]
                (1, "Error from server (Forbidden): pods is forbidden")
                if found["metadata"]["name"] in self.refused  # type: ignore[index]
                else (0, json.dumps(found))
            )
            for found in self.pods
        }
        return Cluster({SELECTED: items(*self.pods), SECRET: (0, json.dumps(KEY)), **each})

    def look(self, found: Agents) -> list[str]:
        """Look at the pods as they are now; return the names of those that are asked."""
        found.kubectl = self.cluster.kubectl
        return [agent.pod for agent in found.look()]


def opened(world: World) -> Agents:
    """Return the agents of a world."""
    ports = partial(forward, start=world.forwards)
    return Agents(kubectl=world.cluster.kubectl, target=TARGET, progress=lambda _: None, forward=ports)


def test_each_running_pod_with_an_agent_is_reached_once() -> None:
    """The key goes along; a pod that comes later is reached later, and one that has gone is asked no more."""
    world = World(with_agent("a"), pod("b"))
    found = opened(world)
    assert world.look(found) == ["a"]
    (agent,) = found.look()
    assert agent.endpoint.http == "http://127.0.0.1:41003"
    assert agent.triton.http == "http://127.0.0.1:41000"
    assert agent.endpoint.headers["triton-admin-key"].reveal() == "planted-admin-key"
    world.pods = [with_agent("a"), with_agent("c")]
    assert world.look(found) == ["a", "c"]
    world.pods = [with_agent("c")]
    assert world.look(found) == ["c"]
    found.close()
    assert len(world.forwards.started) == 2
    assert all(kubectl.stopped for kubectl in world.forwards.started)


def test_a_pod_whose_server_died_still_has_its_agent() -> None:
    """It would be no proof that all follow if it were left out."""
    world = World(with_agent("a"))
    found = opened(world)
    assert world.look(found) == ["a"]
    dead = {"name": "triton", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    world.pods = [with_agent("a", containerStatuses=[dead])]
    assert world.look(found) == ["a"]
    assert world.look(opened(world)) == []
    found.close()


def test_a_pod_that_cannot_be_reached_says_why_when_it_is_asked() -> None:
    """And is tried again at the next look."""
    world = World(with_agent("a"))
    world.refused.add("a")
    with agents(
        world.cluster.kubectl, TARGET, progress=lambda _: None, forward=partial(forward, start=world.forwards)
    ) as found:
        found.kubectl = world.cluster.kubectl
        (agent,) = found.look()
        with pytest.raises(TaskFailure, match="may not"):
            agent.state()
        world.refused.clear()
        found.kubectl = world.cluster.kubectl
        (agent,) = found.look()
        assert agent.trouble == ""
