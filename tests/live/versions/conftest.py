"""One server for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.live.versions.scene import Scene, Served
from triton_sdk.local import Runtime


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Iterator[Served]:
    """Serve versions 1 and 2, beside a store that has 3 and 4 too."""
    with Scene.made(tmp_path_factory.mktemp("versions"), runtime).started() as served:
        yield served


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    """Return the server as it was in the beginning, and check that its process is still the same one afterwards."""
    running.settle(1, 2)
    pid = running.server.pid
    yield running
    assert running.server.pid == pid
    assert not any("ended by itself" in line for line in running.said)
