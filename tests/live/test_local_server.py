import http.client
import ipaddress
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc

from tests.doubles import tiny
from tests.waiting import wait_until
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, _interpreters, _ports, provision
from triton_sdk.local._checks import SHARED_MEMORY
from triton_sdk.local._supervisor import ENVIRONMENTS, TEMPORARY, has_busy_child

ROOT = Path(__file__).parents[2]
# A program that serves, tells the server's process id, and waits.
SERVE = """
import sys, time
from pathlib import Path
from triton_sdk.local import LocalTriton, Runtime
with LocalTriton(sys.argv[1], runtime=Runtime(folder=Path(sys.argv[2]), minor=sys.argv[3])) as server:
    print(server.pid, server.http_url, flush=True)
    {then}
"""
INSTALL = """
import sys
from pathlib import Path
from triton_sdk.local import provision
print(provision(progress=lambda line: print(line, flush=True), cache=Path(sys.argv[1])).folder)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty model repository."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def post(url: str, path: str, body: Any) -> tuple[int, Any]:
    """Send *body* as JSON on a connection of its own; return the status and the answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def infer(
    server: LocalTriton,
    data: list[Any],
    *,
    model: str = "tiny",
    version: int | None = None,
    datatype: str = "FP32",
    shape: list[int] | None = None,
    outputs: tuple[str, ...] = ("y",),
) -> tuple[int, Any]:
    """Ask for *outputs* of *model* for ``x``: the status, and the answer's data by output, or the error's text."""
    path = f"/v2/models/{model}{'' if version is None else f'/versions/{version}'}/infer"
    tensor = {"name": "x", "datatype": datatype, "shape": shape or [1, len(data)], "data": data}
    status, answer = post(server.http_url, path, {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]})
    if status != 200:
        return status, answer["error"]
    return status, {output["name"]: output["data"] for output in answer["outputs"]}


def metric(server: LocalTriton, name: str) -> float:
    """Return the sum of the counter *name* over all models and versions."""
    connection = http.client.HTTPConnection(server.metrics_url.split("/")[2], timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))


def identity_of(pid: int) -> str:
    """Return the mark that the server *pid*, its stubs, its supervisor and its shared memory bear."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next(word.removeprefix("--id=") for word in words if word.startswith("--id="))


def traces(identity: str) -> list[str]:
    """Return the processes and the shared-memory files that bear *identity*."""
    found = [str(file) for file in SHARED_MEMORY.glob(f"{identity}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(identity in word for word in words):
            found.append(f"{process.name} {words[0]}")
    return found


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


def test_two_versions_are_served_at_once_on_the_loopback_interface(repository: Path, runtime: Runtime) -> None:
    """Each version answers with its own weights, the highest where none is asked for, and only asked outputs come."""
    tiny.write_model(repository, version=1, model=tiny.scaler(2))
    tiny.write_model(repository, version=2, model=tiny.scaler(3))
    with LocalTriton(repository, runtime=runtime) as server:
        assert infer(server, [1, 2, 3, 4], version=1) == (200, {"y": [2, 4, 6, 8]})
        assert infer(server, [1, 2, 3, 4], version=2) == (200, {"y": [3, 6, 9, 12]})
        assert infer(server, [1, 2, 3, 4]) == (200, {"y": [3, 6, 9, 12]})
        assert infer(server, [1, 2, 3, 4], version=1, outputs=("z",)) == (200, {"z": [-1, -2, -3, -4]})
        listening = listening_addresses(server.pid)
        identity = identity_of(server.pid)
    assert listening == {"127.0.0.1"}
    assert traces(identity) == []


def listening_addresses(pid: int) -> set[str]:
    """Return the IPv4 and IPv6 addresses on which *pid* listens, read from /proc."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                raw = bytes.fromhex(fields[1].split(":")[0])
                # Four bytes at a time, each four in the order of the machine.
                packed = b"".join(raw[index : index + 4][::-1] for index in range(0, len(raw), 4))
                address = ipaddress.ip_address(packed)
                addresses.add(str(getattr(address, "ipv4_mapped", None) or address))
    return addresses


