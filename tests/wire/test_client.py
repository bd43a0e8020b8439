"""The client over real gRPC: statuses, deadlines, broken connections, threads and forks."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.doubles.blocking import Blocking
from tests.doubles.fake_triton import FakeTriton, Refused, batch, image
from tests.wire.server import Served, serve
from triton_sdk import (
    ClientClosedError,
    ClientConfig,
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ResNetClient,
    RetryPolicy,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)
from triton_sdk._bounds import REPLY_BYTES

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a classifier."""
    with serve(FakeTriton()) as served:
        yield served


@pytest.fixture(params=[ResNetClient, Blocking])
def kind(request: pytest.FixtureRequest) -> Any:
    """Return how to make a client: of threads, and of an event loop."""
    return request.param


@pytest.fixture
def client(served: Served, kind: Any) -> Iterator[ResNetClient]:
    """Return a client of that server."""
    with kind(served.url, model="clf") as client:
        yield client


@pytest.fixture
def shared(served: Served) -> Iterator[ResNetClient]:
    """Return a client of that server for threads."""
    with ResNetClient(served.url, model="clf") as client:
        yield client


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refuse_once(code: str, details: str, *, method: str = "ModelInfer") -> Callable[[str, object], None]:
    """Return a twist that refuses the first request of *method*."""
    left = [Refused(code, details)]

    def twist(asked: str, _message: object) -> None:
        if asked == method and left:
            raise left.pop()

    return twist


@contextmanager
def slow_link(port: int, *, seconds: float) -> Iterator[int]:
    """Forward a port of this machine to *port*, every piece of data *seconds* late; return its number."""

    def forward(source: socket.socket, target: socket.socket) -> None:
        with source, target, suppress(OSError):
            while data := source.recv(65536):
                time.sleep(seconds)
                target.sendall(data)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def test_the_whole_of_the_client(client: ResNetClient) -> None:
    """Every call works against a real gRPC server."""
    client.wait_ready(timeout=30)
    assert client.ready()
    assert client.ready(version=1)
    assert not client.ready(version=9)
    assert client.versions() == (1, 2)
    assert client.contract().max_batch == 4
    prediction = client.predict(image(3), version=1)
    assert (prediction.label, prediction.model, prediction.model_version) == ("fish, red", "clf", 1)
    many = client.predict_many(image(value) for value in range(10))
    assert [found.index for found in many] == [(value + 2) % 5 for value in range(10)]
    assert client.infer(batch(*range(9))).scores.shape == (9, 5)


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        ("UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", ServerOverloadedError),
        ("UNAVAILABLE", "Request timeout expired", ServerOverloadedError),
        ("UNAVAILABLE", "Server is stopping", ServerUnavailableError),
        ("CANCELLED", "CANCELLED", ServerUnavailableError),
        ("DEADLINE_EXCEEDED", "too slow", DeadlineExceededError),
        ("INVALID_ARGUMENT", "unexpected shape for input 'image'", InvalidRequestError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", InvalidRequestError),
        ("NOT_FOUND", "Request for unknown model: 'clf' is not found", ModelNotFoundError),
        ("INTERNAL", "ValueError: boom", InferenceFailedError),
        ("UNAUTHENTICATED", "no token", ServerError),
        ("UNIMPLEMENTED", "no such service", ServerError),
    ],
)
def test_each_status_is_its_error(
    client: ResNetClient, served: Served, code: str, details: str, error: type[TritonError]
) -> None:
    """A status becomes the error of its kind, and gRPC's own error, trailing metadata included, lies beneath."""

    def refuse(method: str, _message: object) -> None:
        if method == "ModelInfer":
            raise Refused(code, details)

    served.triton.twist = refuse
    with pytest.raises(TritonError) as caught:
        client.predict(image(1))
    assert type(caught.value) is error
    # What grpc raises is both an RpcError and a Call, which its types do not say.
    cause: Any = caught.value.__cause__
    assert (cause.code(), cause.details()) == (grpc.StatusCode[code], details)
    assert ("x-told", "why") in [tuple(pair) for pair in cause.trailing_metadata()]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
