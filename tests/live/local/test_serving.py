"""A local Triton serves what its repository says: versions, batches, types and parameters, each answer its caller's."""

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tritonclient.grpc

from tests.doubles import tiny
from tests.live.local.scene import identity_of, infer, metric, traces
from triton_sdk.local import LocalTriton, Runtime


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
