"""Which server is meant, and what an agent of another release answers."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.server.seen import State
from scripts.versions.target import OneServer


@pytest.mark.parametrize(
    ("url", "agent"),
    [
        ("localhost", "http://localhost:8003"),
        ("127.0.0.1:9000", "http://127.0.0.1:9003"),
        ("http://[::1]:8000", "http://[::1]:8003"),
    ],
)
def test_the_agent_is_on_the_http_port_and_three(url: str, agent: str) -> None:
    """Whoever knows the server knows the agent."""
    assert OneServer.parse(url).agent.http == agent


def test_the_last_port_leaves_none_for_the_agent() -> None:
    """The message says why."""
    with pytest.raises(TaskFailure, match="leaves no port for the agent"):
        OneServer.parse("localhost:65535")


@pytest.mark.parametrize("answer", [{}, {"schema": 2}, {"schema": None}])
def test_an_agent_of_another_release_is_told(answer: dict[str, object]) -> None:
    """Its schema is named, and what to do."""
    with pytest.raises(TaskFailure, match="of another release"):
        State.from_dict(answer, where="http://localhost:8003")


@pytest.mark.parametrize("answer", [{"schema": 1}, {"schema": 1, "plan": [], "before": 3}])
def test_an_answer_that_is_none_is_told(answer: dict[str, object]) -> None:
    """Something else may listen there."""
    with pytest.raises(TaskFailure, match="do not understand"):
        State.from_dict(answer, where="http://localhost:8003")
