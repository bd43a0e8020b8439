"""A server for the faults that it survives, and clients of both kinds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.doubles import tiny
from tests.doubles.tcp_proxy import TcpProxy
from tests.live.faults import scene
from tests.live.faults.scene import Client
from triton_sdk import ResNetClient
from triton_sdk.local import LocalTriton, Runtime

Connect = Callable[..., Client]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Iterator[LocalTriton]:
    """Serve a model that answers at once and two that sleep, one of which with a short queue, loaded on demand."""
    repository = tmp_path_factory.mktemp("faults")
    tiny.write_model(repository, "quick", model=tiny.classifier())
    scene.write_sleeper(repository, "sleeper")
    scene.write_sleeper(repository, "crowded", queue=2)
    with LocalTriton(repository, args=["--model-control-mode=explicit", "--load-model=*"], runtime=runtime) as server:
        yield server


@pytest.fixture
def proxy(server: LocalTriton) -> Iterator[TcpProxy]:
    """Stand between a client and the server."""
    with TcpProxy(server.grpc_url) as proxy:
        yield proxy


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Connect:
    """Return what makes a client, of either kind."""
    return ResNetClient if request.param == "sync" else scene.Looped


@pytest.fixture
def connect(make: Connect) -> Iterator[Connect]:
    """Return what makes a client, of either kind, of the quick model if no other is named; it is closed in the end."""
    with ExitStack() as open_clients:

        def open_client(url: str | list[str], model: str = "quick") -> Client:
            client = make(url, model=model)
            open_clients.callback(client.close)
            return client

        yield open_client
