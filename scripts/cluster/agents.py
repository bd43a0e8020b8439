"""The agents in the pods of a release, reached through port-forwards."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import attrs

from scripts.cluster.admin import admin_headers
from scripts.cluster.forward import HTTP, LOOPBACK, Forwarding, forward
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pod_agent import AGENT, AT_ONCE, PodAgent
from scripts.cluster.pods import Pod, server_pods
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.endpoint import Endpoint

# How long a port-forward that breaks is tried again, in seconds.
PATIENCE_S = 20.0
Forward = Callable[..., AbstractContextManager[Forwarding]]


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
        return attrs.evolve(behind(forwarding, pod.name, self._headers or {}), plan=pod.plan)


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


def behind(forwarding: Forwarding, pod: str, headers: Mapping[str, Secret]) -> PodAgent:
    """Return the agent of a pod that a port-forward leads to."""
    endpoint = Endpoint.parse(f"{LOOPBACK}:{forwarding.ports[AGENT]}")
    triton = forwarding.endpoint(headers)
    return PodAgent(pod=pod, endpoint=attrs.evolve(endpoint, headers=headers), triton=triton)
