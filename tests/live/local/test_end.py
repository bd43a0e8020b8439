"""However a local Triton ends, or the program that started it, nothing of it is left behind."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from tests.doubles import tiny
from tests.live.local.scene import ROOT, identity_of, infer, traces
from tests.waiting import wait_until
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime
from triton_sdk.local._supervisor import ENVIRONMENTS, TEMPORARY, has_busy_child

# A program that serves, tells the server's process id, and waits.
SERVE = """
import sys, time
from pathlib import Path
from triton_sdk.local import LocalTriton, Runtime
with LocalTriton(sys.argv[1], runtime=Runtime(folder=Path(sys.argv[2]), minor=sys.argv[3])) as server:
    print(server.pid, server.http_url, flush=True)
    {then}
"""


@pytest.fixture
def serving_child(repository: Path, runtime: Runtime) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program that serves a tiny model and then does as told, in a process group of its own."""
    tiny.write_model(repository)
    children: list[subprocess.Popen[str]] = []

    def start(then: str) -> subprocess.Popen[str]:
        arguments = [str(repository), str(runtime.folder), runtime.minor]
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", SERVE.replace("{then}", then), *arguments],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                process_group=0,
            )
        )
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def infer_by_grpc(server: LocalTriton, data: list[float]) -> tuple[int, Any]:
    """Ask the model ``tiny`` over gRPC; answer as :func:`infer` does."""
    tensor = tritonclient.grpc.InferInput("x", [1, len(data)], "FP32")
    tensor.set_data_from_numpy(np.array([data], np.float32))
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        return 200, {"y": client.infer("tiny", [tensor]).as_numpy("y")[0].tolist()}


@pytest.mark.timing  # the server's time to end is bounded
@pytest.mark.parametrize("ask", [infer, infer_by_grpc])
def test_requests_in_flight_are_answered_before_the_end(
    repository: Path, runtime: Runtime, ask: Callable[[LocalTriton, list[float]], tuple[int, Any]]
) -> None:
    """A request that the server has begun gets its answer although the server is told to stop."""
    tiny.write_model(repository, model=tiny.slow(rounds=200))
    with LocalTriton(repository, runtime=runtime) as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, server, [1.0] * 512)
        wait_until(lambda: has_busy_child(server.pid))
        time.sleep(0.05)
        assert has_busy_child(server.pid)
        assert not answer.done()
        server.stop()
        assert answer.result() == (200, {"y": [1.0] * 512})


def test_an_idle_connection_does_not_hold_the_end_for_long(repository: Path, runtime: Runtime) -> None:
    """A client that keeps its connection open delays the end by a few seconds, not by Triton's usual 30."""
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=runtime) as server:
        connection = http.client.HTTPConnection(server.http_url.removeprefix("http://"), timeout=20)
        connection.request("GET", "/v2/health/ready")
        connection.getresponse().read()
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 20
        connection.close()


def test_a_server_that_ends_takes_its_temporary_folder_along(repository: Path, runtime: Runtime) -> None:
    """Triton itself forgets the one of its Python backend; others may start servers meanwhile, whose folders stay."""
    tiny.write_model(repository)
    before = set(TEMPORARY.glob(ENVIRONMENTS))
    with LocalTriton(repository, runtime=runtime):
        made = set(TEMPORARY.glob(ENVIRONMENTS)) - before
        assert made
    assert [folder for folder in made if not folder.exists()]


def test_a_killed_server_leaves_nothing(repository: Path, runtime: Runtime) -> None:
    """When tritonserver itself is killed, its stubs and its shared memory go, and waiting says so at once."""
    tiny.write_model(repository, instances=2)
    with LocalTriton(repository, runtime=runtime) as server:
        identity = identity_of(server.pid)
        assert len(traces(identity)) >= 6
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: traces(identity) == [])
        for wait in (server.wait_ready, server.wait):
            with pytest.raises(LocalServerError, match="ended with status 137"):
                wait()


def test_a_killed_supervisor_takes_the_server_along(repository: Path, runtime: Runtime) -> None:
    """When the supervisor is killed, the server and its stubs end too and remove their shared memory."""
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=runtime) as server:
        identity = identity_of(server.pid)
        status = Path(f"/proc/{server.pid}/status").read_text()
        os.kill(int(re.findall(r"PPid:\t(\d+)", status)[0]), signal.SIGKILL)
        wait_until(lambda: traces(identity) == [])


def test_a_killed_parent_leaves_nothing(serving_child: Callable[[str], subprocess.Popen[str]]) -> None:
    """kill -9 of the program that serves ends the server, its stubs and their shared memory, a fork of it or not."""
    child = serving_child("import os; os.fork(); time.sleep(60)")
    assert child.stdout is not None
    pid = int(child.stdout.readline().split()[0])
    identity = identity_of(pid)
    fork = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[-1])
    try:
        child.kill()
        child.wait()
        wait_until(lambda: traces(identity) == [])
    finally:
        os.kill(fork, signal.SIGKILL)


def test_ctrl_c_lets_the_parent_end_the_server(serving_child: Callable[[str], subprocess.Popen[str]]) -> None:
    """A terminal's Ctrl-C reaches the program and not its server, which still answers until it is stopped."""
    child = serving_child(
        """
    try:
        print("waiting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        import urllib.request
        time.sleep(0.5)
        print(urllib.request.urlopen(server.http_url + "/v2/health/ready").status, flush=True)
        raise SystemExit(7)
"""
    )
    assert child.stdout is not None
    pid = int(child.stdout.readline().split()[0])
    identity = identity_of(pid)
    assert child.stdout.readline().strip() == "waiting"
    os.killpg(child.pid, signal.SIGINT)
    assert child.stdout.readline().strip() == "200"
    assert child.wait(20) == 7
    assert traces(identity) == []
