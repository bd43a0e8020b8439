"""The agent in a pod of a release: asked for what it serves, and given plans."""

import json
from collections.abc import Callable, Mapping
from typing import Self

import attrs

from scripts.agent.plan import Plan
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.endpoint import AGENT_OFFSET, HTTP_PORT, Answer, Endpoint
from scripts.server.seen import State

AGENT = HTTP_PORT + AGENT_OFFSET
# So many are asked at once.
AT_ONCE = 8
# How long an agent may take for an answer, in seconds.
ANSWER_S = 5.0


@attrs.frozen(kw_only=True)
class PodAgent:
    """The agent in a pod.

    Attributes:
        pod: The pod's name.
        endpoint: Where the agent answers.
        triton: The server beside it.
        plan: The ConfigMap that it reads the release's plan from.
        trouble: Why neither can be asked; empty where they can.
        way: How it is reached, for messages.
    """

    pod: str
    endpoint: Endpoint
    triton: Endpoint
    plan: str = ""
    trouble: str = ""
    way: str = "through a port-forward"

    @classmethod
    def at(cls, address: str, pod: str, headers: Mapping[str, Secret]) -> Self:
        """Return the agent in the pod at an IP address, which whoever is in the cluster can ask by itself."""
        host = f"[{address}]" if ":" in address else address
        endpoint, triton = (Endpoint.parse(f"{host}:{port}") for port in (AGENT, HTTP_PORT))
        return cls(
            pod=pod,
            endpoint=attrs.evolve(endpoint, headers=headers),
            triton=attrs.evolve(triton, headers=headers),
            way=f"at {address}",
        )

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
                f"The agent of pod {self.pod} gives no answer {self.way} within {ANSWER_S:g} s."
            ) from error