def test_concurrent_requests_are_batched(repository: Path, runtime: Runtime) -> None:
    """Requests that wait together are run together, and each caller gets its own answer."""
    tiny.write_model(repository, extra="dynamic_batching { max_queue_delay_microseconds: 50000 }")
    with LocalTriton(repository, runtime=runtime) as server, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: infer(server, [number] * 4), range(40)))
        requests, runs = metric(server, "nv_inference_count"), metric(server, "nv_inference_exec_count")
    assert answers == [(200, {"y": [2 * number] * 4}) for number in range(40)]
    assert requests == 40
    assert requests / runs > 1.5


def test_an_error_is_its_own_request_s(repository: Path, runtime: Runtime) -> None:
    """A request on which the model fails is answered with the reason, and those batched with it with their results."""
    tiny.write_model(repository, model=tiny.lookup(), extra="dynamic_batching { max_queue_delay_microseconds: 200000 }")
    with LocalTriton(repository, runtime=runtime) as server, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: infer(server, [number], datatype="INT64"), [0, 1, 99, 2]))
        runs = metric(server, "nv_inference_exec_count")
    assert [answers[index] for index in (0, 1, 3)] == [(200, {"y": [value]}) for value in (0, 10, 20)]
    status, message = answers[2]
    assert status in (400, 500)
    assert "onnxruntime" in message
    assert "Gather" in message
    assert runs < 4


def test_a_model_without_a_batch_axis_is_served(repository: Path, runtime: Runtime) -> None:
    """With max_batch_size 0 the tensors are exactly what the configuration says."""
    tiny.write_model(repository, model=tiny.scaler(batch=2), max_batch=0)
    with LocalTriton(repository, runtime=runtime) as server:
        assert infer(server, list(range(8)), shape=[2, 4]) == (200, {"y": list(range(0, 16, 2))})
        assert infer(server, [1, 2, 3, 4], shape=[1, 4])[0] == 400


def test_the_parameters_and_the_file_of_the_configuration_are_honoured(repository: Path, runtime: Runtime) -> None:
    """The session has the threads that the configuration asks for, and the model is the file that it names."""
    folder = tiny.write_model(
        repository,
        extra="""default_model_filename: "weights.onnx"
        parameters [{ key: "intra_op_thread_count" value: { string_value: "7" } }]""",
    )
    (folder / "model.onnx").rename(folder / "weights.onnx")
    tiny.write_model(
        repository, "single", extra='parameters [{ key: "intra_op_thread_count" value: { string_value: "1" } }]'
    )
    with LocalTriton(repository, runtime=runtime) as server:
        assert infer(server, [1, 2, 3, 4]) == (200, {"y": [2, 4, 6, 8]})
        children = Path(f"/proc/{server.pid}/task").glob("*/children")
        stubs = [pid for file in children for pid in file.read_text().split()]
        threads = {
            Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[1].split("/")[-3]: len(
                list(Path(f"/proc/{pid}/task").iterdir())
            )
            for pid in stubs
        }
    # The caller is one of the seven.
    assert threads["tiny"] - threads["single"] == 6


def test_strings_are_carried(repository: Path, runtime: Runtime) -> None:
    """Text reaches the model and comes back, beyond ASCII too."""
    if runtime.minor not in ("3.11", "3.12"):
        pytest.skip("strings need NumPy 1, which has no wheel for this Python")
    tiny.write_model(repository, model=tiny.echo())
    with LocalTriton(repository, runtime=runtime) as server:
        assert infer(server, ["Katze", "ネコ"], datatype="BYTES") == (200, {"y": ["Katze", "ネコ"]})


