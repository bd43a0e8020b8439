"""The CPU image: built for real, locked down, asked, and stopped under load."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

from scripts.agent import files
from tests.image.ground import Engine
from tests.image.project import HARDENED, Container, Project, serving
from tests.waiting import wait_until
from triton_sdk import ResNetClient, RetryPolicy, TritonError

BUDGET = 450_000_000
CALLERS = 6


@pytest.fixture(scope="module")
def container(engine: Engine, cpu_image: str) -> Iterator[Container]:
    """Run the image as it is to be run: uid 1000, read-only, no capabilities, 128 MiB of shared memory."""
    with serving(engine, cpu_image) as running:
        yield running


def test_the_locked_down_container_passes_the_smoke_test(
    project: Project, container: Container, packaged: Path
) -> None:
    """Every check, golden numbers included, holds against the container."""
    done = project.invoke("smoke-test", f"--url={container.url}", f"--repository={packaged}")
    assert done.returncode == 0, done.stdout + done.stderr + container.logs()
    assert "none failed" in done.stdout


def test_the_server_is_process_1_and_not_root(engine: Engine, container: Container) -> None:
    """SIGTERM reaches the server itself, which has no rights to lose."""
    command = engine.docker("exec", container.id, "sh", "-c", "cat /proc/1/comm; id -u; touch /new || echo read-only")
    assert command.split() == ["tritonserver", "1000", "read-only"]


def test_docker_sees_that_it_is_healthy(engine: Engine, container: Container) -> None:
    """The health check, which the image carries, says so."""

    def state() -> str:
        return engine.docker("inspect", "--format={{.State.Health.Status}}", container.id)

    wait_until(lambda: state() != "starting", "a health check", within_s=60, every_s=0.5)
    assert state() == "healthy"


def test_the_health_check_fails_where_no_server_listens(engine: Engine, cpu_image: str) -> None:
    """What the image asks itself is answered by the server alone."""
    check = json.loads(engine.docker("image", "inspect", "--format={{json .Config.Healthcheck.Test}}", cpu_image))
    assert check[0] == "CMD"
    script = f"({check[-1]}) 2>/dev/null || echo failed"
    assert engine.docker("run", "--rm", "--entrypoint=bash", cpu_image, "-c", script) == "failed"


def test_any_user_can_run_it(engine: Engine, cpu_image: str) -> None:
    """A cluster that gives each namespace users of its own can run the image."""
    with serving(engine, cpu_image, options=("--user=123456:0", *HARDENED[1:])) as running:
        assert engine.docker("exec", running.id, "id", "-u") == "123456"


def test_the_labels_say_what_is_in_it(engine: Engine, cpu_image: str, packaged: Path, project: Project) -> None:
    """Revision, base and what names every version's bytes can be read without a container."""
    labels = json.loads(engine.docker("image", "inspect", "--format={{json .Config.Labels}}", cpu_image))
    head = (project.root / ".git" / "HEAD").read_text(encoding="utf-8").split()[-1]
    commit = (project.root / ".git" / head).read_text(encoding="utf-8").strip()
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.created"].startswith("20")
    for version in (1, 2):
        digest = files.digest(files.scan(packaged / "mobilenetv2" / str(version)))
        assert labels[f"triton-sdk.model.mobilenetv2.{version}"] == f"sha256:{digest}"


def test_its_size_is_within_the_budget(engine: Engine, cpu_image: str, packaged: Path) -> None:
    """Without the models it stays under 450 MB."""
    size = int(engine.docker("image", "inspect", "--format={{.Size}}", cpu_image))
    weights = sum(path.stat().st_size for path in packaged.rglob("model.*"))
    assert size - weights < BUDGET


@attrs.define
class Load:
    """Calls without a pause, each noted with when it began and ended (monotonic, in seconds) and whether it failed."""

    container: Container
    calls: list[tuple[float, float, bool]] = attrs.field(factory=list)
    stopped: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> None:
        """Call until told to stop, or until the first failure."""
        batch = np.zeros((4, 224, 224, 3), np.uint8)
        with ResNetClient(
            self.container.grpc_url, model="mobilenetv2", timeout=30, retry=RetryPolicy(max_attempts=1)
        ) as client:
            while not self.stopped.is_set():
                began = time.monotonic()
                try:
                    client.infer(batch)
                    self.calls.append((began, time.monotonic(), False))
                except TritonError:
                    self.calls.append((began, time.monotonic(), True))
                    return


def test_sigterm_lets_requests_in_flight_finish(engine: Engine, cpu_image: str) -> None:
    """Of a steady load no request that had begun before the signal is lost, and the server ends by itself."""
    with serving(engine, cpu_image) as running:
        load = Load(running)
        callers = [threading.Thread(target=load.run) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            time.sleep(2)
            signalled = time.monotonic()
            engine.docker("kill", "--signal=TERM", running.id)
            status = engine.docker("wait", running.id)
        finally:
            load.stopped.set()
            for caller in callers:
                caller.join(40)
        before = [call for call in load.calls if call[0] < signalled]
        in_flight = [call for call in before if call[1] > signalled]
        assert status == "0", running.logs()[-2000:]
        assert len(before) > 2 * CALLERS
        assert in_flight
        assert [call for call in before if call[2]] == []
