"""The local Triton on GPUs; where there is none, what it says about that."""

from pathlib import Path

import pytest

from scripts.server.checks import check_server
from scripts.server.endpoint import Endpoint
from tests.doubles import tiny
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, find_driver, provision

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def gpu_runtime() -> Runtime:
    """Install the runtime for GPUs."""
    try:
        find_driver()
    except LocalServerError as error:
        pytest.skip(f"no GPU here: {error}")
    return provision(gpu=True)


def test_a_packaged_model_is_served_on_a_gpu(gpu_runtime: Runtime, packaged: Path) -> None:
    """The log says so, and every check of the smoke test is green: numbers, batching, memory."""
    with LocalTriton(packaged, runtime=gpu_runtime, gpu=True, start_timeout=300) as server:
        endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
        results = list(check_server(endpoint, repository=packaged, complete=True))
        assert "runs on GPU 0 (CUDAExecutionProvider)" in server.log_tail(500)
    assert [r for r in results if r.state == "failed"] == []
    assert all("on a GPU" in r.figure for r in results if r.check == "golden, gRPC")


def test_without_a_gpu_nothing_is_installed_or_started(tmp_path: Path) -> None:
    """The reason comes before a download of gigabytes, with what to do."""
    try:
        find_driver()
    except LocalServerError:
        pass
    else:
        pytest.skip("there is a GPU here")
    tiny.write_model(tmp_path)
    told: list[str] = []
    with pytest.raises(LocalServerError, match="Or serve on the CPU"):
        LocalTriton(tmp_path, gpu=True, progress=told.append).start()
    assert told == []


def test_on_gpus_a_models_own_configuration_for_them_is_served(runtime: Runtime, tmp_path: Path) -> None:
    """configs/gpu.pbtxt is taken where it is and GPUs are asked for, config.pbtxt otherwise; the log tells the file."""
    tiny.write_model(tmp_path, "both", extra='default_model_filename: "model.onnx"')
    tiny.write_model(tmp_path, "plain")
    graph = tmp_path / "both" / "1" / "model.onnx"
    (graph.parent / "model.gpu.onnx").write_bytes(graph.read_bytes())
    text = (tmp_path / "both" / "config.pbtxt").read_text(encoding="utf-8")
    (tmp_path / "both" / "configs").mkdir()
    (tmp_path / "both" / "configs" / "gpu.pbtxt").write_text(
        text.replace('"model.onnx"', '"model.gpu.onnx"'), encoding="utf-8"
    )
    for gpu, file in ((False, "both_0_0: model.onnx"), (True, "both_0_0: model.gpu.onnx")):
        with LocalTriton(tmp_path, runtime=runtime, gpu=gpu) as server:
            log = server.log_tail(500)
        assert f"{file} runs on the CPU (CPUExecutionProvider)" in log
        assert "plain_0_0: model.onnx runs" in log