def test_a_server_that_refuses_once_is_asked_again(client: ResNetClient, served: Served, code: str) -> None:
    """The caller sees nothing of a refusal that passes."""
    served.triton.twist = refuse_once(code, "Server is stopping")
    assert client.infer(batch(1)).model_version == 2
    assert served.triton.count("ModelInfer") == 2


def test_a_message_may_be_large(served: Served, kind: Any) -> None:
    """A request of 42 MB and a reply of 4.4 MB pass gRPC's default limit of 4 MiB."""
    served.triton.max_batch = 220_000
    with kind(served.url, model="clf") as client:
        assert client.infer(np.zeros((220_000, 8, 8, 3), np.uint8)).scores.shape == (220_000, 5)


class Flood(FakeTriton):
    """A server whose every answer is larger than any classifier's."""

    def answer(self, method: str, message: Any) -> Any:
        """Return the reply, and much behind it."""
        reply = super().answer(method, message)
        if method == "ModelInfer":
            reply.raw_output_contents.append(bytes(REPLY_BYTES))
        return reply


def test_a_reply_without_end_is_not_received(kind: Any) -> None:
    """Of a reply beyond the bound no label is made, and the error says whose fault it is."""
    with (
        serve(Flood()) as served,
        kind(served.url, model="clf") as client,
        pytest.raises(InferenceFailedError, match=r"No answer of a classifier is so large"),
    ):
        client.infer(batch(1))


@pytest.mark.timing
class TestDeadline:
    def overrun(self, call: Callable[[], object], timeout: float) -> float:
        """Return by how many seconds *call* missed its time, the best of three, for the machine may be busy."""
        overruns = []
        for _ in range(3):
            begin = time.monotonic()
            with pytest.raises(DeadlineExceededError):
                call()
            overruns.append(time.monotonic() - begin - timeout)
        return min(overruns)

    def test_a_server_that_never_answers_costs_no_more_than_the_timeout(
        self, client: ResNetClient, served: Served
    ) -> None:
        """The call is over within 50 ms of its deadline."""
        client.contract()
        release = threading.Event()

        def hang(_method: str, _message: object) -> None:
            release.wait(30)

        served.triton.twist = hang
        try:
            assert 0 <= self.overrun(lambda: client.infer(batch(1), timeout=0.3), 0.3) < 0.05
        finally:
            release.set()

    def test_a_server_that_accepts_and_says_nothing_costs_no_more(self) -> None:
        """A frozen process, whose kernel still accepts connections, is bounded as well."""
        with socket.create_server(("127.0.0.1", 0)) as frozen:
            client = ResNetClient(f"127.0.0.1:{frozen.getsockname()[1]}", timeout=0.3)
            assert 0 <= self.overrun(lambda: client.predict(image(1)), 0.3) < 0.05
            begin = time.monotonic()
            assert not client.ready()
            assert time.monotonic() - begin < 1
            client.close()


