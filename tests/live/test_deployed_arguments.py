"""The arguments that the chart gives do on a real server what its probes and its notes rely on."""

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from triton_sdk.local import LocalTriton, Runtime

KEY = "letters0and0digits"
CLOSED = f"model-repository,shared-memory,trace,logging:triton-admin-key={KEY}"
ARGUMENTS = (
    "--model-control-mode=explicit",
    "--load-model=*",
    f"--http-restricted-api={CLOSED}",
    f"--grpc-restricted-protocol={CLOSED}",
    "--model-config-name=release",
)
MODEL = "/v2/models/mobilenetv2"


@pytest.fixture(scope="module")
def deployed(packaged: Path, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """Serve two models as the chart does; one of them has a configuration of the release's own."""
    repository = tmp_path_factory.mktemp("deployed") / "model_repository"
    shutil.copytree(packaged, repository)
    fp32 = repository / "mobilenetv2-fp32"
    (fp32 / "configs").mkdir(exist_ok=True)
    own = (
        (fp32 / "config.pbtxt")
        .read_text(encoding="utf-8")
        .replace("queue_delay_microseconds: 0", "queue_delay_microseconds: 77")
    )
    (fp32 / "configs" / "release.pbtxt").write_text(own, encoding="utf-8")
    with LocalTriton(repository, args=ARGUMENTS, runtime=runtime) as server:
        yield server


def _ask(server: LocalTriton, path: str, *, body: object = None, key: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(server.http_url + path, headers={"triton-admin-key": key} if key else {})
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _status(server: LocalTriton, path: str) -> int:
    return _ask(server, path)[0]


def test_every_model_is_loaded_at_the_start(deployed: LocalTriton) -> None:
    """In explicit mode `--load-model=*` loads all models with all their versions."""
    assert _status(deployed, "/v2/health/ready") == 200
    for path in (f"{MODEL}/versions/1", f"{MODEL}/versions/2", f"{MODEL}-fp32/versions/1"):
        assert _status(deployed, f"{path}/ready") == 200


def test_a_configuration_of_the_release_wins_for_its_model_only(deployed: LocalTriton) -> None:
    """`--model-config-name` takes configs/release.pbtxt where it is, and config.pbtxt elsewhere."""
    delays = [
        json.loads(_ask(deployed, f"{model}/config")[1])["dynamic_batching"]["max_queue_delay_microseconds"]
        for model in (f"{MODEL}-fp32", MODEL)
    ]
    assert delays == [77, 0]


def test_the_index_asks_for_the_key(deployed: LocalTriton) -> None:
    """Over HTTP the key's header is its name, over gRPC the same with Triton's prefix; inference needs none."""
    assert _ask(deployed, "/v2/repository/index", body={})[0] == 403
    assert _ask(deployed, "/v2/repository/index", body={}, key="wrong")[0] == 403
    assert _ask(deployed, "/v2/repository/index", body={}, key=KEY)[0] == 200
    with grpc.insecure_channel(deployed.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.RepositoryIndexRequest()
        for name in ("", "triton-admin-key"):
            with pytest.raises(grpc.RpcError, match="triton-grpc-protocol-triton-admin-key"):
                stub.RepositoryIndex(request, metadata=((name, KEY),) if name else ())
        assert stub.RepositoryIndex(request, metadata=(("triton-grpc-protocol-triton-admin-key", KEY),)).models
        assert stub.ModelReady(service_pb2.ModelReadyRequest(name="mobilenetv2", version="1")).ready


def test_a_version_out_of_use_leaves_the_stable_one_ready(deployed: LocalTriton) -> None:
    """Server readiness turns false when a version is taken out of use, so no probe of the chart may ask for it."""
    config = json.loads(_ask(deployed, f"{MODEL}/config")[1])
    config["version_policy"] = {"specific": {"versions": [1]}}
    load, only_one = "/v2/repository/models/mobilenetv2/load", {"parameters": {"config": json.dumps(config)}}
    assert _ask(deployed, load, body=only_one)[0] == 403
    try:
        assert _ask(deployed, load, body=only_one, key=KEY)[0] == 200
        paths = ("/v2/health/live", "/v2/health/ready", f"{MODEL}/versions/1/ready", f"{MODEL}/versions/2/ready")
        assert [_status(deployed, path) for path in paths] == [200, 400, 200, 400]
    finally:
        assert _ask(deployed, load, body={}, key=KEY)[0] == 200
