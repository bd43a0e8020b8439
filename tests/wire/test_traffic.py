"""Traffic plans that are followed by both clients: from an agent over HTTP, and from a file."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.both_clients import KINDS, Predict, predicting
from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.waiting import wait_until
from tests.wire.agents import Served as Agent
from tests.wire.server import Served, serve
from triton_sdk import InferenceFailedError, ModelNotFoundError, ResNetClient, TrafficPlan
from triton_sdk._wire.following import EVERY_S, FIRST_S

pytestmark = pytest.mark.timeout(60)

# A change is in force so soon, with a second for this machine.
SOON_S = EVERY_S + 1.0


def plan(generation: int, *, seconds: float = 300, **routes: int) -> dict[str, Any]:
    """Return a plan with routes ``v1=90, v2=10``; version 2 is the candidate."""
    return {
        "schema": 1,
        "model": "cars",
        "generation": generation,
        "routes": {name[1:]: weight for name, weight in routes.items()},
        "candidate": 2,
        "expires": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(),
    }


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """Serve an agent whose server has version 1, and version 2 as the candidate."""
    made = Agent(tmp_path, key="", open_to_all=True)
    made.world.plan(1, candidate=2)
    yield made
    made.close()


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve version 1, and version 2 as the candidate."""
    with serve(FakeTriton(model="cars", versions=(1,), candidate=2)) as served:
        yield served


@pytest.fixture(params=KINDS)
def predict(request: pytest.FixtureRequest, served: Served) -> Iterator[Predict]:
    """Return `predict` of each client."""
    with predicting(request.param, served.url, model="cars") as predict:
        yield predict


def test_a_change_is_followed_soon(agent: Agent, predict: Predict) -> None:
    """From the first call on, forward and back; while the agent is away, and when it says nonsense, nothing changes."""
    assert agent.ask("POST", "/v1/traffic/cars", plan(1, v1=0, v2=1))[0] == 200
    followed = TrafficPlan(f"http://127.0.0.1:{agent.port}", model="cars")

    def version() -> int:
        return int(predict(image(1), version=followed, key="me").model_version)

    assert version() == 2
    assert agent.ask("POST", "/v1/traffic/cars", plan(2, v1=1, v2=0))[0] == 200
    wait_until(lambda: version() == 1, within_s=SOON_S)
    assert agent.ask("POST", "/v1/traffic/cars", plan(3, v2=1))[0] == 200
    wait_until(lambda: version() == 2, within_s=SOON_S)
    agent.close()
    until = time.monotonic() + SOON_S
    while time.monotonic() < until:
        assert version() == 2
        time.sleep(0.05)


def test_a_plan_ends_while_nobody_judges(agent: Agent, predict: Predict) -> None:
    """The stable version answers then, with an agent and without one."""
    assert agent.ask("POST", "/v1/traffic/cars", plan(1, seconds=3, v2=1))[0] == 200
    followed = TrafficPlan(f"http://127.0.0.1:{agent.port}", model="cars")
    assert predict(image(1), version=followed).model_version == 2
    agent.close()
    wait_until(lambda: predict(image(1), version=followed).model_version == 1, within_s=10)


def test_a_file_may_be_written_at_any_moment(tmp_path: Path, predict: Predict) -> None:
    """What is half there is no plan: whoever reads it meanwhile goes on by the one before."""
    path = tmp_path / "plan.json"
    whole = json.dumps(plan(1, v2=1)).encode()
    path.write_bytes(whole)
    followed = TrafficPlan(path, model="cars")
    assert predict(image(1), version=followed).model_version == 2
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        followed._followed.look()
        assert predict(image(1), version=followed).model_version == 2
    path.unlink()
    followed._followed.look()
    assert predict(image(1), version=followed).model_version == 2
    path.write_bytes(json.dumps(plan(2, v1=1)).encode())
    wait_until(lambda: predict(image(1), version=followed).model_version == 1, within_s=SOON_S)