class TestConnection:
    def test_a_closed_port_fails_at_once(self, kind: Any, closed_port: int) -> None:
        """Where nothing listens, the error is not that of the deadline, and says what to check."""
        with kind(f"127.0.0.1:{closed_port}") as client:
            with pytest.raises(
                ServerUnavailableError, match=rf"127.0.0.1:{closed_port} \(3 attempts.*Check the address"
            ):
                client.predict(image(1))
            assert not client.ready()

    def test_waiting_for_a_server_that_never_comes_tells_why(self, closed_port: int) -> None:
        """The error at the deadline has gRPC's own reason."""
        with (
            ResNetClient(f"127.0.0.1:{closed_port}") as client,
            pytest.raises(DeadlineExceededError, match=r"after 1\.5 s: UNAVAILABLE: "),
        ):
            client.wait_ready(timeout=1.5)

    def test_a_client_finds_the_server_that_came_late(self, closed_port: int) -> None:
        """A client made before its server waits for it."""
        with ResNetClient(f"127.0.0.1:{closed_port}", model="clf") as client:
            waiter = threading.Thread(target=client.wait_ready, kwargs={"timeout": 20})
            waiter.start()
            assert not client.ready()
            with serve(FakeTriton(), port=closed_port):
                waiter.join(20)
                assert client.predict(image(1)).model_version == 2

    def test_a_slow_link_is_used(self, served: Served) -> None:
        """A connection that takes longer to make than the first pause between attempts is not given up."""
        with slow_link(served.port, seconds=0.15) as port, ResNetClient(f"127.0.0.1:{port}", model="clf") as client:
            assert client.ready(timeout=20)

    @pytest.mark.timing
    def test_the_same_client_recovers_from_a_restart(self, kind: Any) -> None:
        """While the server is away each call fails at once; 2 s after it is back, the same client works again."""
        with serve(FakeTriton()) as first:
            port = first.port
            with kind(first.url, model="clf") as client:
                client.predict(image(1))
                first.server.stop(0).wait()
                for _ in range(3):
                    with pytest.raises(ServerUnavailableError):
                        client.predict(image(1))
                with serve(FakeTriton(), port=port):
                    client.wait_ready(timeout=2)
                    assert client.predict(image(1)).model_version == 2

    def test_a_call_outlives_a_restart_under_it(self) -> None:
        """A request that is under way when the server dies is answered by the one that takes its place."""
        entered, release = threading.Event(), threading.Event()

        def hang(method: str, _message: object) -> None:
            if method == "ModelInfer":
                entered.set()
                release.wait(30)

        with serve(FakeTriton()) as first, ThreadPoolExecutor(1) as pool:
            retry = RetryPolicy(max_attempts=50, base=0.2, cap=0.2, burst=50)
            client = ResNetClient(first.url, model="clf", retry=retry)
            client.contract()
            first.triton.twist = hang
            answer = pool.submit(client.infer, batch(1))
            assert entered.wait(30)
            first.server.stop(0).wait()
            release.set()
            with serve(FakeTriton(versions=(3,)), port=first.port):
                assert answer.result(20).model_version == 3
            client.close()

    def test_closing_ends_the_calls_under_way(self, shared: ResNetClient, served: Served) -> None:
        """A call in another thread ends at once with the error of a closed shared."""
        shared.contract()
        entered, release = threading.Event(), threading.Event()

        def hang(_method: str, _message: object) -> None:
            entered.set()
            release.wait(30)

        served.triton.twist = hang
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(shared.infer, batch(1))
            assert entered.wait(30)
            shared.close()
            with pytest.raises(ClientClosedError):
                answer.result(20)
            release.set()


def test_metadata_goes_with_every_request(served: Served) -> None:
    """A token from the environment and the user's own keys are in each of the requests."""
    config = ClientConfig.from_env({"TRITON_GRPC_URL": served.url, "TRITON_MODEL": "clf", "TRITON_TOKEN": "t0ken"})
    with ResNetClient.from_config(config) as client:
        client.predict(image(1))
        client.versions()
        client.ready()
    with ResNetClient(served.url, model="clf", metadata=[("x-tenant", "blue")]) as client:
        client.ready()
    assert [found["authorization"] for found in served.metadata[:-1]] == ["Bearer t0ken"] * (len(served.metadata) - 1)
    assert {"ModelConfig", "ModelInfer", "ModelReady", "RepositoryIndex"} == {
        method for method, _ in served.triton.asked
    }
    assert served.metadata[-1]["x-tenant"] == "blue"


def test_threads_share_a_client(shared: ResNetClient, served: Served) -> None:
    """16 threads at once each get the answers to their own images, the first call included."""
    barrier = threading.Barrier(16)

    def ask(thread: int) -> list[int]:
        barrier.wait(30)
        return [shared.predict(image(thread + turn), version=1).index for turn in range(20)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == [[(thread + turn + 1) % 5 for turn in range(20)] for thread in range(16)]
    assert served.triton.count("ModelConfig") <= 16


FORK = """
import os, sys
from tests.doubles.fake_triton import image
from triton_sdk import ResNetClient

client = ResNetClient(sys.argv[1], model="clf", timeout=30)
before = client.predict(image(1)).index
child = os.fork()
if not child:
    answers = [client.predict(image(2), version=1).index for _ in range(3)]
    client.close()
    os._exit(0 if answers == [3, 3, 3] else 1)
status = os.waitpid(child, 0)[1]
print(status, client.predict(image(1)).index == before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_client_works_on_both_sides_of_a_fork(served: Served) -> None:
    """A client that was used before a fork works in the child, and goes on working in the parent."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, served.url],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.stdout.split() == ["0", "True"], done.stderr
