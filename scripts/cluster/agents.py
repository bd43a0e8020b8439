"""The agents in the pods of a release, reached through port-forwards."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Self

import attrs

from scripts.agent.plan import Plan
from scripts.cluster.admin import admin_headers
from scripts.cluster.forward import HTTP, LOOPBACK, Forwarding, forward
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import Pod, server_pods
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.endpoint import AGENT_OFFSET, Answer, Endpoint
from scripts.server.seen import State

AGENT = HTTP + AGENT_OFFSET
AT_ONCE = 8
# How long an agent may take for an answer, and how long a port-forward that breaks is tried again, in seconds.
ANSWER_S, PATIENCE_S = 5.0, 20.0
Forward = Callable[..., AbstractContextManager[Forwarding]]


@attrs.frozen(kw_only=True)
class PodAgent:
    """The agent in a pod.

    Attributes:
        pod: The pod's name.
        endpoint: Where the agent answers.
        triton: The server beside it.
        plan: The ConfigMap that it reads the release's plan from.
        trouble: Why neither can be asked; empty where they can.
    """

    pod: str
    endpoint: Endpoint
    triton: Endpoint
    plan: str = ""
    trouble: str = ""

    @classmethod
    def behind(cls, forwarding: Forwarding, pod: str, headers: Mapping[str, Secret]) -> Self:
        """Return the agent that a port-forward leads to."""
        endpoint = Endpoint.parse(f"{LOOPBACK}:{forwarding.ports[AGENT]}")
        triton = forwarding.endpoint(headers)
        return cls(pod=pod, endpoint=attrs.evolve(endpoint, headers=headers), triton=triton)

    @classmethod
    def out_of_reach(cls, pod: str, trouble: str) -> Self:
        """Return an agent that cannot be asked."""
        nowhere = Endpoint(http="", grpc="", metrics="")
        return cls(pod=pod, endpoint=nowhere, triton=nowhere, trouble=trouble)

    def state(self) -> State:
        """Return what it says.

        Raises:
            TaskFailure: If it does not answer, or is of another release.
        """
        answer = self.get("/v1/state")
        if answer.status != 200:
            raise TaskFailure(f"The agent of pod {self.pod} answers {answer}.")
        return State.from_dict(answer.body, where=f"pod {self.pod}")

    def post(self, plan: Plan) -> Answer:
        """Give it a plan to follow, and return its answer.

        Raises:
            TaskFailure: If it does not answer.
        """
        return self.send("/v1/plan", json.dumps(plan.to_dict()).encode())

    def get(self, path: str) -> Answer:
        """Ask it for *path*.

        Raises:
            TaskFailure: If it does not answer.
        """
        return self._asked(lambda: self.endpoint.get(path, timeout_s=ANSWER_S))

    def send(self, path: str, body: bytes) -> Answer:
        """Post *body* to *path*.

        Raises:
            TaskFailure: If it does not answer.
        """
        return self._asked(lambda: self.endpoint.post(path, body, timeout_s=ANSWER_S))

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        if self.trouble:
            raise TaskFailure(self.trouble)
        try:
            return ask()
        except TaskFailure as error:
            raise TaskFailure(
                f"The agent of pod {self.pod} gives no answer through a port-forward within {ANSWER_S:g} s."
            ) from error


_UNKNOWN = PodAgent.out_of_reach("", "It was not asked yet.")


@attrs.define(kw_only=True)
class Agents:
    """The agents of a release; see :func:`agents`.

    Attributes:
        kubectl: The cluster and the namespace.
        target: The release.
        progress: Takes a line where something is worth knowing.
        forward: Gives ports that lead to a pod.
    """

    kubectl: Kubectl
    target: Target
    progress: Callable[[str], None]
    forward: Forward
    _stack: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack)
    _reached: dict[str, PodAgent] = attrs.field(factory=dict)
    _headers: Mapping[str, Secret] | None = None

    def look(self) -> list[PodAgent]:
        """Return the agents of the pods that run; a port-forward to each new one is started.

        Raises:
            TaskFailure: If the cluster cannot be asked.
        """
        # One whose server has died meanwhile still has its agent.
        pods = [pod for pod in self.pods() if pod.agent and (pod.running or pod.name in self._reached)]
        new = [pod for pod in pods if self._reached.get(pod.name, _UNKNOWN).trouble]
        if new and self._headers is None:
            self._headers = admin_headers(self.kubectl, new, progress=self.progress)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for agent in pool.map(self._reach, new):
                self._reached[agent.pod] = agent
        return [self._reached[pod.name] for pod in pods]

    def pods(self) -> list[Pod]:
        """Return the pods of the release that stay.

        Raises:
            TaskFailure: If the cluster cannot be asked.
        """
        return [pod for pod in server_pods(self.kubectl, self.target) if not pod.leaving]

    def close(self) -> None:
        """End all port-forwards."""
        self._stack.close()

    def _reach(self, pod: Pod) -> PodAgent:
        """Start a port-forward to a pod."""
        try:
            forwarding = self._stack.enter_context(
                self.forward(
                    self.kubectl,
                    f"pod/{pod.name}",
                    (HTTP, AGENT),
                    progress=lambda _: None,
                    patience_s=PATIENCE_S,
                    lives=lambda _: True,  # an agent is asked even if its server does not answer
                )
            )
        except TaskFailure as error:
            return PodAgent.out_of_reach(pod.name, str(error))
        return attrs.evolve(PodAgent.behind(forwarding, pod.name, self._headers or {}), plan=pod.plan)


@contextlib.contextmanager
def agents(
    kubectl: Kubectl, target: Target, *, progress: Callable[[str], None], forward: Forward = forward
) -> Iterator[Agents]:
    """Give the agents of a release; their port-forwards end with the block."""
    found = Agents(kubectl=kubectl, target=target, progress=progress, forward=forward)
    try:
        yield found
    finally:
        found.close()
