"""The servers that a canary is about: one that `invoke serve` runs, or the pods of a release, asked in the same way."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self, TypeVar

import attrs

from scripts.cluster.pod_agent import AT_ONCE, PodAgent
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Answer
from scripts.server.seen import State
from scripts.versions.target import OneServer, OvertakenError

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Server:
    """One server with its agent.

    Attributes:
        name: Its name.
        state: Asks the agent for its state.
        get: Asks the agent for a path.
        send: Posts a body to a path of the agent.
        triton: Asks the server itself for a path.
    """

    name: str
    state: Callable[[], State]
    get: Callable[[str], Answer]
    send: Callable[[str, bytes], Answer]
    triton: Callable[[str], Answer]

    @classmethod
    def of(cls, target: OneServer) -> Self:
        """Return the server that `invoke serve` runs."""
        return cls(
            name=target.name,
            state=target.state,
            get=target.agent.get,
            send=target.agent.post,
            triton=target.triton.get,
        )

    @classmethod
    def beside(cls, agent: PodAgent, ask: Callable[[PodAgent], State]) -> Self:
        """Return the server beside the agent of a pod, whose state *ask* gives."""
        return cls(
            name=agent.pod,
            state=partial(ask, agent),
            get=agent.get,
            send=agent.send,
            triton=agent.triton.get,
        )


def each(found: Sequence[Server], ask: Callable[[Server], _T]) -> tuple[Mapping[str, _T], Mapping[str, TaskFailure]]:
    """Ask all of them at once; return the answers, and why there is none, by the server's name.

    Raises:
        OvertakenError: If one of them follows what somebody else has changed.
    """
    answers: dict[str, _T] = {}
    failures: dict[str, TaskFailure] = {}

    def one(server: Server) -> None:
        try:
            answers[server.name] = ask(server)
        except OvertakenError:
            raise
        except TaskFailure as error:
            failures[server.name] = error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, found))
    return {server.name: answers[server.name] for server in found if server.name in answers}, failures