def test_a_model_that_does_not_load_ends_the_start_with_its_reason(
    repository: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the model, the version and what ONNX Runtime says of it, and nothing is left behind."""
    tiny.write_model(repository, version=1)
    folder = tiny.write_model(repository, version=2)
    (folder / "model.onnx").write_bytes(b"garbage")
    # Its shared memory bears it; other servers may run on this machine.
    mark = secrets.token_hex(6)
    monkeypatch.setattr(secrets, "token_hex", lambda _: mark)
    server = LocalTriton(repository, runtime=runtime)
    with pytest.raises(LocalServerError, match=r"model 'tiny' version 2: .*Protobuf parsing failed") as caught:
        server.start()
    assert "log" in str(caught.value)
    assert "failed to load" in server.log_tail(200)
    assert traces(f"triton-sdk-{mark}") == []
    server.stop()


def test_a_configuration_that_does_not_fit_is_explained(repository: Path, runtime: Runtime) -> None:
    """What the production backend would refuse at load is refused here with its reason."""
    tiny.write_model(repository)
    file = repository / "tiny" / "config.pbtxt"
    file.write_text(file.read_text().replace('"z"', '"nonesuch"'))
    with pytest.raises(LocalServerError, match=r"model 'tiny' version 1: .*unexpected output 'nonesuch'"):
        LocalTriton(repository, runtime=runtime).start()


def test_a_failed_version_is_reported_while_the_server_stays(repository: Path, runtime: Runtime) -> None:
    """Where the server goes on with the good models, the start does not wait for ones that never come."""
    tiny.write_model(repository, "good")
    (tiny.write_model(repository, "bad") / "model.onnx").unlink()
    with pytest.raises(LocalServerError, match="could not load model 'bad' version 1"):
        LocalTriton(repository, runtime=runtime, args=("--exit-on-error=false",), start_timeout=50).start()


def test_a_start_that_takes_too_long_is_ended(repository: Path, runtime: Runtime) -> None:
    """The time limit holds, and the server is gone afterwards."""
    tiny.write_model(repository)
    server = LocalTriton(repository, runtime=runtime, start_timeout=0.01)
    with pytest.raises(LocalServerError, match=r"not ready after 0\.01 s"):
        server.start()
    with pytest.raises(LocalServerError, match="not running"):
        _ = server.pid


@pytest.mark.parametrize("which", ["http_port", "grpc_port", "metrics_port"])
def test_a_given_port_that_is_taken_is_named(repository: Path, runtime: Runtime, which: str) -> None:
    """The error says which port, before anything is started."""
    tiny.write_model(repository)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments: dict[str, Any] = {which: port}
        with pytest.raises(LocalServerError, match=f"Port {port} on 127.0.0.1 cannot be used"):
            LocalTriton(repository, runtime=runtime, **arguments).start()


def test_a_free_port_that_was_lost_is_chosen_anew(
    repository: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another program takes the chosen port before the server does, the start goes on with another one."""
    tiny.write_model(repository)
    with socket.create_server(("127.0.0.1", 0)) as other:
        choose, choices = _ports.Ports.chosen, []

        def unlucky_at_first(self: _ports.Ports) -> _ports.Ports:
            choices.append(choose(self))
            lost = _ports.Ports(http=choices[-1].http, grpc=choices[-1].grpc, metrics=other.getsockname()[1])
            return lost if len(choices) == 1 else choices[-1]

        monkeypatch.setattr(_ports.Ports, "chosen", unlucky_at_first)
        told: list[str] = []
        with LocalTriton(repository, runtime=runtime, progress=told.append) as server:
            assert infer(server, [1, 2, 3, 4])[0] == 200
    assert len(choices) == 2
    assert any("quicker" in line for line in told)


def test_the_same_ports_serve_again(repository: Path, runtime: Runtime) -> None:
    """A server can be stopped and started on its ports, with closed connections a moment old."""
    tiny.write_model(repository)
    server = LocalTriton(repository, runtime=runtime).start()
    given = [int(url.split(":")[-1].split("/")[0]) for url in (server.http_url, server.grpc_url, server.metrics_url)]
    server.stop()
    server.stop()
    again = LocalTriton(repository, runtime=runtime, http_port=given[0], grpc_port=given[1], metrics_port=given[2])
    for _ in range(2):
        with again:
            assert infer(again, [1, 2, 3, 4])[0] == 200
            assert int(again.http_url.split(":")[-1]) == given[0]


def test_two_servers_run_side_by_side(tmp_path: Path, runtime: Runtime) -> None:
    """Servers share nothing, and the end of one is not felt by the other."""
    repositories = [tmp_path / name for name in ("one", "two")]
    for factor, folder in enumerate(repositories, start=2):
        tiny.write_model(folder, model=tiny.scaler(factor))
    with LocalTriton(repositories[0], runtime=runtime) as one:
        with LocalTriton(repositories[1], runtime=runtime) as two:
            assert infer(two, [1, 1, 1, 1]) == (200, {"y": [3, 3, 3, 3]})
        assert infer(one, [1, 1, 1, 1]) == (200, {"y": [2, 2, 2, 2]})


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


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:  # noqa: ARG001 - first, or skip
    """An empty cache folder."""
    return tmp_path_factory.mktemp("cache")


def test_two_processes_install_one_runtime(shared_cache: Path, repository: Path) -> None:
    """Two programs that find an empty cache at once end with the same runtime, installed by one of them; it serves."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(shared_cache)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    said = [child.communicate(timeout=55)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0][-1] == said[1][-1]
    assert sum(any("virtual environment" in line for line in lines) for lines in said) == 1
    assert sum(any("Waiting for another process" in line for line in lines) for lines in said) == 1
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=provision(cache=shared_cache)) as server:
        assert infer(server, [1, 2, 3, 4])[0] == 200


def test_a_killed_installation_is_made_anew(tmp_path: Path, runtime: Runtime, repository: Path) -> None:
    """An installation that was killed half-way is never taken for a whole one, and its remains are removed."""
    assert runtime.complete
    child = subprocess.Popen(
        [sys.executable, "-c", INSTALL, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Installing collected"):
                break
        child.kill()
    told: list[str] = []
    again = provision(progress=told.append, cache=tmp_path)
    assert any("Removing an unfinished" in line for line in told)
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=again) as server:
        assert infer(server, [1, 2, 3, 4])[0] == 200


def test_an_installation_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's last lines are in the error, and the next attempt starts clean."""
    assert runtime.complete
    wrong = tmp_path / "requirements.txt"
    wrong.write_text(f"flatbuffers==25.12.19 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr("triton_sdk.local._runtime.REQUIREMENTS", wrong)
    with pytest.raises(LocalServerError, match=r"(?s)pip install.*DO NOT MATCH THE HASHES"):
        provision(cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])


def test_the_newest_python_serves_numbers(
    tmp_path: Path, runtime: Runtime, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Python 3.13, and so NumPy 2, numbers of several types go in and out unchanged and strings are refused."""
    assert runtime.complete
    programs = [shutil.which("python3.13"), *map(str, Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    fit = [program for program in programs if program and _interpreters.unfit(_interpreters.probe(program)) is None]
    if not fit:
        pytest.skip("there is no Python 3.13 with a shared library here")
    monkeypatch.setattr(_interpreters, "names", lambda: fit)
    newest = provision(cache=tmp_path / "cache")
    tiny.write_model(repository)
    for datatype in ("UINT8", "BOOL", "INT64", "FP64", "FP32"):
        kind = {"FP32": "FLOAT", "FP64": "DOUBLE"}.get(datatype, datatype)
        tiny.write_model(repository, datatype.lower(), model=tiny.echo(onnx.TensorProto.DataType.Value(kind)))
    with LocalTriton(repository, runtime=newest) as server:
        assert infer(server, [1, 2, 3, 4, 5, 6, 7, 8], shape=[2, 4]) == (200, {"y": [2, 4, 6, 8, 10, 12, 14, 16]})
        for datatype in ("UINT8", "INT64", "FP64", "FP32"):
            assert infer(server, [3, 5], model=datatype.lower(), datatype=datatype) == (200, {"y": [3, 5]})
        assert infer(server, [True, False], model="bool", datatype="BOOL") == (200, {"y": [True, False]})
        assert "Exception" not in server.log_tail(500)
    tiny.write_model(repository, "text", model=tiny.echo(onnx.TensorProto.STRING))
    with pytest.raises(LocalServerError, match=r"'text' version 1: .*holds strings"):
        LocalTriton(repository, runtime=newest).start()


def test_a_model_without_a_version_is_left_out(repository: Path, runtime: Runtime) -> None:
    """What a repository keeps of a model whose versions are gone stops no server; the model itself is not there."""
    tiny.write_model(repository)
    (repository / "waiting").mkdir()
    (repository / "waiting" / "config.pbtxt").write_text(tiny.config("waiting", tiny.scaler()))
    said: list[str] = []
    with (
        LocalTriton(repository, runtime=runtime, progress=said.append) as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):
        assert client.is_model_ready("tiny")
        assert not client.is_model_ready("waiting")
    assert "Leaving out waiting: it has no version" in said