def test_a_source_that_hangs_costs_the_first_call_a_moment(predict: Predict) -> None:
    """It is asked in the background, and no other call waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        followed = TrafficPlan(f"http://127.0.0.1:{silent.getsockname()[1]}", model="cars")
        predict(image(1))
        took = []
        for _ in range(20):
            begin = time.monotonic()
            assert predict(image(1), version=followed).model_version == 1
            took.append(time.monotonic() - begin)
    assert took[0] >= FIRST_S
    assert sorted(took)[10] < FIRST_S / 2


def test_nothing_is_read_while_no_calls_are_made(tmp_path: Path, served: Served) -> None:
    """The thread ends soon after the last call, and the next one starts it again."""
    wait_until(lambda: readers() == 0, within_s=3 * EVERY_S)  # those of other tests
    path = tmp_path / "plan.json"
    path.write_bytes(json.dumps(plan(1, v2=1)).encode())
    with ResNetClient(served.url, model="cars", traffic=path) as client:
        assert client.predict(image(1)).model_version == 2
        assert readers() == 1
        wait_until(lambda: readers() == 0, within_s=3 * EVERY_S)
        path.write_bytes(json.dumps(plan(2, v1=1)).encode())
        client.predict(image(1))
        wait_until(lambda: client.predict(image(1)).model_version == 1, within_s=SOON_S)


def test_the_agent_is_told_what_became_of_the_calls(agent: Agent, predict: Predict, served: Served) -> None:
    """By version, as callers saw it, soon after the calls; of two clients, one that does not report is not in it."""
    assert agent.ask("POST", "/v1/traffic/cars", plan(1, v2=1))[0] == 200
    address = f"http://127.0.0.1:{agent.port}"
    followed, silent = TrafficPlan(address, model="cars"), TrafficPlan(address, model="cars", report=False)
    for _ in range(5):
        predict(image(1), version=followed, key="me")
        predict(image(1), version=silent, key="me")

    def twist(method: str, _message: Any) -> None:
        if method == "ModelInfer":
            raise Refused("INTERNAL", "boom")

    served.triton.twist = twist
    with pytest.raises(InferenceFailedError):
        predict(image(1), version=followed)

    def told() -> Any:
        return agent.ask("GET", "/v1/state")[1]["outcomes"].get("cars", {"versions": {}})["versions"].get("2")

    wait_until(lambda: (now := told()) and now["calls"] == 6, within_s=SOON_S + EVERY_S)
    now = told()
    assert (now["images"], now["failures"], now["incidents"], now["passed_over"]) == (5, {"failed": 1}, 1, 0)
    assert 0 < now["latency"]["p50_ms"] <= now["latency"]["p99_ms"]
    text = agent.ask("GET", "/metrics")[1]
    assert 'triton_agent_client_failures_total{model="cars",version="2",kind="failed"} 1' in text


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("cars", 20, 400), ("bikes", 20, 404), ("../plan", 20, 404), ("cars", 70_000, 413), ("cars", 10_000_000, 413)],
)
def test_whoever_tells_nonsense_is_refused(agent: Agent, path: str, size: int, status: int) -> None:
    """No key is asked for, so it must cost nothing: neither what is too long is kept, nor a model that is not there."""
    assert agent.ask("POST", f"/v1/outcomes/{path}", b"x" * size)[0] == status
    assert agent.ask("GET", "/v1/state")[1]["outcomes"] == {}


def readers() -> int:
    """Return how many threads read plans."""
    return sum(thread.name == "triton-sdk-traffic" for thread in threading.enumerate())


def test_a_client_follows_its_plan(tmp_path: Path, served: Served) -> None:
    """Every call that names no version does; one that names a version asks just that."""
    path = tmp_path / "plan.json"
    path.write_bytes(json.dumps(plan(1, v2=1)).encode())
    environ = {"TRITON_GRPC_URL": served.url, "TRITON_MODEL": "cars", "TRITON_TRAFFIC": os.fspath(path)}
    with ResNetClient.from_env(environ) as client:
        assert client.predict(image(1)).model_version == 2
        assert {found.model_version for found in client.predict_many([image(1)] * 40)} == {2}
        assert [getattr(found, "model_version", 0) for _, found in client.predict_stream([image(1)])] == [2]
        assert client.predict(image(1), version=1).model_version == 1
        with pytest.raises(ModelNotFoundError):
            client.predict(image(1), version=2)
