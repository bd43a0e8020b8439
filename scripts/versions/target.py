"""Where versions are served: one server that `invoke serve` runs, or the pods of a release."""

import json
from collections.abc import Callable, Sequence
from typing import Protocol, Self
from urllib.parse import urlsplit

import attrs

from scripts.agent.plan import Plan
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import AGENT_OFFSET, Endpoint
from scripts.server.seen import State


class OvertakenError(TaskFailure):
    """Somebody else has changed the plan meanwhile; it is theirs now."""


class Target(Protocol):
    """What serves a plan."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def state(self) -> State:
        """Return what stands for all of it: the plan, and what is served.

        Raises:
            TaskFailure: If it cannot be asked.
        """

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Give it *plan* to follow, if the generation *after* is followed until now; return it as the servers get it.

        Raises:
            TaskFailure: If it does not take it.
        """

    def servers(self) -> Sequence[tuple[str, Callable[[], State]]]:
        """Return the name of each server that is there now, and what gives its state."""


@attrs.frozen(kw_only=True)
class OneServer:
    """A server that `invoke serve` runs.

    Attributes:
        name: Its address.
        agent: Where the agent beside it listens.
        triton: The server itself.
    """

    name: str
    agent: Endpoint
    triton: Endpoint

    @classmethod
    def parse(cls, url: str) -> Self:
        """Find the agent of the server at ``HOST`` or ``HOST:HTTP_PORT``.

        Raises:
            TaskFailure: If *url* is neither.
        """
        triton = Endpoint.parse(url)
        parts = urlsplit(triton.http)
        host, port = parts.netloc.rpartition(":")[0], (parts.port or 0) + AGENT_OFFSET
        if port > 65535:
            raise TaskFailure(f"{url!r} leaves no port for the agent, which is the HTTP port and {AGENT_OFFSET}.")
        return cls(name=parts.netloc, agent=Endpoint.parse(f"{host}:{port}"), triton=triton)

    def state(self) -> State:
        """Return what the agent says.

        Raises:
            TaskFailure: If no agent answers, or one of another release.
        """
        try:
            answer = self.agent.get("/v1/state")
        except TaskFailure as error:
            raise TaskFailure(
                f"No agent answers on {self.agent.http}. `invoke serve` runs one beside its server, on the HTTP port "
                f"and {AGENT_OFFSET}; a server in Docker, a LocalTriton and a server of a former release have none."
            ) from error
        if answer.status != 200:
            raise TaskFailure(f"What answers on {self.agent.http} is no agent: {answer}.")
        return State.from_dict(answer.body, where=self.agent.http)

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Post *plan* to the agent.

        Raises:
            TaskFailure: If it does not take it.
        """
        answer = self.agent.post("/v1/plan", json.dumps({**plan.to_dict(), "after": after}).encode())
        if answer.status == 409:
            raise TaskFailure(
                f"Somebody else has changed the plan of {self.name} at the same time, and nothing was changed here. "
                "Look at `invoke versions`, then try again."
            )
        if answer.status != 200:
            raise TaskFailure(f"The agent on {self.agent.http} does not take the plan: {answer}.")
        return plan

    def servers(self) -> Sequence[tuple[str, Callable[[], State]]]:
        """Return the one server."""
        return [(self.name, self.state)]
